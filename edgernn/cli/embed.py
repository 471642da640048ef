"""`edgernn embed`: a project that runs an artifact in another language."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from edgernn.cli.command_options import json_option
from edgernn.cli.terminal_notes import note, verbosity_options
from edgernn.hosts import HOSTS


@click.command("embed", short_help="Write a project that runs an artifact in another language.")
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option(
    "--host",
    type=click.Choice(list(HOSTS)),
    metavar="HOST",
    help="What the project is for; `edgernn embed` alone lists the hosts.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write.  [default: the artifact's name and the host's, as model-c]",
)
@click.option(
    "--reduced",
    is_flag=True,
    help="Write the graphs for a reduced build of ONNX Runtime, and the operators that it needs.",
)
@json_option
@verbosity_options
def command(
    artifact: Path | None, host: str | None, output: Path | None, reduced: bool, as_json: bool
) -> None:
    """Write a project that runs ARTIFACT in another language, and print how to build and run it.

    The project has everything that it needs: sources, the artifact, and ONNX Runtime's library. Its
    program replays the golden run; given `step`, it reads numbers from standard input.
    Without ARTIFACT, the hosts are listed.
    """
    if artifact is None:
        if host or output or reduced:
            raise click.UsageError("Missing argument 'ARTIFACT'.")
        _list_hosts(as_json)
        return
    if host is None:
        raise click.UsageError(f"Missing option '--host'. Choose from: {', '.join(HOSTS)}.")
    from edgernn.artifact import Artifact
    from edgernn.runtime.embed import embed_artifact

    chosen = HOSTS[host]
    folder = output or Path(f"{artifact.absolute().name.removesuffix('.edgernn')}-{host}")
    if not embed_artifact(Artifact.open(artifact), chosen, folder, reduced=reduced):
        note(
            "ONNX Runtime's library was not copied, since it is not installed here: put it into "
            f"{folder}/lib, or set ONNXRUNTIME_LIBRARY to its path."
        )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    note(f"wrote {folder}, {size / 1e6:,.1f} MB; its README.md says more")
    lines = chosen.lines(shlex.quote(str(folder)))
    if as_json:
        click.echo(
            json.dumps({"folder": str(folder), "build": lines[0], "run": lines[1]}, indent=2)
        )
    else:
        click.echo("\n".join(lines))


def _list_hosts(as_json: bool) -> None:
    if as_json:
        hosts = [{"host": x.name, "language": x.title, "needs": x.needs} for x in HOSTS.values()]
        click.echo(json.dumps(hosts, indent=2))
        return
    from edgernn.cli.terminal_tables import show, table

    rows = [(host.name, host.title, host.needs) for host in HOSTS.values()]
    show(table("Hosts", ("host", "language", "needs"), rows))
    note("for example: edgernn embed model.edgernn --host c -o app")
