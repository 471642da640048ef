"""What separates the columns, from one row."""

from __future__ import annotations

import pytest

from edgernn.cli.data_files.csv_delimiter import is_decimal_comma, possible_delimiters


@pytest.mark.parametrize(
    ("row", "delimiters"),
    [
        ("5", [","]),
        ("0.5,1.5", [","]),
        ("0.5;1.5", [";"]),
        ("0,5;1,5", [";"]),
        ("0,5\t1,5", ["\t"]),
        ("10:00;0,5", [";"]),
        ("2024-01-01,0.5,ok", [","]),
        ('"Temp; °C",Humidity', [","]),
        ('"Temp, °C";"Humidity, %"', [";"]),
        ("Temp, °C;Humidity", []),
        ("0,5;1\t5", []),
        ("1,2;3,4;5,6", [";"]),
        ("1;2,", [";"]),
        ("1.234,5;2", [";"]),
        ("1,5;2\n", [";"]),
    ],
)
def test_possible_delimiters(row: str, delimiters: list[str]) -> None:
    """By a delimiter that is possible, no cell holds another one, except in a decimal comma."""
    assert possible_delimiters(row) == delimiters


def test_decimal_comma() -> None:
    """A decimal comma has digits after it, and is the only one."""
    for cell in ("0,5", "-1,25", "+,5", " 1,5e-3 "):
        assert is_decimal_comma(cell)
    for cell in ("5,", "1,234,567", "a,5", "1.5", "5", ""):
        assert not is_decimal_comma(cell)
