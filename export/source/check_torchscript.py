"""Checks of a TorchScript archive: its code before torch loads it, its graph before that runs.

torch runs some of the code while it loads an archive: `__setstate__`, the values of constants, the
defaults of arguments. The rest runs when forward does.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.allowed_operators import acts, computes
from edgernn.export.source.check_pickle import check_pickle
from edgernn.export.source.refusals import damaged_file, quantized_weights, untrusted_file
from edgernn.export.source.torchscript_operators import PYTHON_FUNCTIONS, SCALAR_FUNCTIONS
from edgernn.export.source.zip_archive import ZipArchive, write_archive

__all__ = ["check_graph", "check_torchscript_archive"]

_CODE = re.compile(r"code/[\w/]+\.py", re.ASCII)
_PICKLE = re.compile(r"code/[\w/]+\.py\.debug_pkl|(data|constants)\.pkl", re.ASCII)
_STORAGE = re.compile(r"(data|constants)/\w+", re.ASCII)
_NUMBER = re.compile(rb"\d{1,4}\s*")

# Limits of nesting, as torch's own reader recurses.
_DEEPEST = 100
_LONGEST = 2000

# Operators that call code outside the graph.
_CALLS = frozenset(
    ["prim::CallFunction", "prim::CallMethod", "prim::Closure", "prim::PythonOp", "prim::fork"]
)

# Special methods that do no harm where loading calls them.
_HARMLESS = frozenset(["__contains__", "__getitem__", "__getstate__", "__init__", "__len__"])

_SKIPPED = frozenset(
    [tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER]
)

_JOINING = frozenset(["and", "in", "is", "not", "or", "if"])
_SIGNS = frozenset(["-", "+", "~", "not"])

_DANGER = "Loading or running it could touch files or the process"

Token = tokenize.TokenInfo


def check_torchscript_archive(archive: ZipArchive, subject: str) -> io.BytesIO:
    """Return an archive of the module in `archive`, for torch.jit.load.

    Raises:
        SourceError: Loading it would run some of its code, or that reaches beyond numbers; its line
            is named. Or the archive is damaged.
        UnsupportedModelError: It has quantized layers.
    """
    entries = {name: archive.read(name) for name in archive.names if _CODE.fullmatch(name)}
    for name, content in entries.items():
        _Code(content, name, subject).check()
    for name in archive.names:
        if _STORAGE.fullmatch(name):
            entries[name] = archive.read(name)
        elif _PICKLE.fullmatch(name):
            entries[name] = _check_entry(archive, name, subject)
        elif name in ("version", ".data/version"):
            entries[name] = archive.read(name)
            if not _NUMBER.fullmatch(entries[name]):
                raise _damaged(subject, f"its version is `{entries[name][:20]!r}`")
        elif name == "byteorder" and archive.read(name) != b"little":
            raise _damaged(subject, "its numbers are not little-endian")
    if "data.pkl" not in entries or not {"version", ".data/version"} & set(entries):
        raise _damaged(subject, "it has no `data.pkl` or no `version`")
    return write_archive(entries)


def _check_entry(archive: ZipArchive, name: str, subject: str) -> bytes:
    def size(key: str) -> int:
        entry = f"{name.removesuffix('.pkl')}/{key}"
        if entry not in archive or not _STORAGE.fullmatch(entry):
            raise LookupError(f"there is no `{entry}`")
        return archive.size(entry)

    content = archive.read(name)
    check_pickle(content, size, name, subject)
    return content


def _damaged(subject: str, reason: str) -> SourceError:
    return damaged_file(subject, "TorchScript archive", reason)


def check_graph(graph: Any, subject: str) -> None:
    """Check that each node of `graph`, reached or not, does nothing but compute.

    Raises:
        SourceError: One may do more; it is named.
    """
    known = {*PYTHON_FUNCTIONS, *SCALAR_FUNCTIONS}
    blocks = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            kind = node.kind()
            computing = kind in known or not kind.startswith("aten::") or computes(kind)
            if kind in _CALLS or acts(kind) or not computing:
                raise untrusted_file(
                    f"{subject} is a TorchScript archive whose forward has the operator `{kind}`, "
                    "which may do more than compute",
                    _DANGER,
                )
            blocks.extend(node.blocks())


class _Code:
    def __init__(self, content: bytes, file: str, subject: str) -> None:
        self._content = content
        self._file = file
        self._subject = subject

    def check(self) -> None:
        inside: int | None = None  # the column of the def whose body this is
        for line in self._lines():
            first = line[0]
            self._check_names(line)
            if inside is not None and first.start[1] > inside:
                continue
            inside = None
            if first.string == "def":
                inside = first.start[1]
                self._check_method(line)
            self._check_literal(line[3:] if first.string in ("def", "class") else line)

    def _lines(self) -> Iterator[list[Token]]:
        """Yield the tokens of each logical line."""
        try:
            text = self._content.decode("utf-8")
            if any(character in text for character in "\t\f\v\r\0"):
                raise self._damaged("it has control characters")
            line: list[Token] = []
            depth = 0
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                self._check_lexical(token)
                depth += (token.string in "([{") - (token.string in ")]}") if token.string else 0
                if depth > _DEEPEST or token.start[1] > 10**7:
                    raise self._damaged("it is nested too deeply")
                if token.type == tokenize.NEWLINE:
                    self._check_length(line)
                    yield line
                    line = []
                elif token.type not in _SKIPPED:
                    line.append(token)
            if line:
                yield line
        except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, RecursionError) as error:
            raise self._damaged(str(error).splitlines()[0]) from error

    def _check_lexical(self, token: Token) -> None:
        if token.type == tokenize.ERRORTOKEN or (
            token.type == tokenize.NAME and not token.string.isascii()
        ):
            raise self._damaged(f"line {token.start[0]} is not TorchScript")
        if token.type == tokenize.STRING and (
            token.string[0] not in "\"'" or token.string[:3] in ('"""', "'''")
        ):
            raise self._damaged(f"line {token.start[0]} has text in a form that torch does not use")
        if token.type == tokenize.INDENT and len(token.string) > 2 * _DEEPEST:
            raise self._damaged("it is nested too deeply")

    def _check_length(self, line: list[Token]) -> None:
        joined = sum(
            one.string not in ",:=-()[]" if one.type == tokenize.OP else one.string in _JOINING
            for one in line
        )
        runs = groupby(line, key=lambda token: token.string in _SIGNS)
        signs = max((len(list(run)) for signed, run in runs if signed), default=0)
        if joined > _LONGEST or signs > _DEEPEST:
            raise self._damaged(f"line {line[0].start[0]} is nested too deeply")

    def _check_names(self, line: list[Token]) -> None:
        """Refuse names that are operators which act, wherever they are looked up."""
        by_text = any(token.string in ("getattr", "hasattr") for token in line)
        chain: list[str] = []
        dotted = False
        for token in line:
            text = token.string
            if token.type == tokenize.STRING and by_text:
                text = str(ast.literal_eval(text))
            if "__setstate__" in text:
                raise self._runs(token, "has a `__setstate__`")
            if token.type == tokenize.NAME:
                chain = [*chain, text] if dotted and chain else [text]
                self._check_chain(chain, dotted, token)
            elif token.type == tokenize.STRING and by_text:
                self._check_operator("aten", text, token)
            elif text != ".":
                chain = []
            dotted = text == "."

    def _check_chain(self, chain: list[str], dotted: bool, token: Token) -> None:
        match chain:
            case ["__torch__", "torch", "classes", *path]:
                if path[:1] in (["quantized"], ["rnn"]) and len(path) > 1:
                    raise self._quantized(path[1])
                if len(path) > 1:
                    raise self._runs(token, f"uses the class `{'.'.join(path)}`, not its own,")
            case ["__torch__", *_]:
                return
            case ["ops", "quantized", name]:
                raise self._quantized(f"ops.quantized.{name}")
            case ["ops", namespace, name]:
                if acts(f"{namespace}::{name}"):
                    raise self._runs(token, f"calls `ops.{namespace}.{name}`")
            case _ if dotted or chain[-1].startswith("rpc_"):
                self._check_operator("aten", chain[-1], token)
                self._check_operator("prim", chain[-1], token)

    def _check_operator(self, namespace: str, name: str, token: Token) -> None:
        if acts(f"{namespace}::{name}"):
            raise self._runs(token, f"calls `{name}`")

    def _check_method(self, line: list[Token]) -> None:
        name = line[1].string if len(line) > 1 else ""
        if name.startswith("__") and name.endswith("__") and name not in _HARMLESS:
            raise self._runs(line[1], f"defines `{name}`")
        if line[-1].string != ":":
            raise self._damaged(f"line {line[0].start[0]} is not TorchScript")

    def _check_literal(self, line: list[Token]) -> None:
        """Refuse calls in constants and defaults: torch evaluates them while it loads."""
        for place, token in enumerate(line):
            words = [earlier.string for earlier in line[max(0, place - 3) : place]]
            before = line[place - 1] if place else token
            called = token.string == "(" and (
                before.type in (tokenize.NAME, tokenize.STRING) or before.string in (")", "]", "}")
            )
            if called and before.string != "annotate" and words != ["torch", ".", "device"]:
                raise self._runs(token, f"computes a constant with `{before.string}(…)`")
            if token.type == tokenize.OP and token.string not in "()[]{}:=,.->":
                raise self._runs(token, f"computes a constant with `{token.string}`")

    def _runs(self, token: Token, what: str) -> SourceError:
        text = token.line.strip()
        return untrusted_file(
            f"{self._subject} is a TorchScript archive whose code {what} in `{self._file}`, line "
            f"{token.start[0]}: `{text[:80] + '…' if len(text) > 81 else text}`",
            _DANGER,
        )

    def _quantized(self, name: str) -> UnsupportedModelError:
        return quantized_weights(self._subject, f"`{name}` in `{self._file}`")

    def _damaged(self, reason: str) -> SourceError:
        return _damaged(self._subject, f"`{self._file}`: {reason}")
