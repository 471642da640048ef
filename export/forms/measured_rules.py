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

The time of the RNN operator over 100 steps, in times of that of a Scan; LSTM and GRU are slower as
Scans, 0.4 to 0.9.

    hidden            8    32    64   128   256
    RNN   batch 1  1.06  1.20  2.25  1.89  1.34
          batch 8  1.58  3.48  2.96  2.14  2.36
          batch 32 1.69  3.64  3.17  2.41  2.05
"""

from __future__ import annotations

from collections.abc import Mapping

from edgernn.ports import BATCH, SEQUENCE

__all__ = ["MOST_BYTES", "least_of_scan", "most_batch_of_step"]

MOST_BYTES = 4_000_000
"""Bytes of weights above which a form is not worth its file: nodes then cost next to nothing."""

_STEPS: Mapping[str, Mapping[int, int]] = {
    "LSTM": {32: 32, 512: 64},
    "GRU": {32: 16, 256: 4},
    "RNN": {64: 1},
}
"""Operator → the largest hidden size → the largest batch at which one step of it is faster."""

_SCAN_HIDDEN = 32
"""The least hidden size at which a Scan is faster for one sequence."""

_SCAN_STEPS = 8
"""The least number of steps at which a Scan is faster: it takes some µs to start."""

_EMBEDDED = 64
"""The largest hidden size of a layer behind an embedding, which the portable form multiplies."""


def least_of_scan(operator: str, hidden: int) -> dict[str, int] | None:
    """Return the least `batch` and `sequence` at which a layer is faster as a Scan, or None.

    Args:
        operator: `LSTM`, `GRU` or `RNN`.
        hidden: The size of its state.
    """
    if operator != "RNN":
        return None
    return {BATCH: 1 if hidden >= _SCAN_HIDDEN else 2, SEQUENCE: _SCAN_STEPS}


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
