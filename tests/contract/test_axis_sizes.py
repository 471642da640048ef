"""Sizes that are expressions of other sizes."""

from __future__ import annotations

import pytest

from edgernn.axis_sizes import evaluate_shape, evaluate_size

SYMBOLS = {"batch": 2, "sequence": 7, "odd name": 5}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (3, 3),
        ("batch", 2),
        ("odd name", 5),
        ("batch*sequence", 14),
        ("2*(sequence - 1)//3 + batch", 6),
        ("width", None),
        ("batch*width", None),
        ("batch//0", None),
        ("batch**2", None),
        ("f(batch)", None),
        ("?", None),
    ],
)
def test_sizes_are_evaluated_where_they_are_known(size, expected):
    """Numbers, symbols and + - * // of them give a size; anything else is None, never executed."""
    assert evaluate_size(size, SYMBOLS) == expected


def test_a_shape_is_known_whole_or_not_at_all():
    """One unknown axis makes the shape unknown."""
    assert evaluate_shape(("batch", 3, "batch*sequence"), SYMBOLS) == (2, 3, 14)
    assert evaluate_shape(("batch", "width"), SYMBOLS) is None
    assert evaluate_shape((), {}) == ()
