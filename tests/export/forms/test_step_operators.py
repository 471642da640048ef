"""One step through recurrent operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.forms.step_operators import step_operators
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import recurrent_nodes
from edgernn.export.ir.shapes import shape_of
from tests.nets.step_forms import Lstm, Tagger, exported

pytestmark = pytest.mark.forms

STATES = ("h_in", "h_out", "c_in", "c_out")


def form(kind: Any, keep: Any = None) -> Any:
    """Return the form of a model with all recurrent nodes, or those at some places."""
    model = ir.load(exported(kind).sequence)
    names = [node.name or "" for node in recurrent_nodes(model.graph)]
    return step_operators(model, names if keep is None else [names[i] for i in keep], STATES)


def shapes(values: Any) -> dict[str, list[str]]:
    return {value.name: [str(size) for size in shape_of(value) or ()] for value in values}


def test_one_layer_is_one_node():
    """The operator reads and writes the ports: no node moves axes."""
    graph = form(Lstm).graph
    assert [node.op_type for node in graph] == ["LSTM"]
    assert shapes(graph.inputs)["x"] == ["1", "batch", "3"]
    assert shapes(graph.outputs)["output"] == ["1", "1", "batch", "4"]
    assert shapes((*graph.inputs, *graph.outputs)).keys() == {"x", "output", *STATES}


def test_layers_pass_their_final_state_on():
    """Between layers of one step nothing moves axes: a state has the shape of an input."""
    kinds = [node.op_type for node in form(Tagger).graph]
    assert kinds.count("GRU") == 2
    assert "Squeeze" not in kinds[: kinds.index("GRU", kinds.index("GRU") + 1)]


@pytest.mark.parametrize("keep", [(0,), (1,), (0, 1)])
def test_numbers_are_those_of_the_step_graph(keep):
    """Whichever layers stay operators, the step computes the same."""
    model = form(Tagger, keep)
    kinds = [node.op_type for node in model.graph]
    assert kinds.count("GRU") == len(keep)
    rng = np.random.default_rng(0)
    feeds = {"ids": np.array([3, 6]), "h_in": rng.normal(size=(2, 2, 4)).astype(np.float32)}
    wanted = OnnxSession(str(exported(Tagger).step))(feeds)
    session = OnnxSession(ir.serde.serialize_model(model).SerializeToString())
    ids = [size.replace("batch", "2") for size in shapes(model.graph.inputs)["ids"]]
    added = {"ids": feeds["ids"].reshape([*map(int, ids)])}
    found = session({**feeds, **added})
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name].reshape(array.shape), array, atol=1e-6)


def test_without_a_layer_that_stays_there_is_no_form():
    """A graph of primitive operators alone is the portable step graph."""
    assert form(Tagger, ()) is None
