"""The cases of the parity suite: the whole product of what a layer can be, or a cover of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

KINDS = ("lstm", "lstm_proj", "gru", "rnn_tanh", "rnn_relu")
STYLES = ("none", "given", "zeros", "learned")

AnyCase = TypeVar("AnyCase")


@dataclass(frozen=True)
class Case:
    """One layer and the way in which its model treats the state.

    Attributes:
        kind: A name of `KINDS`.
        layers: Stacked layers.
        bidirectional: Whether each also runs backward.
        bias: Whether it has biases.
        batch_first: Whether x is (batch, sequence, input_size).
        style: Of the state: forward calls the layer without one, takes and returns it, makes zeros
            itself, or has a learned one.
        batched: Whether x has a batch axis at all.
    """

    kind: str
    layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    style: str
    batched: bool

    def __str__(self) -> str:
        words = [
            self.kind,
            f"{self.layers}",
            "bidirectional" if self.bidirectional else "forward",
            "bias" if self.bias else "no_bias",
            "batch_first" if self.batch_first else "time_major",
            self.style,
            "batched" if self.batched else "unbatched",
        ]
        return "-".join(words)


def product() -> list[Case]:
    """Return every case."""
    both = (False, True)
    return [
        Case(*factors)
        for factors in itertools.product(KINDS, (1, 2, 3), both, both, both, STYLES, both)
    ]


def cover(cases: list[AnyCase], together: int = 3) -> list[AnyCase]:
    """Return cases with every pair of factors, and every combination of the first few.

    Greedy: the case that covers most of what is still open comes next.

    Args:
        cases: Dataclasses, whose fields are the factors.
        together: How many of the first factors are combined in every way.
    """
    left = {case: frozenset(_covered(case, together)) for case in cases}
    open_ = set().union(*left.values())
    chosen: list[AnyCase] = []
    while open_:
        best = max(left, key=lambda case: len(left[case] & open_))
        open_ -= left.pop(best)
        chosen.append(best)
    return sorted(chosen, key=cases.index)


def _covered(case: Any, together: int) -> Iterator[tuple[object, ...]]:
    factors = [(field.name, getattr(case, field.name)) for field in fields(case)]
    yield tuple(factors[:together])
    yield from itertools.combinations(factors, 2)
