"""Arrays in the dtypes of ports, without loss beyond rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import Port
from edgernn.errors import EdgernnError, InputError

__all__ = ["as_array", "convert_array"]

_TAKES = {
    "f": ("f", "floats"),
    "i": ("iu", "integers"),
    "u": ("iu", "integers"),
    "b": ("b", "booleans"),
}
"""Kind of a port's dtype → the kinds of dtype that it takes, and their name in messages."""


def as_array(port: Port, value: ArrayLike, error: type[EdgernnError] = InputError) -> NDArray[Any]:
    """Return the value as an array, after checking that the port takes its kind of dtype.

    Args:
        port: The port.
        value: An array, or numbers in nested lists.
        error: The class to raise.

    Raises:
        EdgernnError: Of the class `error`: it is not an array, or of another kind of dtype.
    """
    if isinstance(value, np.ndarray):
        if value.dtype == port.dtype:
            return value
        array = value
    else:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as reason:
            raise error(f"`{port}` came as something that is not an array: {reason}") from reason
        if _is_plain(value) and array.dtype.kind == "i" and np.dtype(port.dtype).kind == "f":
            array = array.astype(np.float64)  # a Python int is a valid float
    kinds, takes = _TAKES[np.dtype(port.dtype).kind]
    if array.dtype.kind not in kinds:
        raise error(
            f"`{port}` came as {array.dtype}, but takes {takes} only. If the values are "
            f"{takes}, convert them with `.astype('{port.dtype}')`."
        )
    return array


def _is_plain(value: object) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (bool, int, float, list, tuple))


def convert_array(
    port: Port, array: NDArray[Any], error: type[EdgernnError] = InputError
) -> NDArray[Any]:
    """Return the array in the port's dtype, C-contiguous, without loss beyond rounding.

    Raises:
        EdgernnError: Of the class `error`: a number is outside the range of the port's dtype.
    """
    if array.dtype == port.dtype:
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    dtype = np.dtype(port.dtype)
    if dtype.kind in "iu" and array.size:
        info = np.iinfo(dtype)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            raise error(f"`{port}` came with numbers outside {info.min} to {info.max}.")
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(array, dtype).reshape(array.shape)
    except FloatingPointError as reason:
        raise error(
            f"`{port}` came with numbers above {np.finfo(dtype).max:.3g}, the largest {dtype}."
        ) from reason
