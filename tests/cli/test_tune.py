"""`edgernn tune`: the forms of an artifact, measured and chosen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.extras import install_command
from edgernn.runtime.tune.write_tuning import write_tuning
from tests.cli.conftest import Invoke
from tests.cli.runs import refused
from tests.nets.tunings import COPY, copied_form, tuning

pytestmark = pytest.mark.forms

QUICK = ("--seconds", "0.001", "--threads", "1", "--batch", "1,2", "--steps", "5")


@pytest.fixture
def artifact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """An artifact with a form, where the packages of the export are not installed."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "edgernn.export.other_forms", raising=False)
    path, copy = copied_form(folder)
    return write_tuning(Artifact.open(path), tuning("cuda"), {COPY: copy})


def test_a_table_of_what_was_measured(edgernn: Invoke, artifact: Artifact) -> None:
    """One line for each way and size; without the extra, a note says what is left out."""
    result = edgernn("tune", "features.edgernn", *QUICK)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Forms for cpu on ")
    assert lines[1].split() == [
        *("graph", "batch", "steps", "form", "threads", "µs", "ratio", "error"),
    ]
    rows = [line.split() for line in lines[3:] if line and not line.startswith("chosen")]
    assert [row[:5] for row in rows] == [
        [graph, batch, steps, form, threads]
        for graph, steps, forms, ways in (
            ("sequence", "5", ["sequence"], ["all", "1"]),
            ("step", "1", ["step", "step-copy"], ["1"]),
        )
        for batch in ("1", "2")
        for form in forms
        for threads in ways
    ]
    assert sum(row[-1] == "chosen" for row in rows) == 4
    now = Artifact.open(artifact.path)
    assert now.tuned is not None
    assert [one.provider for one in now.tuned.tunings] == ["cuda", "cpu"]
    assert [line.split("  ")[-1] for line in lines if line.startswith("chosen")] == [
        str(form) for form in now.forms if form.provider == "cpu"
    ]
    how = install_command("export")
    assert f"only the forms that features.edgernn has are measured; others need: {how}" in (
        " ".join(result.stderr.split())
    )


def test_json(edgernn: Invoke, artifact: Artifact) -> None:
    """The machine, the trials and the forms of the artifact as it is then."""
    result = edgernn("tune", "features.edgernn", *QUICK, "--json")
    report = json.loads(result.stdout)
    assert [*report] == ["path", "provider", "machine", "versions", "trials", "forms"]
    assert len(report["trials"]) == 8
    assert report["forms"] == [form.to_json() for form in Artifact.open(artifact.path).forms]


def test_reset_returns_to_what_the_export_chose(edgernn: Invoke, artifact: Artifact) -> None:
    """The forms of all tunings are gone, with their files."""
    result = edgernn("tune", "features.edgernn", "--reset")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "features.edgernn runs the forms that its export chose\n"
    assert Artifact.open(artifact.path).forms == ()
    assert not (artifact.path / "forms").exists()
    assert edgernn("tune", "features.edgernn", "--reset").stderr == (
        "features.edgernn was not tuned\n"
    )


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (
            ("--batch", "1,x"),
            "Invalid value for '--batch': `x` is not an integer from 1 to 999,999,999, as in "
            "`1,8,64`.",
            2,
        ),
        (
            ("--provider", "auto"),
            "--provider auto is chosen when a model is loaded. Tune one provider by its name.",
            2,
        ),
        (("--tolerance", "nan"), "Invalid value for '--tolerance': 'nan' is not a number.", 2),
        (("--reset", "--batch", "2"), "--reset measures nothing; give it alone.", 2),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: tuple[str, ...], message: str, code: int, edgernn: Invoke, artifact: Artifact
) -> None:
    """The artifact stays as it was."""
    before = artifact.to_json()
    refused(edgernn("tune", "features.edgernn", *options), message, code)
    assert Artifact.open(artifact.path).to_json() == before
