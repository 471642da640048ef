"""Weights in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import nn

import edgernn
from edgernn.artifact import Artifact
from edgernn.errors import ParityError
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.quantize import int8_products, layer_forms
from edgernn.export.quantize.int8 import to_int8
from edgernn.export.quantize.integer_rounding import quantize_full_range, quantize_pair_bounded
from tests.export import saturating
from tests.nets.tagger import KINDS, gaps, replayed, tagged

RECURRENT = {"LSTM", "GRU", "RNN"}
INPUTS = 33


def result(model: ir.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the graph computes."""
    (array,) = list(ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x}))
    return np.asarray(array)


@pytest.fixture(scope="module", params=["LSTM", "GRU", "RNN"])
def layer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One layer of 40 from 33 inputs, in float32 and unproven."""
    torch.manual_seed(0)
    return edgernn.export_model(
        getattr(nn, request.param)(INPUTS, 40, batch_first=True),
        tmp_path_factory.mktemp("layer") / "l.edgernn",
        inputs=[f"input:float32[batch,sequence,{INPUTS}]"],
        verify=False,
    )


def step_of(artifact: Artifact) -> ir.Model:
    """Return a step graph in int8."""
    model = ir.load(str(artifact.step))
    to_int8({"sequence": ir.load(str(artifact.sequence)), "step": model}, artifact.contract.states)
    return model


def feeds_of(model: ir.Model, rows: int) -> dict[str, NDArray[np.float32]]:
    """Return large inputs of one sign in a half of the rows, and states at their limits."""
    rng = np.random.default_rng(1)
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        shape = [size if isinstance(size, int) else rows for size in value.shape]
        drawn = rng.uniform(-1, 1, shape).astype(np.float32)
        drawn[..., : rows // 2, :] = abs(drawn[..., : rows // 2, :]) ** 0.1
        feeds[value.name or ""] = drawn
    return feeds


@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_proven_and_its_error_reported(kind: str, tmp_path: Path) -> None:
    """The report holds the true difference from float32, within a tolerance of its own."""
    artifact = tagged(kind, tmp_path, precision="int8")
    assert artifact.parity is not None
    assert artifact.parity.tolerance == 5e-2
    assert 1e-4 < artifact.parity.max_difference < 2e-2
    assert artifact.contract.notes[-1] == (
        "Weights are int8, multiplied in integers that saturate on no CPU, with one scale for each "
        "row or a constant one; layers of the sequence graph that are faster as LSTM, GRU and RNN "
        "compute in float32 with them. A state is taken within ±1. Parity is with "
        f"float32: {gaps(artifact)}"
    )
    reason = "Gather: it has fewer than 16,384 numbers"
    tables = [f"`table.weight` ({reason})"]
    if artifact.step:
        tables.append(f"`{kind.lower()}_0_x_gates_table` ({reason})")
    assert artifact.contract.notes[-2] == f"Weights that stay float32: {', '.join(tables)}."
    assert replayed(artifact).passed


def test_no_product_of_the_step_stays_float(tmp_path: Path) -> None:
    """Every product of a GRU's step is MatMulInteger, an operator of ONNX itself.

    The products of one state are one: those of two layers, of the second's input, of the head.
    """
    step = onnx.load(tagged("GRU", tmp_path, precision="int8").step or "")
    kinds = [node.op_type for node in step.graph.node]
    assert {"Gemm", "MatMul"} & set(kinds) == set()
    assert kinds.count("MatMulInteger") == 4
    assert {node.domain for node in step.graph.node} == {""}


def test_recurrent_weights_of_the_sequence_are_int8(tmp_path: Path) -> None:
    """W and R are stored as int8 for a GRU as for an LSTM; B stays."""
    graph = onnx.load(tagged("GRU", tmp_path, precision="int8").sequence or "").graph
    stored = {one.name: one.data_type for one in graph.initializer}
    sources = {name: node for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in RECURRENT]
    assert len(layers) == 2
    for node in layers:
        for name in node.input[1:3]:
            assert sources[name].op_type == "DequantizeLinear"
            assert stored[sources[name].input[0]] == onnx.TensorProto.INT8
        assert stored[node.input[3]] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("line", "inputs"),
    [
        ("y = MatMul(x, w)", "float[3, 2] w = {1, 20, -3, 40, 5, -60}"),
        ("y = Gemm(x, w, b)", "float[3, 2] w = {1, 20, -3, 40, 5, -60}, float[2] b = {7, 8}"),
        ("y = Gemm <transB = 1> (x, w)", "float[2, 3] w = {1, 20, -3, 40, 5, -60}"),
    ],
    ids=["MatMul", "Gemm", "transB"],
)
def test_products_agree_with_float32(line: str, inputs: str) -> None:
    """Each output has a scale of its own, so columns of any size keep two digits."""
    text = (
        f'<ir_version: 8, opset_import: ["": 18]> g (float[4, 3] x) => (float[4, 2] y) <{inputs}>'
    )
    model = ir.from_onnx_text(f"{text} {{ {line} }}")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    expected = result(model, x)
    to_int8({"step": model}, ())
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert "MatMulInteger" in [node.op_type for node in model.graph]
    got = result(model, x)
    np.testing.assert_array_less(abs(got - expected).max(0), 0.02 * abs(expected).max(0) + 0.02)


def test_the_step_is_the_same_on_cpus_that_saturate(layer: Artifact) -> None:
    """16-bit sums that saturate give every output to the last bit as exact ones do."""
    model = step_of(layer)
    feeds = feeds_of(model, 40)
    exact, saturated = (saturating.run(model, feeds, kind) for kind in (False, True))
    for one, other in zip(exact, saturated, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_the_full_range_would_saturate(
    layer: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With scales that only the largest weight of an output sets, the two are apart."""
    monkeypatch.setattr(
        int8_products, "quantize_pair_bounded", lambda w: quantize_full_range(w, (0,))
    )
    model = step_of(layer)
    feeds = feeds_of(model, 40)
    exact, saturated = (saturating.run(model, feeds, kind) for kind in (False, True))
    assert np.abs(exact[0] - saturated[0]).max() > 0.05


def test_onnxruntime_agrees_with_numpy(layer: Artifact) -> None:
    """What ONNX Runtime makes of the step on this CPU is what NumPy makes of it."""
    model = step_of(layer)
    feeds = feeds_of(model, 40)
    session = OnnxSession(ir.to_proto(model).SerializeToString())
    for got, expected in zip(session(feeds).values(), saturating.run(model, feeds), strict=True):
        apart = np.abs(got - expected)  # an activation between two integers may go either way
        assert np.median(apart) < 1e-6
        assert apart.max() < 5e-3


def test_a_sequence_does_not_depend_on_its_batch(layer: Artifact) -> None:
    """A thousandfold sequence and one that is NaN leave the others of their batch as they are."""
    model = step_of(layer)
    feeds = feeds_of(model, 6)
    session = OnnxSession(ir.to_proto(model).SerializeToString())
    alone = session(feeds)
    loud = {name: array.copy() for name, array in feeds.items()}
    loud["input"][1] *= 1000
    loud["input"][2, 7] = np.nan
    among = session(loud)
    for one, other in zip(alone.values(), among.values(), strict=True):
        np.testing.assert_array_equal(one[..., [0, 3, 4, 5], :], other[..., [0, 3, 4, 5], :])
        assert np.isnan(other[..., 2, :]).all()
        assert np.isfinite(other[..., 1, :]).all()


def test_what_several_products_read_is_quantized_once(layer: Artifact) -> None:
    """A step has two inputs of products, x and h, however many products it has."""
    operators = [node.op_type for node in step_of(layer).graph]
    assert operators.count("QuantizeLinear") == 2


SMALL = np.array([[1, 2], [3, 4]], np.float32)


@pytest.mark.parametrize(
    ("line", "weights", "named"),
    [
        ("y = Gemm <alpha = 2.0> (x, w)", SMALL, ("`w` (Gemm)",)),
        ("y = Gemm <transA = 1> (x, w)", SMALL, ("`w` (Gemm)",)),
        ("y = MatMul(w, x)", SMALL, ("`w` (MatMul)",)),
        ("y = MatMul(x, x)", SMALL, ()),
        ('y = Einsum <equation = "ij,jk->ik"> (x, w)', SMALL, ("`w` (Einsum)",)),
        ("y = MatMul(x, w)", SMALL * np.float32(np.inf), ("`w` (MatMul)",)),
        ("y = MatMul(x, w)", np.ones((65537, 1), np.float32), ("`w` (MatMul)",)),
    ],
    ids=["alpha", "transA", "left", "data", "Einsum", "infinite", "long"],
)
def test_other_products_stay(
    line: str, weights: NDArray[np.float32], named: tuple[str, ...]
) -> None:
    """A product that is not x · W as it stands is left in float32, its weights named."""
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[m, n] x) => (float[m, k] y)'
    model = ir.from_onnx_text(f"{text} <float[1] w = {{1}}> {{ {line} }}")
    model.graph.initializers["w"].const_value = ir.tensor(weights)
    kept = to_int8({"step": model}, ())["step"]
    assert tuple(f"`{one.name}` ({one.operator})" for one in kept) == named
    assert all(one.stored == "float32" and one.reason for one in kept)
    assert [node.op_type for node in model.graph] == [line.split()[2].partition("(")[0]]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_both_graphs_compute_the_same_integers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that is a Scan gives what its steps give; both have the same int8 weights."""
    monkeypatch.setattr(layer_forms, "LEAST_HIDDEN", {kind: 6})
    torch.manual_seed(1)
    artifact = edgernn.export_model(
        getattr(nn, kind)(5, 6, batch_first=True),
        tmp_path / "m.edgernn",
        inputs=["input:float32[batch,sequence,5]"],
        precision="int8",
        verify=False,
    )
    stored = [integers_of(path) for path in (artifact.sequence, artifact.step)]
    assert len(stored[0]) == 2
    for one, other in zip(*stored, strict=True):
        np.testing.assert_array_equal(one, other)
    model = edgernn.load(artifact.path)
    x = np.random.default_rng(0).normal(size=(2, 9, 5)).astype(np.float32)
    stream = model.stream(batch=2)
    steps = np.stack([np.array(stream.step(x[:, t])) for t in range(9)], axis=1)
    np.testing.assert_allclose(np.asarray(model(x)), steps, atol=1e-6)


def integers_of(path: Path | None) -> list[NDArray[np.generic]]:
    """Return the weights that a graph multiplies in integers, those of bodies last."""
    nodes = ir.load(str(path)).graph.all_nodes()
    found = [constant_of(node.inputs[1]) for node in nodes if node.op_type == "MatMulInteger"]
    return sorted((one for one in found if one is not None), key=lambda one: one.shape)


def test_the_gate_refuses_wrong_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewriting that multiplies by other scales than it divided by is no artifact."""

    def wrong(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        numbers, scale = quantize_pair_bounded(weights)
        return numbers, scale * np.float32(3)

    monkeypatch.setattr(int8_products, "quantize_pair_bounded", wrong)
    with pytest.raises(ParityError, match="does not agree with eager torch"):
        tagged("GRU", tmp_path, precision="int8")
    assert not list(tmp_path.iterdir())
