"""The arrays of a golden run, read from disk and checked against the ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.artifact import Artifact
from edgernn.axis_sizes import evaluate_size
from edgernn.contract import SEQUENCE, Port
from edgernn.errors import ContractError
from edgernn.numpy_files import NotArraysError, load_npy
from edgernn.regular_files import MEGABYTE, regular_file_size
from edgernn.streaming_rules import steps_axis

__all__ = ["GoldenArrays", "read_golden"]

_MAX_BYTES = 256 * MEGABYTE


def read_golden(file: Path) -> NDArray[Any]:
    """Read one array of a golden run, from a regular file of at most 256 MiB.

    Raises:
        ContractError: It cannot be read, or is no plain array.
    """
    subject = f"`{file}` of the golden run"
    size = regular_file_size(file, subject, ContractError, _MAX_BYTES)
    try:
        return load_npy(file, size)
    except (OSError, NotArraysError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ContractError(
            f"{subject} cannot be read: {reason}. Export the model again."
        ) from error


class GoldenArrays:
    """Reader of the arrays of one golden run, which agree on the sizes of their axes."""

    def __init__(self, artifact: Artifact) -> None:
        self._folder = artifact.golden
        self._sizes: dict[str, int] = {}

    def read(self, port: Port, may_be_last: bool = False) -> NDArray[Any]:
        """Read the array of `port`; read inputs before the outputs that share their axes.

        Args:
            port: The port over whole sequences.
            may_be_last: Whether the array may be that of the last step, without the axis of steps.

        Raises:
            ContractError: It cannot be read, or is not of the port's dtype and shape.
        """
        file = self._folder / f"{port.name}.npy"
        array = read_golden(file)
        axis = steps_axis(port) if may_be_last and array.ndim < len(port.shape) else None
        port = port if axis is None else port.without_axis(axis)
        if array.dtype != np.dtype(port.dtype) or not self._fits(port, array.shape):
            raise ContractError(
                f"`{file}` of the golden run is {array.dtype}{list(array.shape)}, which is not "
                f"`{port}`. Export the model again."
            )
        return array

    def _fits(self, port: Port, shape: tuple[int, ...]) -> bool:
        """Say whether a shape fits the port; it sets the sizes of axes not seen before."""
        if len(shape) != len(port.shape) or 0 in shape:
            return False
        for length, size, name in zip(shape, port.shape, port.axes, strict=True):
            if isinstance(size, int) and SEQUENCE in (name or ""):
                continue  # a run has a multiple of the steps of one call
            expected = evaluate_size(size, self._sizes)
            if expected is None and str(size).isidentifier():
                self._sizes[str(size)] = length
            elif expected not in (None, length):
                return False
        return True
