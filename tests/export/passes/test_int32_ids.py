"""Integer inputs as int32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import edgernn
from edgernn.contract import State
from edgernn.errors import InputError
from edgernn.export.passes.int32_ids import take_int32_ids
from tests.nets.tagger import replayed, tagged


@pytest.mark.parametrize("kind", ["LSTM", "bidirectional"])
def test_ids_come_in_as_int32_in_every_graph(kind: str, tmp_path: Path) -> None:
    """Both graphs take int32 without a cast, the table's limit still on the port."""
    artifact = tagged(kind, tmp_path, int32_ids=True)
    for name, graph in artifact.contract.graphs.items():
        assert (graph.input("ids").dtype, graph.input("ids").limit) == ("int32", 7)
        nodes = onnx.load(artifact.path / f"{name}.onnx").graph.node
        assert "Cast" not in {node.op_type for node in nodes}
    assert np.load(artifact.golden / "ids.npy").dtype == np.int32
    assert replayed(artifact).passed


def test_ids_outside_the_table_are_still_refused(tmp_path: Path) -> None:
    """The runtime narrows int64 ids and knows how many there are."""
    model = edgernn.load(tagged("GRU", tmp_path, int32_ids=True).path)
    assert model(np.array([[1, 6]])).shape == (1, 2, 5)
    with pytest.raises(InputError) as caught:
        model(np.array([[1, 7]]))
    assert str(caught.value) == (
        "`ids: int32[batch, sequence]` has id 7 at (0, 1); the model knows ids 0 to 6."
    )


def test_arithmetic_on_ids_stays_int64() -> None:
    """What is not a look-up reads the number widened."""
    text = (
        '<ir_version: 8, opset_import: ["": 18]> g (int64[n] x) => (int64[n] y) { y = Add(x, x) }'
    )
    model = ir.from_onnx_text(text)
    take_int32_ids([model])
    assert [node.op_type for node in model.graph] == ["Cast", "Add"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_states_keep_their_dtype():
    """A counter goes in as it came out."""
    inputs = [ir.val(name, ir.DataType.INT64, []) for name in ("ids", "count_in")]
    total = ir.node("Add", inputs)
    total.outputs[0].name = "count_out"
    graph = ir.Graph(inputs, total.outputs, nodes=[total], opset_imports={"": 18})
    model = ir.Model(graph, ir_version=8)
    take_int32_ids([model], [State("count", "count_in", "count_out")])
    assert [value.dtype for value in graph.inputs] == [ir.DataType.INT32, ir.DataType.INT64]
