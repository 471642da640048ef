"""The steps of one sequence as rows of numbers: the rows of a .csv, the samples of a sound."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.runtime.port_axes import PortAxes

__all__ = ["StepRows"]


class StepRows:
    """Rows of numbers, one per step, as the values of one input.

    Attributes:
        axis: The axes of the input.
        shape: The shape of one step of one sequence; -1 for an axis of any size.
    """

    def __init__(self, axis: PortAxes) -> None:
        self.axis = axis
        self.shape = tuple(size if isinstance(size, int) else -1 for size in axis.features)

    @cached_property
    def _known(self) -> int:
        return math.prod(size for size in self.shape if size != -1)

    @property
    def takes(self) -> str:
        """How many numbers a step has, such as `` `x: float32[batch, sequence, 2]` takes 2 ``."""
        count = f"a multiple of {self._known}" if -1 in self.shape else f"{self._known}"
        return f"`{self.axis.port}` takes {count}"

    def fits(self, count: int) -> bool:
        """Return whether a step can have `count` numbers."""
        known = self._known
        if -1 in self.shape:
            return known > 0 and count > 0 and count % known == 0
        return known > 0 and count == known

    def to_chunk(self, rows: NDArray[Any], where: str) -> NDArray[Any]:
        """Return rows, (steps, numbers), in the input's full shape and dtype.

        Args:
            rows: Finite numbers.
            where: What holds them, for messages.

        Raises:
            InputError: The dtype of the input cannot hold a number.
        """
        axis, step = self.axis, self.axis.step
        steps = step.cast(rows.reshape(len(rows), *self.shape), where)
        if step.batch is not None:
            steps = np.expand_dims(steps, step.batch + 1)
        return steps[-1] if axis.sequence is None else np.moveaxis(steps, 0, axis.sequence)
