"""Stop texts, in whatever pieces a text comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import InputError
from edgernn.runtime.generation.stop_texts import StopTexts, check_stops


def read(stops: list[str], pieces: list[str], separator: str = "") -> tuple[list[str], str | None]:
    """Return the text that was certain after each piece and at the end, and the stop text."""
    texts, certain = StopTexts(stops, separator), []
    for piece in pieces:
        certain.append(texts.add(piece))
        if texts.found is not None:
            return certain, texts.found
    return [*certain, texts.end()], None


def test_a_stop_text_in_one_piece() -> None:
    """The text ends before it, and nothing of it is given."""
    assert read(["."], ["ab", "c.d"]) == (["ab", "c"], ".")


def test_a_stop_text_over_pieces() -> None:
    """What may be its start is held back until it is known."""
    assert read(["abc"], ["xa", "b", "c"]) == (["x", "", ""], "abc")
    assert read(["abc"], ["xa", "b", "d"]) == (["x", "", "abd", ""], None)
    assert read(["aab"], ["a", "a", "a", "b"]) == (["", "", "a", ""], "aab")


def test_the_rest_comes_at_the_end() -> None:
    """A start that nothing follows is text."""
    assert read(["abc"], ["xab"]) == (["x", "ab"], None)


def test_the_first_of_several() -> None:
    """The one that comes first in the text ends it."""
    assert read(["d", "bc"], ["abcd"]) == (["a"], "bc")
    assert read(["bcd", "bc"], ["abcd"]) == (["a"], "bcd")


def test_a_separator_before_a_stop_text() -> None:
    """In a text of words, the space before a stop text is not left."""
    assert read(["end"], ["one", " two", " end"], " ") == (["on", "e two", ""], "end")
    assert read(["end"], ["one", " two"], " ") == (["on", "e two", ""], None)
    assert read(["end"], ["end"], " ") == ([""], "end")


@given(
    pieces=st.lists(st.text("ab", min_size=1, max_size=3), max_size=6),
    stops=st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_any_pieces(pieces: list[str], stops: list[str]) -> None:
    """Character by character, the text ends where the first stop text is complete."""
    text = "".join(pieces)
    complete = [n for n in range(len(text) + 1) if text[:n].endswith(tuple(stops))]
    certain, found = read(stops, list(text))
    if not complete:
        assert ("".join(certain), found) == (text, None)
        return
    longest = max((s for s in stops if text[: complete[0]].endswith(s)), key=len)
    assert "".join(certain) == text[: complete[0] - len(longest)]
    assert found == longest


def test_an_empty_stop_text() -> None:
    """A stop text has at least one character."""
    assert check_stops("ab") == ("ab",)
    assert check_stops(["a", "b"]) == ("a", "b")
    with pytest.raises(InputError) as caught:
        check_stops(["a", ""])
    assert str(caught.value) == (
        "A stop text is empty, and would end every text at once. Give at least one character."
    )
