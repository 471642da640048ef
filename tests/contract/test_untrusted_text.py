"""Texts of others, as messages show them."""

from __future__ import annotations

import pytest

from edgernn.untrusted_text import escape_unprintable, first_line


def test_characters_that_cannot_be_printed_are_escaped():
    """Line ends and tabs stay."""
    assert escape_unprintable("a\x1b[0m\tb\n") == "a\\x1b[0m\tb\n"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("too large.\nMore here.", "too large"),
        ("  found:\n", "found"),
        ("", "ValueError"),
    ],
)
def test_the_first_line_of_an_error_is_its_reason(message, line):
    """The full stop is removed; an error without a message is named by its type."""
    assert first_line(ValueError(message)) == line
