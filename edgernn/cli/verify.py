"""`edgernn verify`: prove an artifact again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import declared_options, flags_of, json_option, provider_option
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import note, verbosity_options, wrapped
from edgernn.export.options import SourceOptions
from edgernn.facts import streaming_facts

if TYPE_CHECKING:
    from edgernn.contract import Contract
    from edgernn.report import Check, ParityReport


@click.command("verify", short_help="Prove an artifact again.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Compare with this model, run by PyTorch, or with this ONNX file, at many sizes.",
)
@provider_option(
    help="Where to run; cuda:device_id=1 for one with options, auto for the fastest.  "
    "[default: cpu]"
)
@declared_options(SourceOptions)
@json_option
@verbosity_options
def command(
    artifact: Path, against: Path | None, provider: str | None, as_json: bool, **options: Any
) -> None:
    """Replay the golden run of ARTIFACT in every form, or prove it in full against MODEL.

    The options that say how to read MODEL are those of `edgernn export`. The exit code is 1 where
    a difference exceeds the tolerance of ARTIFACT's precision.
    """
    if against is None:
        if any(options.values()):
            flags = ", ".join(flags_of(SourceOptions).values())
            raise click.UsageError(f"{flags} need --against.")
        with show_stages("replaying the golden run"):
            report, contract, ran_on = _replayed(artifact, provider or "cpu")
        if provider == "auto":
            note(f"ran on {ran_on}")
    else:
        if provider is not None:
            raise click.UsageError("--provider goes with the golden run, not with --against.")
        from edgernn.artifact import Artifact
        from edgernn.export.check_files import check_model_file

        opened = Artifact.open(artifact)
        check_model_file(against)
        with show_stages("loading PyTorch") as elapsed:
            from edgernn.export import verify_artifact

            report, contract = verify_artifact(opened, against, **options), opened.contract
        note(f"compared in {elapsed():.1f} s")
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        click.echo(wrapped(_lines(report, contract), sys.stdout))
    from edgernn.runtime.golden_replay import require_passed

    require_passed(report)


def _replayed(artifact: Path, provider: str) -> tuple[ParityReport, Contract, str]:
    from edgernn.runtime import golden_replay, load

    model = load(artifact, provider)
    return golden_replay.golden_report(model), model.contract, model.provider


def _lines(report: ParityReport, contract: Contract) -> str:
    streaming = [f"{name:<7} {text}" for name, text in streaming_facts(contract)]
    verdict = "passed" if report.passed else "failed"
    end = (
        f"{verdict}: max difference {report.max_difference:.1e} to {report.reference}, "
        f"tolerance {report.tolerance:.1e}"
    )
    if any(check.tolerance is not None for check in report.checks):
        end += " where a line has no other"
    return "\n".join([*streaming, *map(_line, report.checks), end])


def _line(check: Check) -> str:
    own = "" if check.tolerance is None else f", tolerance {check.tolerance:.1e}"
    return f"{check}{own}"
