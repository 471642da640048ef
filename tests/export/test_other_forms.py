"""Forms that are made by exporting an artifact's own graphs again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.export.other_forms import OtherForm, export_other_forms
from edgernn.precision_report import PrecisionReport
from edgernn.runtime.providers import find_provider
from edgernn.runtime.tune.candidates import Candidate, candidates_of
from edgernn.runtime.tune.try_candidates import Sizes, try_candidates
from tests.nets.tagger import tagged

pytestmark = pytest.mark.forms


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A tagger whose embedding is folded."""
    return tagged("GRU", tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def forms(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> list[OtherForm]:
    """Its other forms, and those in int8."""
    made, notes = export_other_forms(artifact, tmp_path_factory.mktemp("exports"), 5e-2)
    assert notes == ()
    return made


def test_what_the_artifact_does_not_have_is_made(
    artifact: Artifact, forms: list[OtherForm]
) -> None:
    """The embedding taken apart again, and both graphs in int8; a form that is there is not."""
    names = [form.name for form in forms]
    assert {"step-unfolded", "sequence-int8", "step-int8"} <= {*names}
    assert not {form.name for form in artifact.forms} & {*names}
    tolerances = {form.name: form.tolerance for form in forms}
    assert (tolerances["step-unfolded"], tolerances["step-int8"]) == (None, 5e-2)
    assert all(form.error < 5e-2 for form in forms)


def test_they_run_in_place_of_its_graphs(
    artifact: Artifact, forms: list[OtherForm], tmp_path: Path
) -> None:
    """They have its metadata, so that the runtime takes them as its own."""
    candidates = candidates_of(artifact)
    for form in forms:
        (tmp_path / f"{form.name}.onnx").write_bytes(form.content)
        file = f"forms/{form.name}.onnx"
        path = tmp_path / f"{form.name}.onnx"
        candidates.append(Candidate(form.graph, file, path, None, form.tolerance, form.error))
    cpu, quick = find_provider("cpu"), Sizes(rounds=1, seconds=0.001)
    ran = {trial.form for trial in try_candidates(artifact, cpu, candidates, quick)}
    assert {form.name for form in forms} <= ran


def test_graphs_of_another_precision_are_not_exported_again(
    artifact: Artifact, tmp_path: Path
) -> None:
    """They have rounded weights, of which no other form can be made."""
    made = export_other_forms(replace(artifact, precision=PrecisionReport("int8")), tmp_path, None)
    assert made == ([], ("Only graphs in float32 can be exported again in other forms.",))
