"""The forms of an artifact's graphs."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
import pytest

from edgernn.export.forms import make_forms as module
from edgernn.export.forms.make_forms import make_forms, ports_of_form
from edgernn.forms import Form
from tests.nets.step_forms import Elman, Lstm, Tagger, exported

pytestmark = pytest.mark.forms


def made(kind, **changes):
    """Return the forms of a model."""
    artifact = exported(kind)
    graphs = {name: ir.load(artifact.checked(name)) for name in artifact.contract.graphs}
    return make_forms(graphs, replace(artifact.contract, **changes))


@pytest.mark.parametrize(("kind", "batch"), [(Lstm, 32), (Tagger, 16)])
def test_a_small_step_has_a_form(kind, batch):
    """It is used up to the batch at which it was measured to be faster."""
    (built,) = made(kind)
    assert built.form == Form("step", "forms/step-operator.onnx", most={"batch": batch})


def test_a_layer_that_is_slow_as_an_operator_has_a_form():
    """An RNN becomes a Scan, from the batch and the number of steps where that is faster."""
    (built,) = made(Elman)
    least = {"batch": 2, "sequence": 8}
    assert built.form == Form("sequence", "forms/sequence-scan.onnx", least=least)


def test_a_form_has_a_contract_of_its_own():
    """Its graph promises the ports that it has, and everything else that the artifact does."""
    (built,) = made(Lstm)
    contract = built.contract(exported(Lstm).contract)
    assert str(contract.step.input("x")) == "x: float32[1, batch, 3]"
    assert contract.family == exported(Lstm).contract.family
    assert contract.sequence is None


def test_large_weights_are_not_written_twice(monkeypatch):
    """Where a product takes most of the time, a form gains next to nothing."""
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    assert made(Lstm) == []


def test_other_ports_are_not_those_of_a_form():
    """A form has the ports of its graph, but for axes of size 1."""
    step = exported(Lstm).contract.step
    assert ports_of_form(ir.load(exported(Lstm).step), step) == step
    assert ports_of_form(ir.load(exported(Lstm).sequence), step) is None
    assert ports_of_form(ir.load(exported(Tagger).step), step) is None
