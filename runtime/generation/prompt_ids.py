"""The ids of prompts, and the random numbers that belong to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgernn.errors import InputError
from edgernn.runtime.generation.text_ports import encode_text
from edgernn.vocabulary import Vocabulary

__all__ = ["encode_prompts", "random_generators"]


def encode_prompts(vocabulary: Vocabulary, prompts: Sequence[str]) -> list[list[int]]:
    """Return the ids of every prompt.

    Raises:
        InputError: There is none, or one has no symbol or an unknown one.
    """
    if not prompts:
        raise InputError("There is no prompt. Give at least one text to continue.")
    encoded = []
    for number, prompt in enumerate(prompts, 1):
        try:
            encoded.append(encode_text(vocabulary, prompt))
        except InputError as error:
            if len(prompts) == 1:
                raise
            raise InputError(f"Prompt {number}: {error}") from error
    return encoded


def random_generators(
    prompts: Sequence[Sequence[int]], seed: int | None
) -> list[np.random.Generator]:
    """Return one source of random numbers per prompt, from the seed and the prompt's own ids.

    Raises:
        InputError: The seed is negative.
    """
    if seed is None:
        return [np.random.default_rng() for _ in prompts]
    if seed < 0:
        raise InputError(f"`seed` is {seed}; it must be at least 0.")
    generators, earlier = [], Counter[tuple[int, ...]]()
    for ids in map(tuple, prompts):
        entropy = [seed, earlier[ids], len(ids), *ids]
        generators.append(np.random.default_rng(np.random.SeedSequence(entropy)))
        earlier[ids] += 1
    return generators
