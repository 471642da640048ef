"""The options of `edgernn run`, and which of them go together."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from edgernn.errors import InputError

__all__ = ["NUMBER_FORMATS", "PLOT_FORMATS", "RunOptions"]

NUMBER_FORMATS = (".npy", ".npz", ".csv", ".jsonl", ".wav", ".flac", ".ogg")
PLOT_FORMATS = (".png", ".svg", ".pdf")

_REQUIRES = {
    "columns": ("--input",),
    "generate": ("--input", "--text"),
    "temperature": ("--generate",),
    "seed": ("--temperature",),
    "output": ("--input", "--text"),
    "plot": ("--input", "--text"),
    "chunk": ("--input", "--text"),
    "pad_rest": ("--input",),
    "state_in": ("--input", "--text"),
    "state_out": ("--input", "--text"),
    "force": ("--output", "--plot", "--state-out"),
}
"""Option → the options of which it needs one."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line asks for; None where an option is not given."""

    artifact: Path | None
    provider: str
    input: str | None
    columns: str | None
    text: str | None
    generate: int | None
    temperature: float | None
    seed: int | None
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
        if "-" in (self.input, self.text):
            return "standard input"
        return "text" if self.input is None else Path(self.input).name

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
        present = {_flag(name) for name, value in vars(self).items() if value not in (None, False)}
        if present >= {"--input", "--text"}:
            raise click.UsageError("Give --input or --text, not both.")
        for name, needs in _REQUIRES.items():
            if _flag(name) in present and present.isdisjoint(needs):
                raise click.UsageError(f"{_flag(name)} needs {' or '.join(needs)}.")
        if self.temperature is not None and self.text is None:
            raise click.UsageError("--temperature draws symbols, which needs --text.")
        if self.pad_rest and self.state_out is not None:
            raise click.UsageError("--pad-rest ends the sequence, and --state-out continues it.")
        if self.output is not None:
            self._check_format(self.output.suffix)
        self._check_files_differ()
        if sys.stdin is None and "-" in (self.input, self.text):
            raise InputError("Standard input is closed. Give a file with --input.")
        if sys.stdout is None and self.output is None:
            raise InputError("Standard output is closed. Give a file with --output.")

    def _check_format(self, suffix: str) -> None:
        if suffix == ".txt" and self.text is None:
            raise click.UsageError("--output with .txt needs --text.")
        if suffix in NUMBER_FORMATS and self.text is not None and self.generate is not None:
            raise click.UsageError(
                "--generate with --text writes text: give --output a name with .txt."
            )

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


def _place(path: Path) -> str:
    return os.path.realpath(path)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
