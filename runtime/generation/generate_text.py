"""Text that a model writes after a prompt, or after several."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import SEQUENCE
from edgernn.errors import InputError
from edgernn.runtime.generation.continuation import Continuation
from edgernn.runtime.generation.prompt_batch import Observer, PromptBatch, largest_batch
from edgernn.runtime.generation.prompt_ids import encode_prompts, random_generators
from edgernn.runtime.generation.sampling import Sampling
from edgernn.runtime.generation.stop_texts import check_stops
from edgernn.runtime.generation.text_ports import TextPorts
from edgernn.runtime.model import Model

__all__ = ["Generation", "generate"]

_CHUNK_STEPS = 4096


@overload
def generate(
    model: Model,
    prompts: str,
    count: int,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    state: Mapping[str, ArrayLike] | None = None,
) -> Iterator[str]: ...
@overload
def generate(
    model: Model,
    prompts: list[str] | tuple[str, ...],
    count: int,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    state: Mapping[str, ArrayLike] | None = None,
) -> Iterator[list[str]]: ...
def generate(
    model: Model,
    prompts: str | list[str] | tuple[str, ...],
    count: int,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    state: Mapping[str, ArrayLike] | None = None,
) -> Iterator[str] | Iterator[list[str]]:
    """Let a model continue a text: it reads the prompt, then the symbols that it has chosen.

    For one prompt, the text comes piece by piece. Several prompts of any lengths run as one batch;
    a list with one piece for each of them, which may be empty, comes every time. What follows a
    prompt does not depend on the others, except for the rounding of float32. Its random numbers
    come from the seed and its own text; a prompt that is given again gets others.

    Args:
        model: A model with a vocabulary, whose scores are logits or logarithms of probabilities.
        prompts: The text to continue, or several.
        count: The most symbols to generate for each prompt.
        temperature: Draw symbols with probability softmax(scores / temperature); 0 for always the
            best. None for 1 with `top_k` or `top_p`, else for 0.
        top_k: Draw from so many best symbols only.
        top_p: Draw from the fewest symbols, the likeliest first, whose probabilities add up to so
            much; after `top_k`.
        seed: The seed of the random numbers; None for others every time.
        stop: Texts that end what follows a prompt, and are not part of it.
        state: Name of a state → the value to start from, as `Stream.snapshot` returns it.

    Returns:
        The pieces, or lists of them; joined, they are the text that follows the prompt.

    Raises:
        InputError: The model does not take or score symbols, or an option or prompt is not valid;
            or, while the text comes, scores are not numbers.
        StateError: The state is not of this model.
        UnsupportedModelError: The model's state cannot be carried on.
    """
    sampling = Sampling.of(temperature, top_k, top_p)
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    generation = Generation(model, texts, count, sampling, seed, check_stops(stop), state)
    if isinstance(prompts, str):
        return (piece for (piece,) in generation if piece)
    return iter(generation)


class Generation:
    """A model that continues prompts; iterate over it for lists of one piece of text per prompt.

    Attributes:
        continuations: What follows each prompt, as far as it was generated.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[str],
        count: int,
        sampling: Sampling,
        seed: int | None = None,
        stops: Sequence[str] = (),
        state: Mapping[str, ArrayLike] | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Check everything; nothing is run yet.

        Args:
            model: The model.
            prompts: The texts to continue.
            count: The most symbols for each.
            sampling: How symbols are chosen.
            seed: The seed of the random numbers; None for others every time.
            stops: The texts that end a continuation.
            state: The state before the prompts; None for the initial one.
            observe: Called with the inputs and outputs of every run of the model.

        Raises:
            InputError: The model does not take or score symbols, or a prompt or count is not valid.
        """
        contract, self._ports = model.contract, TextPorts.of(model.contract)
        if contract.in_hops:
            raise InputError(
                f"`{contract.source}` gives its outputs a hop or a delay later than the input, so "
                "that no symbol can be fed back. Export a model without a delay."
            )
        if count < 1:
            raise InputError(f"`count` is {count}; it must be at least 1.")
        self._model, self._count, self._sampling = model, count, sampling
        self._state, self._observe = state or {}, observe
        vocabulary = self._ports.vocabulary
        self._prompts = encode_prompts(vocabulary, prompts)
        self._random = random_generators(self._prompts, seed) if sampling.is_random else []
        self.continuations = [Continuation(prompt, vocabulary, stops) for prompt in prompts]
        self._last: tuple[PromptBatch, int] | None = None

    def __iter__(self) -> Iterator[list[str]]:
        """Run the prompts, then symbol after symbol; yield the text that each one adds.

        Raises:
            InputError: Scores are NaN or infinite, or the model has no position left.
        """
        batches = self._read_prompts()
        if len(self._prompts) == 1:
            yield from self._continue_one(*batches)
            return
        for number in range(1, self._count + 1):
            chosen = [self._choose(batch) for batch in batches]
            yield self._add_symbols(batches, chosen, is_last=number == self._count)
            if number == self._count:
                return
            pairs = zip(batches, chosen, strict=True)
            batches = [batch for pair in pairs for batch in self._run(*pair)]
            if not batches:
                return

    def _continue_one(self, batch: PromptBatch) -> Iterator[list[str]]:
        """Do the same for one prompt, with less to do for each symbol."""
        (text,), choose, number = self.continuations, self._sampling.choose, 1
        draw = self._random[0].random if self._random else float
        while True:
            id_ = choose(batch.scores[0], draw())
            self._last = batch, id_
            piece = text.add(id_)
            if number == self._count and not text.ended:
                piece += text.end()
            yield [piece]
            if text.ended:
                return
            batch.step(id_)
            number += 1

    def final_state(self) -> dict[str, NDArray[Any]]:
        """Return the state of a single prompt that has ended, after all of its symbols."""
        assert self._last is not None, "one prompt, and its text was iterated over"
        batch, id_ = self._last
        batch.step(id_)
        return batch.state

    def _read_prompts(self) -> list[PromptBatch]:
        """Run the prompts, in as few batches as the model allows."""
        rows, most = range(len(self._prompts)), largest_batch(self._model.contract, self._ports)
        return [self._read(rows[start : start + most]) for start in range(0, len(rows), most)]

    def _read(self, rows: Sequence[int]) -> PromptBatch:
        """Run prompts to the end of the shortest, then the others to that of the next."""
        batch = PromptBatch(self._model, self._ports, rows, self._state)
        batch.observe = self._observe
        ended: list[PromptBatch] = []
        start = 0
        while True:
            prompts = [self._prompts[row] for row in batch.rows]
            stop = min(start + self._chunk(len(prompts)), *map(len, prompts))
            batch.feed(np.array([ids[start:stop] for ids in prompts]))
            ends = [place for place, ids in enumerate(prompts) if len(ids) == stop]
            if len(ends) == len(prompts):
                return PromptBatch.join([*ended, batch])
            if ends:
                ended.append(batch.select(ends))
                others = [place for place, ids in enumerate(prompts) if len(ids) > stop]
                batch = batch.select(others)
            start = stop

    def _chunk(self, batch: int) -> int:
        """Return how many steps of a batch of prompts to run in one call."""
        contract = self._model.contract
        if not contract.divisible:
            return sys.maxsize
        size, multiple = max(1, _CHUNK_STEPS // batch), contract.constants.get(SEQUENCE, 1)
        return max(multiple, size - size % multiple)

    def _choose(self, batch: PromptBatch) -> list[int]:
        random = self._random
        uniform = [random[row].random() for row in batch.rows] if random else ()
        return self._sampling.choose_each(batch.scores, uniform)

    def _add_symbols(
        self, batches: Sequence[PromptBatch], chosen: Sequence[list[int]], is_last: bool
    ) -> list[str]:
        """Add symbols to the texts; return the pieces of text that are certain."""
        pieces = [""] * len(self._prompts)
        for batch, ids in zip(batches, chosen, strict=True):
            for row, id_ in zip(batch.rows, ids, strict=True):
                text = self.continuations[row]
                pieces[row] = text.add(id_)
                if is_last and not text.ended:
                    pieces[row] += text.end()
        return pieces

    def _run(self, batch: PromptBatch, ids: list[int]) -> list[PromptBatch]:
        """Run the last symbols of the prompts that have not ended; return these, if any."""
        texts = self.continuations
        places = [place for place, row in enumerate(batch.rows) if not texts[row].ended]
        if not places:
            return []
        if len(places) < len(ids):
            batch, ids = batch.select(places), [ids[place] for place in places]
        batch.step(ids)
        return [batch]
