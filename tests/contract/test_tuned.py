"""What a tuning measured and chose, in `contract.json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError
from edgernn.forms import Form
from edgernn.json_field import JsonField
from edgernn.runtime.tune.write_tuning import write_tuning
from edgernn.tuned import Tuned
from tests.nets.tunings import COPY, copied_form, tuning


def test_tunings_are_read_as_they_were_written() -> None:
    """JSON holds the rules and every field of the tunings and their trials."""
    tuned = Tuned((Form("step", "forms/step-operator.onnx"),), (tuning(), tuning("cuda")))
    written = json.loads(json.dumps(tuned.to_json()))
    assert Tuned.from_json(JsonField("m", "tuned", written)) == tuned


def test_what_was_tuned_comes_before_the_rules() -> None:
    """The forms of every provider come first, then those of the export."""
    rule = Form("step", "forms/step-operator.onnx")
    assert Tuned((rule,), (tuning(),)).forms == (*tuning().forms, rule)


def test_an_artifact_shows_where_it_was_tuned(tmp_path: Path) -> None:
    """Its summary names the forms, the machine and the version of ONNX Runtime."""
    path, copy = copied_form(tmp_path)
    write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    lines = repr(Artifact.open(path)).splitlines()
    assert "form    step-copy on cpu, batch 1, 2 threads" in lines
    assert "tuned   for cpu on Z80, 1 core, onnxruntime 1.31.1" in lines


def test_forms_that_are_not_those_that_were_tuned_are_refused(tmp_path: Path) -> None:
    """The list of forms and the record of the tuning agree."""
    path, copy = copied_form(tmp_path)
    write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    table = json.loads((path / "contract.json").read_text("utf-8"))
    table["forms"][0]["threads"] = 1
    (path / "contract.json").write_text(json.dumps(table), "utf-8")
    with pytest.raises(ContractError) as caught:
        Artifact.open(path)
    assert str(caught.value) == (
        f"`{path}` has a contract that cannot be read: `forms` are not those that were tuned. "
        "Export the model again."
    )
