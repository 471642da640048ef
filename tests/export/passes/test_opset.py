"""Graphs in other operator sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

import edgernn
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.passes.opset import allows, schema_of, to_opset
from tests.nets.tagger import replayed, tagged


class Normed(nn.Module):
    """An RNN behind a layer norm and a mean over features."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.rnn = nn.LayerNorm(4), nn.RNN(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(self.norm(x) - x.mean(-1, keepdim=True))[0]
        return y


def graph(body: str, opset: int = 18) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["": {opset}]> {body}'
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


def results(model: ir.Model, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return list(ReferenceEvaluator(proto).run(None, {"x": x}))


@pytest.mark.parametrize(
    ("kind", "opset", "ir_version"),
    [("LSTM", 13, 7), ("GRU", 17, 8), ("LSTM", 25, 13), ("bidirectional", 14, 7)],
)
def test_both_graphs_are_of_the_opset_and_proven(
    kind: str, opset: int, ir_version: int, tmp_path: Path
) -> None:
    """Every graph says the opset asked for, in the lowest IR version that may hold it."""
    artifact = tagged(kind, tmp_path, opset=opset)
    for name in artifact.contract.graphs:
        model = onnx.load(artifact.path / f"{name}.onnx")
        assert [(one.domain, one.version) for one in model.opset_import] == [("", opset)]
        assert model.ir_version == ir_version
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 1e-5
    assert replayed(artifact).passed


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("opset", [13, 25])
def test_a_scan_is_written_in_the_opset_with_its_body(opset: int, tmp_path: Path) -> None:
    """The body of a Scan is of the graph's opset too."""
    layer = nn.LSTM(3, 6, proj_size=2)
    artifact = edgernn.export_model(
        layer, tmp_path / "m.edgernn", inputs=(torch.zeros(5, 2, 3),), opset=opset
    )
    assert any(node.op_type == "Scan" for node in onnx.load(artifact.sequence or "").graph.node)
    assert replayed(artifact).passed


def test_an_operator_that_an_opset_lacks_is_named(tmp_path: Path) -> None:
    """The refusal says which operator needs which opset, and nothing is written."""
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(
            Normed(), tmp_path / "m.edgernn", inputs=(torch.zeros(2, 5, 4),), opset=16
        )
    subject, _, rest = str(caught.value).partition(" (node ")
    assert subject == "`LayerNormalization`"
    assert rest.partition(") ")[2] == (
        "needs opset 17; opset 16 was asked for. Choose opset=17 or later."
    )
    assert list(tmp_path.iterdir()) == []


def test_reductions_and_norms_are_proven_where_they_exist(tmp_path: Path) -> None:
    """Axes of a reduction move into an attribute for opset 17."""
    artifact = edgernn.export_model(
        Normed(), tmp_path / "m.edgernn", inputs=(torch.zeros(2, 5, 4),), opset=17
    )
    nodes = onnx.load(artifact.sequence or "").graph.node
    (mean,) = [node for node in nodes if node.op_type == "ReduceMean"]
    assert len(mean.input) == 1
    assert replayed(artifact).passed


@pytest.mark.parametrize(
    ("outputs", "constants", "line"),
    [
        ("float[4] y", "int64[1] k = {1}", "y = ReduceMax <keepdims = 0> (x, k)"),
        ("float[2, 3] y, float[2, 3] z", "", "y, z = Split <axis = 0, num_outputs = 2> (x)"),
        ("float[3, 4] y", "int64[2] k = {3, 4}", "y = Reshape <allowzero = 0> (x, k)"),
        ("float[3] y", "", "s = Shape <start = 1> (x) y = ConstantOfShape(s)"),
    ],
    ids=["ReduceMax", "Split", "Reshape", "Shape"],
)
def test_older_forms_compute_the_same(outputs: str, constants: str, line: str) -> None:
    """A form that was written differently gives the same numbers in the older one."""
    body = f"g (float[4, 3] x) => ({outputs}) <{constants}> {{ {line} }}"
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    before = results(graph(body), x)
    model = graph(body)
    to_opset(model, 13)
    for got, expected in zip(results(model, x), before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_an_uneven_split_is_refused() -> None:
    """Equal parts are all that opset 13 splits into by number."""
    model = graph("g (float[5] x) => (float[3] y, float[2] z) { y, z = Split <num_outputs=2> (x) }")
    with pytest.raises(UnsupportedModelError) as caught:
        to_opset(model, 13)
    assert str(caught.value) == (
        f"`Split` (node `{model.graph[0].name}`) needs opset 18; opset 13 was asked for. "
        "Choose opset=18 or later."
    )


def test_unknown_opsets_are_refused_before_the_model_is_read(tmp_path: Path) -> None:
    """Nothing is traced for an opset that nothing is written in."""
    with pytest.raises(InputError) as caught:
        edgernn.export_model(tmp_path / "absent.pt", opset=9)
    assert str(caught.value) == (
        "`opset` is 9; known are: 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25."
    )


def test_an_operator_has_a_schema_from_its_first_opset_on() -> None:
    """GridSample came with opset 16."""
    assert schema_of("GridSample", 15) is None
    assert schema_of("GridSample", 16) is not None


def test_dtypes_of_inputs() -> None:
    """CumSum has no float16; the last of the inputs of a Concat repeats."""
    cumsum, concat = schema_of("CumSum", 18), schema_of("Concat", 18)
    assert cumsum is not None
    assert concat is not None
    assert allows(cumsum.inputs, 0, ir.DataType.FLOAT)
    assert allows(cumsum.inputs, 0, ir.DataType.DOUBLE)
    assert not allows(cumsum.inputs, 1, ir.DataType.FLOAT)
    assert allows(concat.inputs, 7, ir.DataType.FLOAT16)
