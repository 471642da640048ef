"""`edgernn verify`: prove an artifact again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgernn.cli.options import model_options

if TYPE_CHECKING:
    from edgernn.report import ParityReport


@click.command("verify", short_help="Prove an artifact again.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Compare with this model run by PyTorch, or ONNX file, at many sizes.",
)
@click.option("--provider", metavar="NAME", help="Where to run.  [default: cpu]")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    artifact: Path,
    against: Path | None,
    provider: str | None,
    inputs: tuple[str, ...],
    states: dict[str, str | int],
    module: str | None,
    assume_plain: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Replay the golden run of ARTIFACT in every form, or prove it in full against MODEL.

    The options that say how to read MODEL are those of `edgernn export`. The exit code is 1 where
    a check is over the tolerance of ARTIFACT's precision.
    """
    if against is None:
        if inputs or states or module or assume_plain or trust:
            raise click.UsageError(
                "--input, --state, --module, --assume-plain, --trust need --against."
            )
        report = _replayed(artifact, provider or "cpu")
    else:
        if provider is not None:
            raise click.UsageError("--provider goes with the golden run, not with --against.")
        from edgernn.artifact import Artifact
        from edgernn.export import verify_artifact

        report = verify_artifact(
            Artifact.open(artifact),
            against,
            inputs=list(inputs) or None,
            states=states or None,
            module=module,
            assume_plain=assume_plain,
            trust=trust,
        )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else _lines(report))
    from edgernn.runtime.golden_replay import require_passed

    require_passed(report)


def _replayed(artifact: Path, provider: str) -> ParityReport:
    from edgernn.runtime import golden_replay, load

    return golden_replay.golden_report(load(artifact, provider))


def _lines(report: ParityReport) -> str:
    lines = [
        f"{check.name:<7} {check.graph + '.onnx':<14} batch {check.batch}, sequence "
        f"{check.sequence}, {check.initial} initial state: {check.difference:.1e}"
        for check in report.checks
    ]
    verdict = "passed" if report.passed else "failed"
    end = f"max difference {report.max_difference:.1e} to {report.reference}, tolerance"
    return "\n".join([*lines, f"{verdict}: {end} {report.tolerance:.1e}"])
