"""`edgernn tune`: the fastest forms of an artifact on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import (
    NumberRange,
    json_option,
    provider_option,
    seconds_option,
)
from edgernn.cli.speeds.bench_options import list_option
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import note, verbosity_options
from edgernn.extras import EXTRAS, install_command

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.runtime.providers import Provider
    from edgernn.runtime.tune.candidates import Candidate
    from edgernn.runtime.tune.try_candidates import Sizes
    from edgernn.tuned import Trial, Tuning


@click.command("tune", short_help="Choose the fastest forms of an artifact on this machine.")
@click.argument("artifact", type=click.Path(path_type=Path))
@list_option("--batch", "LIST", "Numbers of sequences, as `1,8,64`.  [default: 1]")
@list_option("--steps", "LIST", "Numbers of steps in one call of whole sequences.  [default: 100]")
@provider_option(default="cpu", show_default=True, help="Where to run.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure N threads only.  [default: 1, 2, 4, … and all cores]",
)
@click.option(
    "--tolerance",
    type=NumberRange(min=0, min_open=True),
    metavar="ERROR",
    help="Try lower precisions too, whose largest difference is at most ERROR.",
)
@seconds_option(4.0)
@click.option("--reset", is_flag=True, help="Return to the forms that the export chose.")
@json_option
@verbosity_options
def command(
    artifact: Path,
    batch: tuple[int, ...],
    steps: tuple[int, ...],
    provider: str,
    threads: int | None,
    tolerance: float | None,
    seconds: float,
    reset: bool,
    as_json: bool,
) -> None:
    """Measure the forms of ARTIFACT here, and write the fastest of them into it.

    A form is another graph with the same results: recurrent operators or primitive ones, embeddings
    folded or not, and with --tolerance a lower precision. Those that ARTIFACT does not have are
    made by exporting its graphs again, for which the extra `export` is needed. Each runs with
    several numbers of threads.

    The choice holds for the sizes that were measured and for those between them; `edgernn.load` and
    all other commands then follow it. ARTIFACT may be tuned again, and once for each provider.
    """
    from edgernn.artifact import Artifact

    opened = Artifact.open(artifact)
    if reset:
        _reset(opened, as_json, bool(batch or steps or threads or tolerance))
        return
    from edgernn.runtime.providers import AUTO, find_provider, onnxruntime
    from edgernn.runtime.tune.try_candidates import Sizes

    if provider == AUTO:
        raise click.UsageError(
            f"--provider {AUTO} is chosen when a model is loaded. Tune one provider by its name."
        )
    where, sizes = find_provider(provider), Sizes(batch, steps, seconds=seconds)
    sizes.check(opened.contract)
    onnxruntime()
    with TemporaryDirectory(prefix="edgernn-tune-") as folder:
        with show_stages("loading the graphs") as elapsed:
            candidates = _candidates(opened, Path(folder), tolerance)
            tuning = _tune(opened, where, candidates, sizes, threads)
        note(f"measured in {elapsed():.1f} s")
        from edgernn.runtime.tune.write_tuning import write_tuning

        files = {candidate.file: candidate.path for candidate in candidates}
        opened = write_tuning(opened, tuning, files)
    _print(opened, tuning, as_json)


def _reset(artifact: Artifact, as_json: bool, has_options: bool) -> None:
    from edgernn.runtime.tune.write_tuning import remove_tuning

    if has_options:
        raise click.UsageError("--reset measures nothing; give it alone.")
    was_tuned = artifact.tuned is not None
    artifact = remove_tuning(artifact)
    if as_json:
        click.echo(json.dumps({"path": str(artifact.path), "forms": _forms(artifact)}, indent=2))
    elif was_tuned:
        note(f"{artifact.path} runs the forms that its export chose")
    else:
        note(f"{artifact.path} was not tuned")


def _candidates(artifact: Artifact, folder: Path, tolerance: float | None) -> list[Candidate]:
    """Return the forms that an artifact has, and those that can be exported from it."""
    from edgernn.runtime.tune.candidates import Candidate, candidates_of
    from edgernn.runtime.tune.write_tuning import form_file

    candidates = candidates_of(artifact)
    try:
        from edgernn.export.other_forms import export_other_forms
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        how = install_command("export")
        note(f"note    only the forms that {artifact.path} has are measured; others need: {how}")
        return candidates
    others, notes = export_other_forms(artifact, folder, tolerance)
    for text in notes:
        note(f"note    {text}")
    for other in others:
        file = form_file(artifact, other.name, other.content)
        path = folder / Path(file).name
        path.write_bytes(other.content)
        if all(candidate.file != file for candidate in candidates):
            candidates.append(
                Candidate(other.graph, file, path, tolerance=other.tolerance, error=other.error)
            )
    return candidates


def _tune(
    artifact: Artifact,
    provider: Provider,
    candidates: list[Candidate],
    sizes: Sizes,
    threads: int | None,
) -> Tuning:
    from edgernn.runtime.measure.machine import machine_name, versions
    from edgernn.runtime.tune.candidates import with_threads
    from edgernn.runtime.tune.choose_forms import forms_of
    from edgernn.runtime.tune.try_candidates import try_candidates
    from edgernn.tuned import Tuning

    ways = with_threads(candidates, provider, threads)
    trials = try_candidates(artifact, provider, ways, sizes)
    return Tuning(
        provider=provider.name,
        machine=machine_name(),
        versions=versions(),
        forms=forms_of(trials, provider.name),
        trials=tuple(trials),
    )


def _print(artifact: Artifact, tuning: Tuning, as_json: bool) -> None:
    if as_json:
        report = {
            "path": str(artifact.path),
            "provider": tuning.provider,
            "machine": tuning.machine,
            "versions": dict(tuning.versions),
            "trials": [asdict(trial) for trial in tuning.trials],
            "forms": _forms(artifact),
        }
        click.echo(json.dumps(report, indent=2))
        return
    from edgernn.cli.terminal_tables import facts, show, table

    columns = ("graph", "batch", "steps", "form", "threads", "µs", "ratio", "error", "")
    show(
        table(f"Forms {tuning}", columns, map(_row, tuning.trials)),
        facts(("chosen", str(form)) for form in tuning.forms),
    )


def _row(trial: Trial) -> tuple[str, ...]:
    return (
        trial.graph,
        f"{trial.batch:,}",
        f"{trial.steps:,}",
        trial.form,
        str(trial.threads or ("1" if trial.graph == "step" else "all")),
        f"{1e6 * trial.seconds:,.1f}",
        f"{trial.ratio:.2f}",
        f"{trial.error:.1e}",
        "chosen" if trial.chosen else "",
    )


def _forms(artifact: Artifact) -> list[dict[str, Any]]:
    return [form.to_json() for form in artifact.forms]
