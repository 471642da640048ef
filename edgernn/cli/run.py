"""`edgernn run`: an artifact on arrays, lines of numbers or text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import (
    PLOT_FORMATS,
    NumberRange,
    file_option,
    provider_option,
)
from edgernn.cli.run_options import NUMBER_FORMATS, RunOptions
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import note, verbosity_options
from edgernn.errors import InputError

if TYPE_CHECKING:
    from edgernn.cli.chunk_runner import ChunkRunner
    from edgernn.cli.data_files.output_file import OutputFile
    from edgernn.cli.data_files.sequence_reader import ChunkedSequence
    from edgernn.cli.plot.run_plot import RunPlot
    from edgernn.runtime import Model

_OUTPUT_FORMATS = (*NUMBER_FORMATS, ".txt")

_HELP = """Run ARTIFACT, by default the one in the current folder.

Without --input and --text, the golden run is replayed in every form, and the largest difference
and the time per step are printed.

\b
--input takes, recognised by content:
  .npy    one array, shaped as the model's input
  .npz    one array per input, under its name
  .csv    one step per row; columns are separated by commas, semicolons or tabs
  .jsonl  one step per line: a number, an array, or {"input": value, ...}
  .wav    one sample per step, channels as features; also .flac and .ogg

Arrays may lack the batch axis: the batch is then 1, and the results lack it too. Lines on standard
input, and a .wav, are answered as they come. Numbers are finite: NaN, infinity and empty cells are
refused with their position.

--text prints the best symbol per step where the model scores its symbols, else numbers. The scores
are taken as logits or logarithms of probabilities.

--generate N lets the model go on by itself after the input: its last output, or the symbol that it
chose, is its next input. The results are then these N steps, and not the outputs for the input.
Several texts, with --text again or --prompts, run as one batch, and are printed in a line each.

Results go to --output, or in the format of the input to standard output. The first row of a .csv
has names, on standard output only where that of the input has. A file that exists is kept unless
--force is given; devices, pipes and /dev/stdout are written into. The state is written when the
whole run has succeeded; --state-out may name the file of --state-in, which it then replaces.
"""


@click.command(
    "run",
    help=_HELP,
    short_help="Run an artifact on arrays, numbers or text.",
    context_settings={"allow_extra_args": True},
)
@click.argument("artifact", required=False, type=click.Path(path_type=Path))
@provider_option(
    default="cpu",
    show_default=True,
    help="Where to run; cuda:device_id=1 for one with options, auto for the fastest.",
)
@click.option(
    "--input",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="A sequence; `-` is standard input.",
)
@click.option(
    "--columns",
    metavar="LIST",
    help="The columns of a .csv, or channels of a .wav, by name or number: `temp,humidity`, `2-7`.",
)
@click.option(
    "--text",
    multiple=True,
    help="Text for a model with a vocabulary; `-` is standard input. Several with --generate.",
)
@click.option(
    "--prompts",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Texts to continue, one per line; `-` is standard input.",
)
@click.option(
    "--generate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Let the model go on for N steps or symbols.",
)
@click.option(
    "--temperature",
    type=NumberRange(min=0),
    help="Draw symbols at random; a lower value stays closer to the best, which 0 always takes.  "
    "[default: 1 with --top-k or --top-p, else 0]",
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Draw from the K best symbols only."
)
@click.option(
    "--top-p",
    type=NumberRange(min=0, max=1, min_open=True),
    metavar="P",
    help="Draw from the likeliest symbols that together have the probability P, after --top-k.",
)
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the random numbers.")
@click.option(
    "--stop",
    multiple=True,
    metavar="TEXT",
    help="End what is generated before this text. Several times for several.",
)
@click.option("--json", is_flag=True, help="Print generated texts as lines of JSON.")
@file_option("--output", "Where to write; its suffix is the format.", _OUTPUT_FORMATS, streams=True)
@file_option("--plot", "Draw inputs and outputs over the steps (.png, .svg, .pdf).", PLOT_FORMATS)
@click.option("--chunk", type=click.IntRange(min=1), metavar="N", help="Run N steps at a time.")
@click.option("--pad-rest", is_flag=True, help="Fill the last hop with zeros, and run it too.")
@file_option("--state-in", "Start from this state (.npz).")
@file_option("--state-out", "Write the final state (.npz).")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@verbosity_options
def command(**given: Any) -> None:
    """Run an artifact; `_HELP` says how."""
    if extra := click.get_current_context().args:
        raise click.UsageError(
            f"`{extra[0]}` is one argument too many. Give a file with --input, a text with --text."
        )
    options = RunOptions(**given)
    options.check()
    output = _output_file(options.output, "--output", options.force)
    plot = _output_file(options.plot, "--plot", options.force)
    replace_state = options.force or options.replaces_state
    state = _output_file(options.state_out, "--state-out", replace_state)
    from edgernn.runtime import load

    artifact = options.artifact or _default_artifact(Path())
    with show_stages("loading the model"):
        model = load(artifact, options.provider)
    if options.provider == "auto":
        note(f"runs on {model.provider}")
    if options.input is None and not options.takes_text:
        _replay(model)
        return
    _check_model(artifact, model, options)
    from edgernn.cli.chunk_runner import ChunkRunner, read_state

    runner = ChunkRunner(model, read_state(options.state_in) if options.state_in else None)
    picture = None if plot is None else _start_picture(model, runner)
    sequence, generated = _run(model, runner, options, output)
    if state is not None:
        runner.write_state(state)
        state.note("state")
    if plot is not None and picture is not None:
        title = f"{artifact.resolve().name} on {options.source_name}"
        columns, rate = (None, None) if sequence is None else (sequence.columns, sequence.rate)
        picture.save(plot, title, generated, columns, rate)
        plot.note("plot")


def _output_file(path: Path | None, flag: str, replace: bool) -> OutputFile | None:
    """Return the file of an option, checked, so that nothing is run for a file that fails."""
    if path is None:
        return None
    from edgernn.cli.data_files.output_file import OutputFile

    file = OutputFile(path, flag, replace)
    file.check()
    return file


def _start_picture(model: Model, runner: ChunkRunner) -> RunPlot:
    from edgernn.cli.plot.run_plot import RunPlot

    return RunPlot(model.contract, runner)


def _run(
    model: Model, runner: ChunkRunner, options: RunOptions, output: OutputFile | None
) -> tuple[ChunkedSequence | None, int]:
    """Run a sequence or a text.

    Returns:
        The sequence, which was read to its end; None for a text. The number of generated steps.
    """
    if not options.takes_text:
        from edgernn.cli.run_arrays import run_arrays

        return run_arrays(model.contract, runner, options, output), options.generate or 0
    if options.generate is not None:
        from edgernn.cli.run_generation import run_generation

        return None, run_generation(model, runner, options, output)
    from edgernn.cli.run_text import run_text

    run_text(model.contract, runner, options, output)
    return None, 0


def _check_model(artifact: Path, model: Model, options: RunOptions) -> None:
    """Check that the model has the vocabulary and the state that options need."""
    if options.takes_text and model.contract.vocabulary is None:
        raise InputError(
            f"`{artifact}` has no vocabulary, so it cannot read text. Export it again with "
            "--vocabulary FILE, or give numbers with --input."
        )
    if options.generate is not None and model.contract.in_hops:
        raise InputError(
            f"--generate feeds each output back as the next input, but those of `{artifact}` come "
            "later than that, by a hop or a delay. Leave out --generate."
        )
    flag = "--generate" if options.generate is not None else "--chunk"
    if not model.contract.carry and (options.chunk is not None or options.generate is not None):
        raise InputError(
            f"`{artifact}` has a state that cannot be carried from chunk to chunk, which {flag} "
            f"needs. Leave out {flag} and give the whole sequence at once."
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


def _replay(model: Model) -> None:
    """Replay the golden run in every form; print the difference and the time per step."""
    from edgernn.runtime.golden_replay import golden_report, median_step_time, require_passed

    replayed = golden_report(model)
    require_passed(replayed)
    names = ", ".join(check.name for check in replayed.checks)
    click.echo(f"{names}: max difference {replayed.max_difference:.1e} to {replayed.reference}")
    seconds = median_step_time(model)
    if seconds is not None:
        hop = model.contract.hop
        unit = "step" if hop == 1 else f"hop of {hop} steps"
        click.echo(f"{seconds * 1e6:.1f} µs per {unit} on {model.provider} (median)")
