"""Layers of a sequence graph whose weights are quantized: a Scan, or an operator."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.quantize import layer_forms
from edgernn.export.quantize.layer_forms import why_not_scan, write_scans

SIZE = 6


def layer_of(kind: str, direction: str = "forward", still: bool = False) -> ir.Model:
    """Return a layer with its states as ports."""
    rng, gates = np.random.default_rng(0), {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    count = 2 if direction == "bidirectional" else 1
    c = f", float[{count}, batch, {SIZE}] c" if kind == "LSTM" else ""
    given, ends = ("h, c", "y, h2, c2") if c else ("h", "y, h2")
    reset = "linear_before_reset = 1, " if kind == "GRU" else ""
    model = ir.from_onnx_text(f"""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[sequence, batch, {SIZE}] x, float[{count}, batch, {SIZE}] h{c}) => (y, h2)
        <float[1] W = {{0}}, float[1] R = {{0}}, float[1] B = {{0}}>
        {{ {ends} = {kind} <hidden_size = {SIZE}, {reset}direction = "{direction}">
            (x, W, R, B, , {given}) }}
    """)
    shapes = {"W": (SIZE,), "R": (SIZE,), "B": ()}
    for name, rest in shapes.items():
        rows = gates * SIZE * (1 if rest else 2)
        drawn = rng.uniform(-1, 1, (count, rows, *rest)).astype(np.float32)
        if still and name == "W":
            drawn[..., -1] = np.repeat([-1e4, 0, 1e4, 0], SIZE)
        model.graph.initializers[name].const_value = ir.tensor(drawn, name=name)
    return model


def run(model: ir.Model, feeds: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return what ONNX Runtime computes."""
    return OnnxSession(ir.to_proto(model).SerializeToString())(feeds)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_scan_computes_what_the_layer_does(
    kind: str, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its weights are quantized, a layer as a Scan gives the same outputs and states."""
    monkeypatch.setattr(layer_forms, "LEAST_HIDDEN", {kind: SIZE})
    model = layer_of(kind, direction)
    rng, count = np.random.default_rng(1), 2 if direction == "bidirectional" else 1
    feeds = {"x": rng.normal(size=(5, 3, SIZE)).astype(np.float32)}
    for port in model.graph.inputs[1:]:
        feeds[port.name or ""] = rng.normal(size=(count, 3, SIZE)).astype(np.float32)
    expected = run(model, feeds)
    write_scans(model)
    assert [node.op_type for node in model.graph].count("Scan") == count
    for name, array in run(model, feeds).items():
        np.testing.assert_allclose(array, expected[name], atol=2e-6)


def test_small_and_masked_layers_stay_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer below the least size, and one whose state a mask keeps, say why they stay."""
    (small,) = layer_of("GRU").graph
    assert why_not_scan(small) == "its hidden size is below 384, where the operator is faster"
    monkeypatch.setattr(layer_forms, "LEAST_HIDDEN", {"LSTM": SIZE})
    (masked,) = layer_of("LSTM", still=True).graph
    assert why_not_scan(masked) == "a mask keeps its state after the end of each sequence"
    (large,) = layer_of("LSTM").graph
    assert not why_not_scan(large)
    large.replace_input_with(5, None)
    assert why_not_scan(large) == "it has no initial state"
