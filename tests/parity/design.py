"""The cases of the parity suite: the whole product of what a layer can be, or a cover of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields

KINDS = ("lstm", "lstm_proj", "gru", "rnn_tanh", "rnn_relu")
STYLES = ("none", "given", "zeros", "learned")


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


def cover(cases: list[Case]) -> list[Case]:
    """Return cases with every combination of kind, layers and direction and every pair of factors.

    Greedy: the case that covers most of what is still open comes next.
    """
    left = {case: frozenset(_covered(case)) for case in cases}
    open_ = set().union(*left.values())
    chosen: list[Case] = []
    while open_:
        best = max(left, key=lambda case: len(left[case] & open_))
        open_ -= left.pop(best)
        chosen.append(best)
    return sorted(chosen, key=cases.index)


def _covered(case: Case) -> Iterator[tuple[object, ...]]:
    factors = [(field.name, getattr(case, field.name)) for field in fields(case)]
    yield tuple(factors[:3])
    yield from itertools.combinations(factors, 2)
