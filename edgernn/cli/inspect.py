"""`edgernn inspect`: the contract and cost of an artifact or of one ONNX file, and its picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgernn.cli.command_options import json_option
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import note, verbosity_options

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.cli.data_files.output_file import OutputFile
    from edgernn.export.analysis.file_analysis import FileAnalysis


def _check_svg(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Check that the name of a picture ends in .svg."""
    if value is None or value.suffix.lower() == ".svg" or _output_file(value).is_stream:
        return value
    raise click.BadParameter(f"`{value}` does not end in .svg; a picture is always SVG.")


@click.command("inspect", short_help="Show the contract and cost of an artifact or ONNX file.")
@click.argument("path", metavar="FILE_OR_ARTIFACT", type=click.Path(path_type=Path))
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    callback=_check_svg,
    help="Draw ports, states and layers instead.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
@verbosity_options
def command(path: Path, graph: Path | None, force: bool, as_json: bool) -> None:
    """Show ports, states, cost per step, and which runtimes refuse FILE_OR_ARTIFACT and why.

    An artifact needs nothing but edgernn. A single .onnx file, from whatever tool, needs the
    extra `export`.

    --graph draws a picture for a web page, which is light or dark as the reader's screen is. A file
    that exists is kept unless --force is given.
    """
    if graph is None and force:
        raise click.UsageError("--force needs --graph.")
    if graph is not None and as_json:
        raise click.UsageError("Give --graph or --json, not both.")
    picture = None if graph is None else _output_file(graph, force)
    if picture is not None:
        picture.check()
    with show_stages("reading the graphs"):
        subject = _open(path)
    if picture is not None:
        _draw(path, subject, picture)
    elif as_json:
        click.echo(json.dumps({"path": str(path), **subject.to_json()}, indent=2))
    else:
        _print(path, subject)


def _output_file(path: Path, force: bool = False) -> OutputFile:
    from edgernn.cli.data_files.output_file import OutputFile

    return OutputFile(path, "--graph", force)


def _open(path: Path) -> Artifact | FileAnalysis:
    if path.suffix == ".onnx" and not os.path.isdir(path):
        from edgernn.export.analysis.file_analysis import analyse_file

        return analyse_file(path)
    from edgernn.artifact import Artifact

    return Artifact.open(path)


def _draw(path: Path, subject: Artifact | FileAnalysis, picture: OutputFile) -> None:
    from edgernn.artifact import Artifact
    from edgernn.cli.picture.graph_content import artifact_content, file_content
    from edgernn.cli.picture.graph_layout import lay_out
    from edgernn.cli.picture.svg_picture import svg_of

    if isinstance(subject, Artifact):
        content = artifact_content(subject)
    else:
        content = file_content(path.name, subject)
    with picture.open() as output, output.text() as stream:
        stream.write(svg_of(lay_out(content)))
    note(f"wrote {picture.path}")


def _print(path: Path, subject: Artifact | FileAnalysis) -> None:
    from edgernn.artifact import Artifact
    from edgernn.cli.contract_tables import print_artifact, print_file

    print_artifact(subject) if isinstance(subject, Artifact) else print_file(path, subject)
