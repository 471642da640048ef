"""Forms: the graphs that run in place of the portable ones, and for which sizes they do."""

from __future__ import annotations

import hashlib
import json

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError
from edgernn.forms import Form, choose_form, unit_axes, with_unit_axes
from edgernn.json_field import JsonField
from edgernn.ports import Port
from tests.contract.filled import refused, write

FORM = Form("step", "forms/step-operator.onnx", "cpu", {"batch": 2}, {"batch": 4}, threads=1)


def with_form(path, data=b"graph of family f00d"):
    """Write an artifact with one form, and return it."""
    write(path)
    (path / "forms").mkdir()
    (path / FORM.file).write_bytes(data)
    table = json.loads((path / "contract.json").read_text())
    table["sha256"][FORM.file] = hashlib.sha256(b"graph of family f00d").hexdigest()
    table["forms"] = [FORM.to_json()]
    (path / "contract.json").write_text(json.dumps(table))
    return Artifact.open(path)


def test_a_form_is_read_as_it_was_written():
    """JSON holds every field of a form."""
    assert Form.from_json(JsonField("m", "forms[0]", FORM.to_json())) == FORM


@pytest.mark.parametrize(
    ("graph", "provider", "sizes", "applies"),
    [
        ("step", "cpu", {"batch": 2}, True),
        ("step", "cpu", {"batch": 4, "sequence": 9}, True),
        ("step", "cpu", {"batch": 1}, False),
        ("step", "cpu", {"batch": 5}, False),
        ("step", "cpu", {}, False),
        ("step", "cuda", {"batch": 2}, False),
        ("sequence", "cpu", {"batch": 2}, False),
    ],
)
def test_a_form_applies_within_its_bounds(graph, provider, sizes, applies):
    """Graph, provider and every bounded axis decide whether a form runs."""
    assert FORM.applies(graph, provider, sizes) is applies


def test_the_first_form_that_applies_is_chosen():
    """The order of the list decides; without a form that applies, the portable graph runs."""
    wide = Form("step", "step.onnx", most={"batch": 9})
    assert choose_form((FORM, wide), "step", "cpu", {"batch": 3}) is FORM
    assert choose_form((wide, FORM), "step", "cpu", {"batch": 3}) is wide
    assert choose_form((FORM, wide), "step", "cpu", {"batch": 6}) is wide
    assert choose_form((FORM, wide), "step", "cpu", {"batch": 10}) is None


def test_a_form_is_shown_with_its_conditions():
    """The text of a form has its name, provider, sizes and threads."""
    assert str(FORM) == "step-operator on cpu, batch 2 to 4, 1 thread"
    bounds = Form("sequence", "forms/s.onnx", least={"batch": 4}, most={"sequence": 1}, threads=2)
    assert str(bounds) == "s on cpu, batch from 4, sequence 1, 2 threads"
    assert str(Form("step", "step.onnx", "cuda")) == "step on cuda"


def test_a_form_outside_of_its_folder_is_refused():
    """A form is in the folder of forms, or the portable graph itself."""
    assert refused(ContractError, Form, "step", "../x.onnx") == (
        "A form is in file `../x.onnx`; expected `forms/NAME.onnx` with a name of letters, digits, "
        "- and _, or `step.onnx`."
    )
    assert refused(ContractError, Form, "chunk", "forms/x.onnx") == (
        "A form is of graph `chunk`; known are: sequence, step."
    )
    assert refused(ContractError, Form, "step", "step.onnx", "cpu", {"batch": 3}, {"batch": 2}) == (
        "Form `step.onnx` is for `batch` of at least 3 and at most 2; bounds are at least 1, the "
        "lower first."
    )


def test_an_artifact_has_its_forms(tmp_path):
    """Forms are read from contract.json, and their files by their digests."""
    path = tmp_path / "m.edgernn"
    artifact = with_form(path)
    assert artifact.forms == (FORM,)
    assert artifact.checked_form(FORM) == path / "forms" / "step-operator.onnx"
    assert artifact.checked_form(Form("step", "step.onnx")) == path / "step.onnx"
    assert "step-operator on cpu, batch 2 to 4, 1 thread" in repr(artifact)


def test_a_changed_form_is_refused(tmp_path):
    """The digest of a form is compared as that of a graph."""
    path = tmp_path / "m.edgernn"
    artifact = with_form(path, b"graph of family f00d, changed")
    assert refused(ContractError, artifact.checked_form, FORM).startswith(
        f"`{path / FORM.file}` was changed after the export: its SHA-256 is "
    )
    (path / FORM.file).unlink()
    assert refused(ContractError, artifact.checked_form, FORM) == (
        f"`{path / FORM.file}` cannot be read: No such file or directory."
    )


@pytest.mark.parametrize(
    ("portable", "form", "added"),
    [
        (("batch", 3), ("batch", 3), ()),
        (("batch", 3), (1, "batch", 3), (0,)),
        (("batch", 3), (1, 1, "batch", 3), (0, 1)),
        (("batch", 1), (1, "batch", 1), (0,)),
        (("batch", 3), ("batch", 3, 1), (2,)),
        ((1, 3), (1, 1, 3), (0,)),
        (("batch", 3), (2, "batch", 3), None),
        (("batch", 3), ("batch",), None),
        ((), (1,), (0,)),
    ],
)
def test_a_form_may_have_axes_of_size_1(portable, form, added):
    """Additional axes of size 1 leave the numbers and their order as they are."""
    assert unit_axes(Port("x", "float32", portable), form) == added


def test_additional_axes_have_no_name():
    """The names of the other axes stay theirs."""
    port = Port("x", "float32", (2, 3), axis_names=("batch", None))
    form = with_unit_axes(port, (1, 2, 3))
    assert form is not None
    assert form.axes == (None, "batch", None)
    assert with_unit_axes(port, (4, 2, 3)) is None
