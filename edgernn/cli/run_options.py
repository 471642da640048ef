"""The options of `edgernn run`, and which of them go together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from edgernn.errors import InputError

__all__ = ["NUMBER_FORMATS", "RunOptions"]

NUMBER_FORMATS = (".npy", ".npz", ".csv", ".jsonl", ".wav", ".flac", ".ogg")

_SOURCES = ("--input", "--text", "--prompts")
_REQUIRES = {
    "columns": ("--input",),
    "prompts": ("--generate",),
    "generate": _SOURCES,
    "temperature": ("--generate",),
    "top_k": ("--generate",),
    "top_p": ("--generate",),
    "seed": ("--temperature", "--top-k", "--top-p"),
    "stop": ("--generate",),
    "json": ("--generate",),
    "output": _SOURCES,
    "plot": ("--input", "--text"),
    "chunk": ("--input", "--text"),
    "pad_rest": ("--input",),
    "state_in": _SOURCES,
    "state_out": ("--input", "--text"),
    "force": ("--output", "--plot", "--state-out"),
}
"""Option → the options of which it needs one."""

_OF_SYMBOLS = {
    "temperature": "draws symbols",
    "top_k": "draws symbols",
    "top_p": "draws symbols",
    "stop": "ends a text",
    "json": "prints texts",
}
"""Option → what it does with symbols, which --input does not have."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line asks for; None where an option is not given."""

    artifact: Path | None
    provider: str
    input: str | None
    columns: str | None
    text: tuple[str, ...]
    prompts: str | None
    generate: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    stop: tuple[str, ...]
    json: bool
    output: Path | None
    plot: Path | None
    chunk: int | None
    pad_rest: bool
    state_in: Path | None
    state_out: Path | None
    force: bool

    @property
    def source_name(self) -> str:
        """What is run, in a word or two."""
        if "-" in self._sources:
            return "standard input"
        return "text" if self.input is None else Path(self.input).name

    @property
    def takes_text(self) -> bool:
        """Whether a text is run, or several."""
        return bool(self.text) or self.prompts is not None

    @property
    def replaces_state(self) -> bool:
        """Whether the state is written where it was read."""
        read, written = self.state_in, self.state_out
        return read is not None and written is not None and _place(read) == _place(written)

    def check(self) -> None:
        """Check that the options go together, and that the standard streams in use are open.

        Raises:
            click.UsageError: The options do not go together.
            InputError: Standard input or output is closed, as by `<&-` in a shell.
        """
        present = {_flag(name) for name, value in vars(self).items() if _is_given(value)}
        if self.input is not None and self.takes_text:
            other = "--text" if self.text else "--prompts"
            raise click.UsageError(f"Give --input or {other}, not both.")
        for name, needs in _REQUIRES.items():
            if _flag(name) in present and present.isdisjoint(needs):
                raise click.UsageError(f"{_flag(name)} needs {_listed(needs)}.")
        for name, action in _OF_SYMBOLS.items():
            if _flag(name) in present and not self.takes_text:
                raise click.UsageError(f"{_flag(name)} {action}, which needs --text.")
        self._check_prompts()
        if self.pad_rest and self.state_out is not None:
            raise click.UsageError("--pad-rest ends the sequence, and --state-out continues it.")
        if self.output is not None:
            self._check_format(self.output.suffix)
        self._check_files_differ()
        if self._sources.count("-") > 1:
            raise click.UsageError("Standard input can be read once, and `-` came more often.")
        if sys.stdin is None and "-" in self._sources:
            raise InputError("Standard input is closed. Give a file with --input.")
        if sys.stdout is None and self.output is None:
            raise InputError("Standard output is closed. Give a file with --output.")

    def _check_format(self, suffix: str) -> None:
        if suffix == ".txt" and not self.takes_text:
            raise click.UsageError("--output with .txt needs --text.")
        if self.json and suffix == ".txt":
            raise click.UsageError("--json writes JSON: give --output a name with .jsonl.")
        numbers = suffix in NUMBER_FORMATS and suffix != ".jsonl"
        if numbers and self.takes_text and self.generate is not None:
            raise click.UsageError(
                "--generate with --text writes text: give --output a name with .txt or .jsonl."
            )

    @property
    def _sources(self) -> tuple[str | None, ...]:
        return self.input, self.prompts, *self.text

    def _check_prompts(self) -> None:
        """Check that nothing takes one text only where there are several."""
        if len(self.text) > 1 and self.generate is None:
            raise click.UsageError("Several --text need --generate. Give one, or --generate N.")
        if len(self.text) > 1 or self.prompts is not None:
            for flag, path in (("--plot", self.plot), ("--state-out", self.state_out)):
                if path is not None:
                    raise click.UsageError(f"{flag} is for one text. Give one --text only.")

    def _check_files_differ(self) -> None:
        from edgernn.cli.data_files.output_file import OutputFile

        written = {"--output": self.output, "--plot": self.plot, "--state-out": self.state_out}
        flags: dict[str, str] = {}
        for flag, path in written.items():
            if path is None or OutputFile(path).is_stream:
                continue
            place = _place(path)
            if place in flags:
                raise click.UsageError(f"{flags[place]} and {flag} are the same file.")
            flags[place] = flag


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != ()


def _listed(flags: Sequence[str]) -> str:
    """Join flags: `--a`, `--a or --b`, `--a, --b or --c`."""
    *first, last = flags
    return f"{', '.join(first)} or {last}" if first else last


def _place(path: Path) -> str:
    return os.path.realpath(path)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
