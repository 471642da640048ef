"""Checks of a TorchScript archive: its code before torch loads it, its graph before that runs.

torch runs some of the code while it loads an archive: `__setstate__`, the values of constants, the
defaults of arguments. The rest runs when forward does.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from typing import Any

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.allowed_operators import acts, computes
from edgernn.export.source.refusals import damaged_file, quantized_weights, untrusted_file
from edgernn.export.source.torchscript_operators import PYTHON_FUNCTIONS, SCALAR_FUNCTIONS

__all__ = ["check_code", "check_graph"]

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

_DANGER = "Loading or running it could touch files or the process"

Token = tokenize.TokenInfo


def check_code(content: bytes, file: str, subject: str) -> None:
    """Check that loading the code in `content` runs none of it, and that none of it acts.

    Raises:
        SourceError: Something in it would run, or reaches beyond numbers; its line is named.
        UnsupportedModelError: It has quantized layers.
    """
    _Code(content, file, subject).check()


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
                self._check_literal(line[3:])
            elif first.string == "class":
                self._check_literal(line[3:])
            else:
                self._check_literal(line)

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
            token.string not in ",:=-()[]" for token in line if token.type == tokenize.OP
        ) + sum(token.string in ("and", "in", "is", "not", "or", "if") for token in line)
        signs = max((len(run) for run in _runs_of_signs(line)), default=0)
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
        return untrusted_file(
            f"{self._subject} is a TorchScript archive whose code {what} in `{self._file}`, line "
            f"{token.start[0]}: `{_short(token.line)}`",
            _DANGER,
        )

    def _quantized(self, name: str) -> UnsupportedModelError:
        return quantized_weights(self._subject, f"`{name}` in `{self._file}`")

    def _damaged(self, reason: str) -> SourceError:
        return damaged_file(self._subject, "TorchScript archive", f"`{self._file}`: {reason}")


def _runs_of_signs(line: list[Token]) -> Iterator[list[str]]:
    run: list[str] = []
    for token in line:
        if token.string in ("-", "+", "~", "not"):
            run.append(token.string)
        elif run:
            yield run
            run = []


def _short(line: str) -> str:
    text = line.strip()
    return f"{text[:80]}…" if len(text) > 81 else text
