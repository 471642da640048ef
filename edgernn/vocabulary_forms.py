"""The forms in which vocabularies are written down: lines of text and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from edgernn.errors import InputError
from edgernn.strict_json import parse_json
from edgernn.untrusted_text import quote

__all__ = ["check_lines", "read_table"]

Table = tuple[tuple[str, ...], int | None, int | None]
"""Symbols in the order of their ids, the id of the unknown one, that of the padding one."""

_FORMS = (
    'Write a list, ["h", "i"]; an object from symbol to id, {"h": 0, "i": 1}; or '
    '{"symbols": ["?", "h", "i"], "unknown": "?"}.'
)


def check_lines(text: str, path: object) -> None:
    r"""Check that a text file has a symbol in every line, and not JSON.

    Raises:
        InputError: It has an empty line, as where a line break is not written `\n`, or JSON.
    """
    if text.lstrip().startswith(("[", "{")) and _is_json_table(text):
        raise InputError(
            f"Vocabulary `{path}` holds JSON. Give the file a name that ends in `.json`."
        )
    for place, line in enumerate(text.split("\n")):
        if not line:
            raise InputError(
                f"Symbol {place} of the vocabulary is empty. Line {place + 1} of `{path}` has "
                "nothing in it; write one symbol per line, and a line break as `\\n`."
            )


def _is_json_table(text: str) -> bool:
    try:
        return bool(read_table(parse_json(text), "The vocabulary")[0])
    except (ValueError, InputError):
        return False


def read_table(table: object, where: str) -> Table:
    """Return the vocabulary in a list, a mapping either way, or an object with `symbols`.

    Args:
        table: What JSON or Python holds.
        where: What to call it in messages.

    Raises:
        InputError: It is none of these.
    """
    if _is_text_list(table):
        return tuple(table), None, None
    if isinstance(table, Mapping):
        if isinstance(listed := table.get("symbols"), (list, tuple)):
            symbols = read_table(listed, where)[0]
            unknown, padding = (_id_of(table.get(one), symbols) for one in ("unknown", "padding"))
            return symbols, unknown, padding
        if isinstance(model := table.get("model"), Mapping) and "vocab" in model:
            raise InputError(
                f"{where} is a tokenizer of Hugging Face, which splits text by rules that a "
                "vocabulary does not have. Export without a vocabulary, and give the model the ids "
                "of the tokenizer."
            )
        if table and all(type(id_) is int for id_ in table.values()):
            return _in_order({id_: str(symbol) for symbol, id_ in table.items()}, len(table), where)
        if table and all(_is_number(id_) and type(table[id_]) is str for id_ in table):
            return _in_order({int(id_): table[id_] for id_ in table}, len(table), where)
    raise InputError(f"{where} is not a table of symbols. {_FORMS}")


def _is_text_list(table: object) -> TypeGuard[Sequence[str]]:
    return isinstance(table, (list, tuple)) and all(isinstance(one, str) for one in table)


def _is_number(text: object) -> bool:
    return isinstance(text, str) and len(text) < 10 and text.isdecimal() and text == str(int(text))


def _in_order(symbols: Mapping[int, str], count: int, where: str) -> Table:
    """Return the symbols in the order of their ids, which are 0 to `count - 1`, each once."""
    for id_ in range(count):
        if id_ not in symbols:
            raise InputError(
                f"{where} has no symbol for id {id_}; expected one symbol for each of the ids 0 to "
                f"{count - 1}. Give every id of the model a symbol of its own."
            )
    return tuple(symbols[id_] for id_ in range(count)), None, None


def _id_of(special: object, symbols: Sequence[str]) -> int | None:
    if special is None or type(special) is int:
        return special
    if isinstance(special, str) and special in symbols:
        return symbols.index(special)
    raise InputError(f"{quote(str(special))} is not a symbol of the vocabulary.")
