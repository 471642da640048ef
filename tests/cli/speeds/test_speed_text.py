"""Numbers of measurements as people read them."""

import pytest

from edgernn.cli.speeds.speed_text import (
    microseconds,
    number_text,
    share_percent,
    share_phrase,
    time_text,
)
from tests.cli.speeds.speed_examples import speed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.617e-6, "8.62 µs"),
        (1.2e-7, "0.12 µs"),
        (1.0049e-3, "1.00 ms"),
        (0.12345, "123 ms"),
        (75.21, "75.2 s"),
    ],
)
def test_times(seconds: float, text: str):
    """Three digits, in a unit that keeps them short."""
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (116_432, 3, "116,000"),
        (99.96, 3, "100"),
        (10.98, 2, "11"),
        (0.4567, 2, "0.46"),
        (3.04, 2, "3.0"),
        (None, 3, "-"),
    ],
)
def test_numbers(number: float | None, digits: int, text: str):
    """No digits that are noise, no exponents; a dash where nothing was measured."""
    assert number_text(number, digits) == text


def test_microseconds():
    """Of a column with one unit."""
    assert microseconds(0.0123456) == "12,300"


def test_shares():
    """The share of the limit, and of which."""
    assert share_percent(speed(median=1e-5, limit=8.74e-6)) == "87"
    assert share_percent(speed(median=1e-5, limit=1e-8)) == "<1"
    assert share_phrase(speed(median=1e-5, limit=8.74e-6)) == "87 % of the cache's bandwidth"
