"""Outputs along their axis of steps: those of chunks or steps joined, some of the steps taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Port
from edgernn.streaming_rules import steps_axis

__all__ = ["BATCH_OUTER", "SEQUENCE_OUTER", "join_chunks", "take_steps"]

BATCH_OUTER = f"{BATCH}*{SEQUENCE}"
"""An axis that counts the steps of the first sequence, then those of the second, and so on."""

SEQUENCE_OUTER = f"{SEQUENCE}*{BATCH}"
"""An axis that counts the sequences at the first step, then those at the second, and so on."""

_BATCH_OUTER = re.compile(rf"{BATCH}\*({SEQUENCE}|\({SEQUENCE}//\d+\))")


def join_chunks(
    port: Port, parts: Sequence[NDArray[Any]], batch: int = 1, stepwise: bool = False
) -> NDArray[Any]:
    """Join the parts of a data output along its axis of steps.

    Args:
        port: The output of the sequence graph.
        parts: Its values, in order; the last one is returned where the port has no such axis.
        batch: The number of sequences.
        stepwise: Whether the parts are outputs of a step graph, which have no axis of steps where
            a call gives one step.
    """
    axis = steps_axis(port)
    if axis is None:
        return parts[-1]
    if stepwise and parts[0].ndim < len(port.shape):
        return np.stack(parts, axis)
    if not _BATCH_OUTER.fullmatch(port.axes[axis] or ""):
        return np.concatenate(parts, axis)
    joined = np.concatenate([_unfold(part, axis, batch) for part in parts], axis + 1)
    return _fold(joined, axis)


def take_steps(
    port: Port, array: NDArray[Any], start: int, stop: int, batch: int = 1
) -> NDArray[Any]:
    """Return the steps from `start` to `stop` of a data output.

    Args:
        port: The output of the sequence graph, which has an axis of steps.
        array: Its value.
        start: The first of the steps.
        stop: The step after the last.
        batch: The number of sequences.
    """
    axis = steps_axis(port)
    assert axis is not None
    name = port.axes[axis] or ""
    if _BATCH_OUTER.fullmatch(name):
        steps = (slice(None),) * (axis + 1) + (slice(start, stop),)
        return _fold(_unfold(array, axis, batch)[steps], axis)
    each = batch if BATCH in re.findall(r"\w+", name) else 1
    return array[(slice(None),) * axis + (slice(start * each, stop * each),)]


def _unfold(part: NDArray[Any], axis: int, batch: int) -> NDArray[Any]:
    steps = part.shape[axis] // batch
    return part.reshape(*part.shape[:axis], batch, steps, *part.shape[axis + 1 :])


def _fold(array: NDArray[Any], axis: int) -> NDArray[Any]:
    size = array.shape[axis] * array.shape[axis + 1]
    return array.reshape(*array.shape[:axis], size, *array.shape[axis + 2 :])
