"""Symbols and their ids: the rows of a model's embedding, the entries of its scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgernn.errors import ContractError, InputError
from edgernn.facts import Facts, ShownAsFacts, vocabulary_line
from edgernn.regular_files import MEGABYTE, read_text
from edgernn.strict_json import parse_json
from edgernn.untrusted_text import is_utf8, quote
from edgernn.vocabulary_forms import check_lines, read_table

__all__ = ["Vocabulary"]

_MAX_BYTES = 64 * MEGABYTE

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
_CHARACTERS = {escape: character for character, escape in _ESCAPES.items()}
_SPECIAL = re.compile(r"[\\\n\r\0]")
_ESCAPED = re.compile(r"\\[\\nr0]")


@dataclass(frozen=True, repr=False)
class Vocabulary(ShownAsFacts):
    """A table of symbols; a symbol's id is its index in the table.

    Attributes:
        symbols: The symbols in the order of their ids; non-empty strings, all different.
        unknown: The id of every symbol outside the table, or None to refuse them.
        padding: The id of the padding symbol, which never appears in text, or None.
    """

    symbols: tuple[str, ...]
    unknown: int | None = None
    padding: int | None = None

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ContractError("The vocabulary is empty. It needs at least one symbol.")
        seen: set[str] = set()
        for id_, symbol in enumerate(self.symbols):
            if not symbol:
                raise ContractError(f"Symbol {id_} of the vocabulary is empty.")
            if not is_utf8(symbol):
                raise ContractError(f"Symbol {id_} of the vocabulary is not Unicode text.")
            if symbol in seen:
                raise ContractError(
                    f"The vocabulary has {quote(symbol)} twice, the second time as id {id_}."
                )
            seen.add(symbol)
        for role, special in (("unknown", self.unknown), ("padding", self.padding)):
            if special is not None and not 0 <= special < len(self.symbols):
                raise ContractError(
                    f"The vocabulary's {role} id is {special}; it has ids 0 to "
                    f"{len(self.symbols) - 1}."
                )

    def _facts(self) -> tuple[str, Facts]:
        roles = (("unknown", self.unknown), ("padding", self.padding))
        return f"Vocabulary of {vocabulary_line(self)}", [
            (role, f"{self.symbols[id_]}, id {id_}") for role, id_ in roles if id_ is not None
        ]

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        special = {self.unknown, self.padding}
        return {symbol: id_ for id_, symbol in enumerate(self.symbols) if id_ not in special}

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text of each id: its symbol, or nothing for padding."""
        return tuple("" if id_ == self.padding else one for id_, one in enumerate(self.symbols))

    @cached_property
    def _lengths(self) -> list[int]:
        """The lengths that symbols have, the largest first."""
        return sorted({*map(len, self._ids)}, reverse=True)

    @cached_property
    def separator(self) -> str:
        """The text between two symbols: a space in a vocabulary of words, else nothing.

        The symbols are words where none contains white space and most have several characters.
        """
        ordinary = [self.symbols[id_] for id_ in self._ids.values()]
        several = sum(len(symbol) > 1 for symbol in ordinary)
        spaced = any(len(symbol.split()) != 1 or symbol != symbol.strip() for symbol in ordinary)
        return " " if 2 * several > len(ordinary) and not spaced else ""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, taking the longest symbol that fits at each place.

        In a vocabulary of words, white space separates symbols and a word outside the table is one
        unknown symbol. In any other vocabulary, a character that fits no symbol is one.

        Examples:
            >>> Vocabulary(("h", "e", "l", "o")).encode("hello")
            [0, 1, 2, 2, 3]

        Raises:
            InputError: A character or word is not in a vocabulary that has no unknown id.
        """
        pieces = re.finditer(r"\S+" if self.separator else r"(?s:.+)", text)
        return [id_ for piece in pieces for id_ in self._of_piece(piece[0], piece.start())]

    def _of_piece(self, piece: str, start: int) -> list[int]:
        ids: list[int] = []
        place = 0
        while place < len(piece):
            id_, length = self._longest_at(piece, place)
            if id_ is None and self.separator:
                return [self._unknown(piece, start)]
            ids.append(self._unknown(piece[place], start + place) if id_ is None else id_)
            place += length
        return ids

    def _longest_at(self, text: str, place: int) -> tuple[int | None, int]:
        """Return the id and length of the longest symbol at a place; id None where none fits."""
        for length in self._lengths:
            id_ = self._ids.get(text[place : place + length])
            if id_ is not None:
                return id_, length
        return None, 1

    def _unknown(self, what: str, place: int) -> int:
        if self.unknown is None:
            raise InputError(
                f"{quote(what)} at position {place} of the text is not in the "
                f"vocabulary of {len(self)} symbols, which has no unknown symbol. "
                f"Known are: {' '.join(map(repr, self.symbols[:40]))}"
                f"{' …' if len(self) > 40 else ''}"
            )
        return self.unknown

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`; padding is left out.

        Examples:
            >>> Vocabulary(("h", "e", "l", "o")).decode([0, 1])
            'he'

        Raises:
            InputError: An id is outside the table.
        """
        symbols: list[str] = []
        for id_ in ids:
            if not 0 <= id_ < len(self):
                raise InputError(
                    f"Id {id_} is outside the vocabulary, which has ids 0 to {len(self) - 1}."
                )
            if id_ != self.padding:
                symbols.append(self.symbols[id_])
        return self.separator.join(symbols)

    def to_lines(self) -> str:
        r"""Return one symbol a line in the order of ids; `\\` and `\n`, `\r`, `\0` are escaped.

        Examples:
            >>> Vocabulary(("a", "\n")).to_lines()
            'a\n\\n'
        """
        return "\n".join(_SPECIAL.sub(lambda c: _ESCAPES[c[0]], s) for s in self.symbols)

    @classmethod
    def from_lines(
        cls, lines: str, unknown: int | None = None, padding: int | None = None
    ) -> Vocabulary:
        r"""Read what `to_lines` wrote.

        Examples:
            >>> Vocabulary.from_lines("a\n\\n").symbols
            ('a', '\n')
        """
        symbols = (_ESCAPED.sub(lambda e: _CHARACTERS[e[0]], s) for s in lines.split("\n"))
        return cls(tuple(symbols), unknown, padding)

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        r"""Read a vocabulary file: JSON, or text with one symbol a line.

        JSON is a list of symbols, an object from symbol to id or from id to symbol, or an object
        with `symbols` and optionally `unknown` and `padding`, each an id or a symbol. In text,
        `\n` is a line break, `\r` a carriage return, `\0` a NUL and `\\` a backslash. Files of
        at most 64 MiB are read.

        Raises:
            InputError: The file does not exist, is not UTF-8 or has another format.
            ContractError: The table breaks a rule of `Vocabulary`.
        """
        path = Path(path)
        where = f"Vocabulary `{path}`"
        text = read_text(path, where, InputError, _MAX_BYTES)
        if path.suffix != ".json":
            lines = text.replace("\r\n", "\n").removesuffix("\n")
            check_lines(lines, path)
            return cls.from_lines(lines)
        try:
            table = parse_json(text)
        except ValueError as error:
            raise InputError(f"{where} is not valid JSON: {error}.") from error
        return cls.from_table(table, where)

    @classmethod
    def of(cls, given: Vocabulary | Sequence[str] | Mapping[str, Any] | str | Path) -> Vocabulary:
        """Return a vocabulary from a file's path or from any table that `from_table` reads.

        Raises:
            InputError: There is no such table, or it breaks a rule of `Vocabulary`.
        """
        try:
            return cls.from_file(given) if isinstance(given, (str, Path)) else cls.from_table(given)
        except ContractError as error:
            raise InputError(str(error)) from error

    @classmethod
    def from_table(cls, table: object, where: str = "The vocabulary") -> Vocabulary:
        """Read a vocabulary from a list, a mapping of symbols and ids, or `to_table`'s object.

        Raises:
            InputError: It is none of them.
            ContractError: It breaks a rule of `Vocabulary`.
        """
        if isinstance(table, Vocabulary):
            return table
        return cls(*read_table(table, where))

    def to_table(self) -> dict[str, object]:
        """Return the vocabulary as a JSON object; `from_table` reads it."""
        return {"symbols": list(self.symbols), "unknown": self.unknown, "padding": self.padding}
