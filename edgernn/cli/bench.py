"""`edgernn bench`: how fast an artifact runs here."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import (
    PLOT_FORMATS,
    declared_options,
    file_option,
    json_option,
    provider_option,
    seconds_option,
)
from edgernn.cli.speeds.bench_options import BenchOptions, list_option, precision_option
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import note, verbosity_options
from edgernn.export.options import Precision, SourceOptions

if TYPE_CHECKING:
    from edgernn.cli.data_files.output_file import OutputFile
    from edgernn.cli.speeds.measure_speeds import Bench


@click.command("bench", short_help="Measure how fast an artifact runs here.")
@click.argument("artifact", type=click.Path(path_type=Path))
@list_option("--batch", "LIST", "Numbers of sequences, as `1,8,64`.  [default: 1]")
@list_option("--chunk", "LIST", "Numbers of steps in one call.  [default: 1,100]")
@precision_option("Precisions, as `float32,int8`.  [default: as exported]")
@provider_option(
    multiple=True,
    default=("cpu",),
    show_default="cpu",
    help="Where to run; once per provider.",
)
@click.option("--no-forms", is_flag=True, help="Run the portable graphs alone.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="The threads of ONNX Runtime, of PyTorch and of the limits.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="The rounds of each measurement.",
)
@seconds_option(2.0)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Measure this model too, run by PyTorch.",
)
@declared_options(SourceOptions)
@file_option("--plot", "Draw the times as bars (.png, .svg, .pdf).", PLOT_FORMATS)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
@verbosity_options
def command(
    artifact: Path,
    plot: Path | None,
    force: bool,
    as_json: bool,
    batch: tuple[int, ...],
    chunk: tuple[int, ...],
    precision: tuple[Precision, ...],
    provider: tuple[str, ...],
    no_forms: bool,
    threads: int,
    rounds: int,
    seconds: float,
    against: Path | None,
    **source: Any,
) -> None:
    """Measure how fast ARTIFACT runs here, in every combination of the lists.

    A call runs a chunk of a stream: one step goes through the step graph. The inputs are those of
    the golden run, as many as it takes. Beside the time are the steps of all sequences per second,
    the time of PyTorch with --against, and the share of what this machine can do at most: reading
    the weights once from where they are, or multiplying matrices of float32 at its peak.

    The options that say how to read MODEL are those of `edgernn export`. Another precision than
    that of ARTIFACT is exported again, into a folder that is removed. Ctrl-C ends the measuring,
    and what was measured is printed.
    """
    options = BenchOptions(
        batch, chunk, precision, provider, not no_forms, threads, rounds, seconds, against, source
    )
    options.check()
    if plot is None and force:
        raise click.UsageError("--force needs --plot.")
    picture = None if plot is None else _picture_file(plot, force)
    with TemporaryDirectory(prefix="edgernn-bench-") as folder:
        with show_stages("loading the model"):
            from edgernn.cli.speeds.measure_speeds import load_bench

            bench = load_bench(artifact, options, Path(folder))
        for text in bench.notes:
            note(f"note    {text}")
        is_whole = _measure(bench)
    _print(bench, as_json)
    if picture is not None:
        from edgernn.cli.speeds.speed_figure import save_figure

        save_figure(bench, picture)
        picture.note("plot")
    if not is_whole:
        note(f"measured {len(bench.speeds)} of {bench.cells} sizes")
        raise KeyboardInterrupt


def _picture_file(path: Path, force: bool) -> OutputFile:
    """Return the file of the picture, checked before anything is measured."""
    from edgernn.cli.data_files.output_file import OutputFile

    import_module("matplotlib")
    file = OutputFile(path, "--plot", force)
    file.check()
    return file


def _measure(bench: Bench) -> bool:
    """Measure, and return whether that came to its end; an interrupt keeps what was measured.

    Raises:
        KeyboardInterrupt: It came before anything was measured.
    """
    from edgernn.cli.speeds.bench_progress import show_progress

    try:
        with show_progress(bench.measurements) as (show, tick):
            bench.run(show, tick)
    except KeyboardInterrupt:
        if not bench.speeds:
            raise
        return False
    return True


def _print(bench: Bench, as_json: bool) -> None:
    from edgernn.cli.speeds.speed_table import bench_json, print_bench

    if as_json:
        click.echo(json.dumps(bench_json(bench), indent=2))
    else:
        print_bench(bench)
