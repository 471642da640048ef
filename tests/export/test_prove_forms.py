"""The forms of an export: proven as the portable graphs are, or left out."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper

import edgernn
from edgernn.export import prove_forms
from edgernn.export.forms.make_forms import make_forms
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.verify import verify_artifact
from tests.nets.step_forms import Lstm, exported

pytestmark = pytest.mark.forms


def test_an_export_proves_its_forms():
    """The report has the checks of a form: steps, the golden run, and a thousand steps."""
    artifact = exported(Lstm)
    checks = [one for one in artifact.parity.checks if one.form == "step-operator"]
    assert [one.name for one in checks] == ["steps"] * 3 + ["golden", "drift"]
    assert checks[-1].sequence == 1000
    assert str(checks[-1]).startswith("drift   step-operator.onnx batch 1, sequence 1000, ")


def test_verify_proves_the_forms_again():
    """The report of `verify_artifact` has the checks of the forms too."""
    artifact = exported(Lstm)
    torch.manual_seed(0)
    report = verify_artifact(artifact, Lstm().eval())
    assert report.passed
    assert [one.form for one in report.checks] == [one.form for one in artifact.parity.checks]


def test_verify_takes_no_tolerance_beyond_the_loosest(tmp_path):
    """What contract.json asks for passes up to the loosest tolerance of a form's precision."""
    path = shutil.copytree(exported(Lstm).path, tmp_path / "m.edgernn")
    artifact = edgernn.Artifact.open(path)
    file = artifact.checked_form(artifact.forms[0])
    graph = onnx.load(file)
    for weights in graph.graph.initializer:
        array = numpy_helper.to_array(weights)
        weights.CopyFrom(numpy_helper.from_array(array + array.dtype.type(1), weights.name))
    onnx.save(graph, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    changed = replace(
        artifact,
        tolerance=100.0,
        digests={**artifact.digests, artifact.forms[0].file: digest},
    )
    torch.manual_seed(0)
    with pytest.raises(edgernn.ParityError) as caught:
        verify_artifact(changed, Lstm().eval())
    assert " (at most 1.0e-03 is allowed) " in str(caught.value)


def test_a_form_that_differs_is_left_out(tmp_path, monkeypatch):
    """Nothing of it is written; a note says what differed."""

    def wrong_forms(*arguments: Any) -> Any:
        for built in make_forms(*arguments):
            for name, value in built.model.graph.initializers.items():
                right: Any = constant_of(value)
                value.const_value = ir.tensor(right + np.float32(1), name=name)
            yield built

    monkeypatch.setattr(prove_forms, "make_forms", wrong_forms)
    artifact: Any = edgernn.export_model(Lstm().eval(), tmp_path / "m.edgernn")
    assert artifact.forms == ()
    assert not (artifact.path / "forms").exists()
    note = artifact.contract.notes[-1]
    assert note.startswith(
        "`forms/step-operator.onnx` was left out: The step graph does not agree with eager torch: "
    )
    assert artifact.parity.passed


def test_an_export_without_proof_has_no_forms(tmp_path):
    """A form is written only where it is proven."""
    artifact = edgernn.export_model(Lstm().eval(), tmp_path / "m.edgernn", verify=False)
    assert artifact.forms == ()
