from __future__ import annotations

import numpy as np
import pytest

from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.convert_arrays import as_array, convert_array

IDS = Port("ids", "int64", ("batch", "sequence"), None, 10)
X = Port("x", "float32", ("batch", "sequence", 3))


def converted(port, value):
    return convert_array(port, as_array(port, value))


def refused(port, value):
    with pytest.raises(InputError) as caught:
        converted(port, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("port", "value", "expected"),
    [
        (IDS, [[1, 2]], np.array([[1, 2]], np.int64)),
        (IDS, np.array([[1]], np.int32), np.array([[1]], np.int64)),
        (IDS, np.array([[1]], np.uint8), np.array([[1]], np.int64)),
        (IDS, np.array([[1]], ">i8"), np.array([[1]], np.int64)),
        (X, [[[1, 2, 3]]], np.array([[[1, 2, 3]]], np.float32)),
        (X, np.array([[[0.5, 1, 2]]]), np.array([[[0.5, 1, 2]]], np.float32)),
        (X, np.array([[[0.5, 1, 2]]], np.float16), np.array([[[0.5, 1, 2]]], np.float32)),
        (X, np.zeros((3, 1, 2), np.float32).T[1:], np.zeros((1, 1, 3), np.float32)),
        (Port("mask", "bool", (2,)), [True, False], np.array([True, False])),
        (Port("n", "int64", ()), 7, np.array(7, np.int64)),
    ],
    ids=["list", "int32", "uint8", "endian", "ints", "double", "half", "view", "bool", "scalar"],
)
def test_what_loses_nothing_is_converted(port, value, expected):
    """Integers become the port's integer dtype, floats its float dtype, contiguous."""
    array = converted(port, value)
    np.testing.assert_array_equal(array, expected, strict=True)
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("port", "value", "message"),
    [
        (
            IDS,
            [[1.0]],
            "`ids: int64[batch, sequence]` came as float64, but takes integers only. If the "
            "values are integers, convert them with `.astype('int64')`.",
        ),
        (
            X,
            np.zeros((1, 1, 3), np.uint8),
            "`x: float32[batch, sequence, 3]` came as uint8, but takes floats only. If the "
            "values are floats, convert them with `.astype('float32')`.",
        ),
        (
            X,
            [["a"]],
            "`x: float32[batch, sequence, 3]` came as <U1, but takes floats only. If the "
            "values are floats, convert them with `.astype('float32')`.",
        ),
        (
            Port("n", "int32", (1,)),
            [2**40],
            "`n: int32[1]` came with numbers outside -2147483648 to 2147483647.",
        ),
        (
            Port("x", "float16", (1,)),
            [1e6],
            "`x: float16[1]` came with numbers above 6.55e+04, the largest float16.",
        ),
    ],
    ids=["real-ids", "whole-reals", "text", "wide", "large"],
)
def test_what_would_lose_something_is_refused(port, value, message):
    """A dtype of another kind, or numbers that the port's dtype cannot hold, are refused."""
    assert refused(port, value) == message


def test_what_is_not_an_array_is_refused():
    """Ragged lists are refused with NumPy's reason."""
    message = refused(IDS, [[1], [1, 2]])
    assert message.startswith(
        "`ids: int64[batch, sequence]` came as something that is not an array: setting an array"
    )
