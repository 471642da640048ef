"""`edgernn run`: an artifact on arrays, lines of numbers or text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import provider_option
from edgernn.cli.terminal_notes import verbosity_options
from edgernn.errors import InputError

if TYPE_CHECKING:
    from edgernn.cli.chunk_runner import ChunkRunner
    from edgernn.cli.output_file import OutputFile
    from edgernn.runtime import Model

_SUFFIXES = (".npy", ".npz", ".csv", ".jsonl", ".txt")
_REQUIRES = {
    "generate": ("--text",),
    "temperature": ("--generate",),
    "seed": ("--temperature",),
    "columns": ("--input",),
    "output": ("--input", "--text"),
    "chunk": ("--input", "--text"),
    "state_in": ("--input", "--text"),
    "state_out": ("--input", "--text"),
    "force": ("--output", "--state-out"),
}
"""Option → the options of which it needs one."""


def _check_suffix(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Check that a file has the suffix of a known format."""
    if value is not None and value.suffix not in _SUFFIXES and not _output_file(value).is_stream:
        raise click.BadParameter(
            f"`{value}` does not end in a format that is known: {', '.join(_SUFFIXES)}."
        )
    return value


_HELP = """Run ARTIFACT, by default the one in the current folder.

Without --input and --text, the golden run is replayed in every form, and the largest difference
and the time per step are printed.

\b
--input takes, recognised by content:
  .npy    one array, shaped as the model's input
  .npz    one array per input, under its name
  .csv    one step per row; columns are separated by commas, semicolons or tabs
  .jsonl  one step per line: a number, an array, or {"input": value, ...}

Arrays may lack the batch axis: the batch is then 1, and the results lack it too. Lines on standard
input are answered one by one as they come. Numbers are finite: NaN, infinity and empty cells are
refused with their position.

Results go to --output, or in the format of the input to standard output. The first row of a .csv
has names, on standard output only where that of the input has. A file that exists is kept unless
--force is given; devices, pipes and /dev/stdout are written into. The state is written when the
whole run has succeeded; --state-out may name the file of --state-in, which it then replaces.

--text prints the best symbol per step where the model scores its symbols, else numbers. --generate
runs the text, then N times the symbol that the model chose last, and prints those N symbols. The
scores are taken as logits or logarithms of probabilities.
"""


@click.command("run", help=_HELP, short_help="Run an artifact on arrays, numbers or text.")
@click.argument("artifact", required=False, type=click.Path(path_type=Path))
@provider_option(default="cpu", show_default=True, help="Where to run.")
@click.option("--input", "input_", metavar="FILE", help="A sequence; `-` is standard input.")
@click.option(
    "--columns",
    metavar="LIST",
    help="The columns of a .csv to read, by name or number: `temp,humidity`, `2-7`.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    callback=_check_suffix,
    metavar="FILE",
    help="Where to write; its suffix is the format.",
)
@click.option("--text", help="Text for a model with a vocabulary; `-` is standard input.")
@click.option(
    "--generate", type=click.IntRange(min=1), metavar="N", help="Continue the text by N symbols."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    help="Draw symbols at random; a lower value stays closer to the best.  [default: the best]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="The seed of the random numbers of --temperature."
)
@click.option("--chunk", type=click.IntRange(min=1), metavar="N", help="Run N steps at a time.")
@click.option(
    "--state-in",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Start from this state (.npz).",
)
@click.option(
    "--state-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the final state (.npz).",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@verbosity_options
def command(
    artifact: Path | None,
    provider: str,
    input_: str | None,
    columns: str | None,
    output: Path | None,
    text: str | None,
    generate: int | None,
    temperature: float | None,
    seed: int | None,
    chunk: int | None,
    state_in: Path | None,
    state_out: Path | None,
    force: bool,
) -> None:
    """Run an artifact; `_HELP` says how."""
    _check_usage(click.get_current_context().params)
    _check_standard_streams(input_, text, output)
    output_file = None if output is None else _output_file(output, "--output", force)
    replaces = state_in is not None and state_out is not None and _is_same_file(state_in, state_out)
    state_file = (
        None if state_out is None else _output_file(state_out, "--state-out", force or replaces)
    )
    for file in filter(None, (output_file, state_file)):
        file.check()
    from edgernn.runtime import load

    model = load(artifact or _default_artifact(Path()), provider)
    if input_ is None and text is None:
        _replay(model)
        return
    from edgernn.cli.chunk_runner import ChunkRunner, read_state

    _check_chunk(model, chunk, generate)
    runner = ChunkRunner(model, read_state(state_in) if state_in else None)
    if text is None:
        from edgernn.cli.run_arrays import run_arrays

        run_arrays(model.contract, runner, input_ or "", output_file, chunk, columns)
    else:
        _run_text(model, runner, text, output_file, chunk, generate, temperature, seed)
    if state_file is not None:
        runner.write_state(state_file)


def _check_usage(given: Mapping[str, Any]) -> None:
    """Check that the options can be used together.

    Raises:
        click.UsageError: They cannot.
    """
    present = {_flag(name) for name in given if given[name] not in (None, False)}
    if present >= {"--input", "--text"}:
        raise click.UsageError("Give --input or --text, not both.")
    for name, needs in _REQUIRES.items():
        if _flag(name) in present and present.isdisjoint(needs):
            raise click.UsageError(f"{_flag(name)} needs {' or '.join(needs)}.")
    output, state_out = given["output"], given["state_out"]
    if output is not None and output.suffix in _SUFFIXES:
        text = output.suffix == ".txt"
        if text and given["text"] is None:
            raise click.UsageError("--output with .txt needs --text.")
        if not text and given["generate"] is not None:
            raise click.UsageError("--generate writes text: give --output a name with .txt.")
    if (
        output
        and state_out
        and _is_same_file(output, state_out)
        and not _output_file(output).is_stream
    ):
        raise click.UsageError("--output and --state-out are the same file.")


def _check_standard_streams(input_: str | None, text: str | None, output: Path | None) -> None:
    """Check that standard input and output are open if they are used.

    Raises:
        InputError: One is closed, as by `<&-` in a shell.
    """
    if sys.stdin is None and "-" in (input_, text):
        raise InputError("Standard input is closed. Give a file with --input.")
    if sys.stdout is None and output is None:
        raise InputError("Standard output is closed. Give a file with --output.")


def _output_file(path: Path, option: str = "--output", force: bool = False) -> OutputFile:
    from edgernn.cli.output_file import OutputFile

    return OutputFile(path, option, force)


def _is_same_file(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _flag(name: str) -> str:
    return f"--{name.strip('_').replace('_', '-')}"


def _check_chunk(model: Model, chunk: int | None, generate: int | None) -> None:
    """Check that the model's state can be carried from chunk to chunk where an option needs it."""
    option = "--generate" if generate is not None else "--chunk"
    if not model.contract.carry and (chunk is not None or generate is not None):
        raise InputError(
            f"`{model.contract.source}` has a state that cannot be carried from chunk to chunk, "
            f"which {option} needs. Leave out {option} and give the whole sequence at once."
        )


def _default_artifact(folder: Path) -> Path:
    """Return the only artifact in `folder`.

    Raises:
        InputError: There is none, or more than one.
    """
    if (folder / "contract.json").is_file():
        return folder
    found = sorted(path for path in folder.glob("*.edgernn") if path.is_dir())
    if not found:
        raise InputError(
            "There is no artifact in the current folder. Name one, or write one with "
            "`edgernn export MODEL`."
        )
    if len(found) > 1:
        names = ", ".join(f"`{path}`" for path in found)
        raise InputError(f"There are {len(found)} artifacts here: {names}. Name one of them.")
    return found[0]


def _run_text(
    model: Model,
    runner: ChunkRunner,
    text: str,
    output: OutputFile | None,
    chunk: int | None,
    count: int | None,
    temperature: float | None,
    seed: int | None,
) -> None:
    from edgernn.cli.run_text import best, generate, read_text, run_text, sampler

    text = read_text(text)
    if count is None:
        run_text(model.contract, runner, text, output, chunk)
        return
    choose = best if temperature is None else sampler(temperature, seed)
    generate(model.contract, runner, text, count, choose, output)


def _replay(model: Model) -> None:
    """Replay the golden run in every form; print the difference and the time per step."""
    from edgernn.runtime.golden_replay import golden_report, median_step_time, require_passed

    replayed = golden_report(model)
    require_passed(replayed)
    names = ", ".join(check.name for check in replayed.checks)
    click.echo(f"{names}: max difference {replayed.max_difference:.1e} to {replayed.reference}")
    seconds = median_step_time(model)
    if seconds is not None:
        click.echo(f"{seconds * 1e6:.1f} µs per step on {model.provider} (median)")
