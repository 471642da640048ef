"""Symbols and their ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ContractError, EdgernnError, InputError
from edgernn.vocabulary import Vocabulary

ABC = Vocabulary(("a", "b", "ab", "é"))

tables = st.lists(st.text(min_size=1), min_size=1, unique=True).map(
    lambda symbols: Vocabulary(tuple(symbols))
)


def refused(error: type[EdgernnError], call, *arguments):
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_the_longest_symbol_wins():
    """At each place the longest symbol that fits is taken."""
    assert ABC.encode("abaé") == [2, 0, 3]
    assert ABC.decode([2, 0, 3]) == "abaé"
    assert ABC.encode("") == []


@given(tables)
def test_lines_give_the_table_back(vocabulary):
    """Any symbols, line breaks and backslashes included, survive the lines and the JSON table."""
    assert Vocabulary.from_lines(vocabulary.to_lines()) == vocabulary
    assert Vocabulary.from_table(json.loads(json.dumps(vocabulary.to_table()))) == vocabulary


@given(tables, st.data())
def test_text_of_symbols_survives(vocabulary, data):
    """Text made of the symbols is encoded without an unknown and decoded to itself."""
    text = "".join(data.draw(st.lists(st.sampled_from(vocabulary.symbols))))
    if all(len(symbol) == 1 for symbol in vocabulary.symbols):
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_unknown_stands_for_other_characters():
    """With an unknown id other characters become it; without one they are refused."""
    assert Vocabulary(("?", "a"), unknown=0).encode("xa?") == [0, 1, 0]
    assert refused(InputError, ABC.encode, "abx") == (
        "`x` at position 2 of the text is not in the vocabulary of 4 symbols, which has no "
        "unknown symbol. Known are: 'a' 'b' 'ab' 'é'"
    )
    many = Vocabulary(tuple(map(chr, range(65, 110))))
    assert refused(InputError, many.encode, "~").endswith("'g' 'h' …")


def test_words_stand_apart():
    """Where most symbols are words and none has white space, it separates them, both ways."""
    words = Vocabulary(("<unk>", "the", "cat", "sat", ".", "a"), unknown=0)
    assert words.separator == " "
    assert words.encode(" the cat\nsat.") == [1, 2, 3, 4]
    assert words.encode("the catalogue") == [1, 0]
    assert words.decode([1, 2, 3, 4]) == "the cat sat ."
    assert refused(InputError, Vocabulary(("the", "cat")).encode, "the dog") == (
        "`dog` at position 4 of the text is not in the vocabulary of 2 symbols, which has no "
        "unknown symbol. Known are: 'the' 'cat'"
    )


def test_symbols_with_white_space_stand_close():
    """Symbols with white space or single characters have no separator."""
    for symbols in (("the", "cat", " "), ("New York", "cat"), ("a", "b", "cd")):
        assert Vocabulary(symbols).separator == ""
    assert Vocabulary(("New York", "cat")).encode("New Yorkcat") == [0, 1]


def test_padding_never_appears_in_text():
    """Padding is left out of decoded text and never encoded."""
    vocabulary = Vocabulary(("_", "a", "?"), unknown=2, padding=0)
    assert vocabulary.decode([0, 1, 0]) == "a"
    assert vocabulary.encode("_a") == [2, 1]


@pytest.mark.parametrize("id_", [-1, 4])
def test_ids_outside_the_table_are_refused(id_):
    """An id outside the table is refused."""
    assert refused(InputError, ABC.decode, [id_]) == (
        f"Id {id_} is outside the vocabulary, which has ids 0 to 3."
    )


@pytest.mark.parametrize(
    ("symbols", "special", "message"),
    [
        ((), {}, "The vocabulary is empty. It needs at least one symbol."),
        (("a", ""), {}, "Symbol 1 of the vocabulary is empty."),
        (("a", "b", "a"), {}, "The vocabulary has `a` twice, the second time as id 2."),
        (("a",), {"unknown": 1}, "The vocabulary's unknown id is 1; it has ids 0 to 0."),
        (("a",), {"padding": -1}, "The vocabulary's padding id is -1; it has ids 0 to 0."),
    ],
    ids=["empty", "symbol", "twice", "unknown", "padding"],
)
def test_a_table_keeps_its_rules(symbols, special, message):
    """A table that breaks a rule is refused when it is made."""
    with pytest.raises(ContractError) as caught:
        Vocabulary(symbols, **special)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "table",
    [
        ["a", "b"],
        {"b": 1, "a": 0},
        {"symbols": ["a", "b"]},
        Vocabulary(("a", "b")),
    ],
    ids=["list", "ids", "object", "itself"],
)
def test_tables_of_several_forms_are_read(table):
    """A list, an object from symbol to id and an object with `symbols` are one table."""
    assert Vocabulary.from_table(table) == Vocabulary(("a", "b"))


def test_special_symbols_are_ids_or_symbols():
    """Unknown and padding are named by id or by symbol; another symbol is refused."""
    table = {"symbols": ["a", "?"], "unknown": "?", "padding": 0}
    assert Vocabulary.from_table(table) == Vocabulary(("a", "?"), 1, 0)
    assert refused(InputError, Vocabulary.from_table, {"symbols": ["a"], "unknown": "x"}) == (
        "`x` is not a symbol of the vocabulary."
    )


def test_files_are_read_by_their_suffix(tmp_path):
    """JSON by its suffix; any other file has one symbol a line, with Windows line ends too."""
    (tmp_path / "v.json").write_text('["a", "b"]')
    (tmp_path / "v.txt").write_bytes(b"a\r\n\\n\r\n\\\\\r\n")
    assert Vocabulary.from_file(tmp_path / "v.json") == Vocabulary(("a", "b"))
    assert Vocabulary.from_file(tmp_path / "v.txt") == Vocabulary(("a", "\n", "\\"))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    """A file that is missing, not UTF-8 or not JSON is refused by name."""
    missing, binary, broken = (tmp_path / name for name in ("no.txt", "b.txt", "x.json"))
    binary.write_bytes(b"\xff")
    broken.write_text("[")
    assert refused(InputError, Vocabulary.from_file, missing) == (
        f"Vocabulary `{missing}` cannot be read: No such file or directory."
    )
    assert refused(InputError, Vocabulary.from_file, binary) == (
        f"Vocabulary `{binary}` is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in "
        "position 0: invalid start byte."
    )
    assert refused(InputError, Vocabulary.from_file, broken) == (
        f"Vocabulary `{broken}` is not valid JSON: Expecting value: line 1 column 2 (char 1)."
    )
