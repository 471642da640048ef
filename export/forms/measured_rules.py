"""For which layers and sizes the forms of graphs are faster, as they were measured.

Measured on a CPU with AVX2, on one thread, with layers whose input has the size of their state: the
time of the portable step graph, in times of that of the operator.

    hidden            8    32    64   128   256   512
    LSTM  batch 1  1.29  1.21  1.22  1.19  1.06  1.05
          batch 16 1.01  1.12  1.23  1.10  1.10  1.13
          batch 64        .98        1.08  1.04
    GRU   batch 1  1.48  1.47  1.40  1.19  1.11  1.02
          batch 4  1.47  1.57  1.37  1.18  1.09   .99
          batch 16 1.37  1.16   .95   .90  1.00   .94
    RNN   batch 1  1.38  1.26  1.15   .93   .79  1.00
          batch 4  1.09   .99   .77   .50   .37   .56
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MOST_BYTES", "most_batch_of_step"]

MOST_BYTES = 4_000_000
"""Bytes of weights above which a form is not worth its file: nodes then cost next to nothing."""

_STEPS: Mapping[str, Mapping[int, int]] = {
    "LSTM": {32: 32, 512: 64},
    "GRU": {32: 16, 256: 4},
    "RNN": {64: 1},
}
"""Operator → the largest hidden size → the largest batch at which one step of it is faster."""

_EMBEDDED = 64
"""The largest hidden size of a layer behind an embedding, which the portable form multiplies."""


def most_batch_of_step(operator: str, hidden: int, embedded: bool) -> int:
    """Return the largest batch at which one step of a layer is faster as an operator, or 0.

    Args:
        operator: `LSTM`, `GRU` or `RNN`.
        hidden: The size of its state.
        embedded: Whether an embedding is its input.
    """
    if embedded and hidden > _EMBEDDED:
        return 0
    sizes = _STEPS.get(operator, {})
    return next((batch for most, batch in sizes.items() if hidden <= most), 0)
