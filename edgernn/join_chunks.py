"""Outputs of chunks or steps, joined to the outputs of the whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Port

__all__ = ["BATCH_OUTER", "SEQUENCE_OUTER", "join_chunks"]

BATCH_OUTER = f"{BATCH}*{SEQUENCE}"
"""An axis that counts the steps of the first sequence, then those of the second, and so on."""

SEQUENCE_OUTER = f"{SEQUENCE}*{BATCH}"
"""An axis that counts the sequences at the first step, then those at the second, and so on."""


def join_chunks(
    port: Port, parts: Sequence[NDArray[Any]], batch: int = 1, stepwise: bool = False
) -> NDArray[Any]:
    """Join the parts of a data output along its axis of steps.

    Args:
        port: The output of the sequence graph.
        parts: Its values, in order; the last one is returned where the port has no such axis.
        batch: The number of sequences.
        stepwise: Whether the parts are single steps of a step graph, without the sequence axis.
    """
    axis = port.axis(SEQUENCE)
    if axis is not None:
        return np.stack(parts, axis) if stepwise else np.concatenate(parts, axis)
    axis = port.axis(BATCH_OUTER)
    if axis is not None:
        unfolded = [_unfold(part, axis, batch) for part in parts]
        joined = np.concatenate(unfolded, axis + 1)
        return joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])
    flat = [axis for axis, name in enumerate(port.axes) if SEQUENCE in (name or "")]
    return np.concatenate(parts, flat[0]) if flat else parts[-1]


def _unfold(part: NDArray[Any], axis: int, batch: int) -> NDArray[Any]:
    steps = part.shape[axis] // batch
    return part.reshape(*part.shape[:axis], batch, steps, *part.shape[axis + 1 :])
