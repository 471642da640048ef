"""The forms of a vocabulary, each as a user writes it, and what is said of any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgernn.errors import InputError
from edgernn.vocabulary import Vocabulary
from edgernn.vocabulary_forms import check_lines, read_table

FORMS = (
    'Write a list, ["h", "i"]; an object from symbol to id, {"h": 0, "i": 1}; or '
    '{"symbols": ["?", "h", "i"], "unknown": "?"}.'
)

JSON: dict[str, tuple[str, Vocabulary]] = {
    "a list": ('["h", "i"]', Vocabulary(("h", "i"))),
    "symbol to id, torchtext's get_stoi()": ('{"i": 1, "h": 0}', Vocabulary(("h", "i"))),
    "id to symbol": ('{"1": "i", "0": "h"}', Vocabulary(("h", "i"))),
    "symbols that are numbers": ('{"1": 0, "0": 1}', Vocabulary(("1", "0"))),
    "an object": ('{"symbols": ["h", "i"]}', Vocabulary(("h", "i"))),
    "unknown by its symbol": (
        '{"symbols": ["?", "h", "i"], "unknown": "?"}',
        Vocabulary(("?", "h", "i"), unknown=0),
    ),
    "padding by its id": (
        '{"symbols": ["_", "h"], "padding": 0}',
        Vocabulary(("_", "h"), padding=0),
    ),
}


@pytest.mark.parametrize("form", JSON)
def test_json(form: str, tmp_path: Path) -> None:
    """Each form of JSON is read from a file, and the same from Python's lists and dicts."""
    text, vocabulary = JSON[form]
    (tmp_path / "v.json").write_text(text)
    assert Vocabulary.of(tmp_path / "v.json") == vocabulary
    assert Vocabulary.of(json.loads(text)) == vocabulary


def test_lines(tmp_path: Path) -> None:
    """One symbol per line, with a space as it is and four escapes."""
    (tmp_path / "v.txt").write_text("h\n \n\\n\n\\r\n\\0\n\\\\\n[\n]\n")
    symbols = ("h", " ", "\n", "\r", "\0", "\\", "[", "]")
    assert Vocabulary.of(tmp_path / "v.txt") == Vocabulary(symbols)


OTHERS: dict[str, tuple[Any, str]] = {
    "a number": (3, f"`v` is not a table of symbols. {FORMS}"),
    "a list of numbers": ([1], f"`v` is not a table of symbols. {FORMS}"),
    "nothing": ({}, f"`v` is not a table of symbols. {FORMS}"),
    "words": ({"h": "x"}, f"`v` is not a table of symbols. {FORMS}"),
    "truth": ({"h": True}, f"`v` is not a table of symbols. {FORMS}"),
    "an endless number": ({"9" * 5000: "h"}, f"`v` is not a table of symbols. {FORMS}"),
    "ids from 1": (
        {"h": 1, "i": 2},
        "`v` has no symbol for id 0; expected one symbol for each of the ids 0 to 1. Give every id "
        "of the model a symbol of its own.",
    ),
    "an id twice": (
        {"h": 0, "i": 0, "j": 1},
        "`v` has no symbol for id 2; expected one symbol for each of the ids 0 to 2. Give every id "
        "of the model a symbol of its own.",
    ),
    "an id that is missing": (
        {"0": "h", "2": "i"},
        "`v` has no symbol for id 1; expected one symbol for each of the ids 0 to 1. Give every id "
        "of the model a symbol of its own.",
    ),
    "tokenizer.json": (
        {"version": "1.0", "model": {"type": "BPE", "vocab": {"h": 0}, "merges": []}},
        "`v` is a tokenizer of Hugging Face, which splits text by rules that a vocabulary does not "
        "have. Export without a vocabulary, and give the model the ids of the tokenizer.",
    ),
    "an unknown symbol that is none": (
        {"symbols": ["h"], "unknown": "?"},
        "`?` is not a symbol of the vocabulary.",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_vocabulary_is_refused(case: str) -> None:
    """The message has what is wrong, and lines to write instead."""
    table, message = OTHERS[case]
    with pytest.raises(InputError) as caught:
        read_table(table, "`v`")
    assert str(caught.value) == message


def test_the_forms_in_the_message_are_read() -> None:
    """Each example of the message is a vocabulary."""
    for text in (
        '["h", "i"]',
        '{"h": 0, "i": 1}',
        '{"symbols": ["?", "h", "i"], "unknown": "?"}',
    ):
        assert text in FORMS
        assert read_table(json.loads(text), "`v`")[0][-2:] == ("h", "i")


LINES = {
    "a line break as it is": (
        "h\n\n\ni",
        "Symbol 1 of the vocabulary is empty. Line 2 of `v.txt` has nothing in it; write one "
        "symbol per line, and a line break as `\\n`.",
    ),
    "an empty file": (
        "",
        "Symbol 0 of the vocabulary is empty. Line 1 of `v.txt` has nothing in it; write one "
        "symbol per line, and a line break as `\\n`.",
    ),
    "JSON": (
        '{\n  "h": 0,\n  "i": 1\n}',
        "Vocabulary `v.txt` holds JSON. Give the file a name that ends in `.json`.",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_that_are_not_symbols_are_refused(case: str) -> None:
    """Empty lines are named by their number, and JSON by its remedy."""
    text, message = LINES[case]
    with pytest.raises(InputError) as caught:
        check_lines(text, "v.txt")
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["[\n]", "[\n1\n]", "{\n}", "{\na\n}", "[", "a\n["])
def test_brackets_are_symbols(text: str) -> None:
    """Lines that happen to be JSON, but no vocabulary, are symbols."""
    check_lines(text, "v.txt")
