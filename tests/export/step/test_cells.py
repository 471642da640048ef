"""Recurrent operators at one step, in plain operators."""

from __future__ import annotations

from math import exp, tanh

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.step.at_one_step import at_one_step, gemm_form
from tests.nets.layer_graphs import Array, run, session

SIZES = {"x": 3, "h": 4, "p": 2}


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def rows(w: Array, r: Array, b: Array, x: Array, h: Array) -> tuple[Array, Array]:
    """Return every gate's input product and recurrent product, each with its bias."""
    return w @ x + b[: len(w)], r @ h + b[len(w) :]


def scalar_lstm(w: Array, r: Array, b: Array, x: Array, h: Array, c: Array, p: Array):
    """ONNX's LSTM, one sequence and one unit at a time, gates i o f c."""
    n = len(c)
    gates = np.add(*rows(w, r, b, x, h))
    c = np.array(
        [
            sigmoid(gates[2 * n + k]) * c[k] + sigmoid(gates[k]) * tanh(gates[3 * n + k])
            for k in range(n)
        ]
    )
    h = np.array([sigmoid(gates[n + k]) * tanh(c[k]) for k in range(n)])
    return p @ h, c


def scalar_gru(w: Array, r: Array, b: Array, x: Array, h: Array, linear_before_reset: int):
    """ONNX's GRU, one sequence and one unit at a time, gates z r h."""
    n = len(h)
    wx, rh = rows(w, r, b, x, h)
    z = np.array([sigmoid(wx[k] + rh[k]) for k in range(n)])
    reset = np.array([sigmoid(wx[n + k] + rh[n + k]) for k in range(n)])
    early = r[2 * n :] @ (reset * h) + b[len(w) + 2 * n :]
    late = reset * rh[2 * n :]
    new = np.tanh(wx[2 * n :] + (late if linear_before_reset else early))
    return (1 - z) * new + z * h


def scalar_rnn(w: Array, r: Array, b: Array, x: Array, h: Array, activation: str):
    """ONNX's RNN."""
    total = np.add(*rows(w, r, b, x, h))
    return np.tanh(total) if activation == "Tanh" else np.maximum(total, 0)


def layer(op_type: str, gates: int, size: int, domain: str = "", **attributes: object):
    """Return a model of one layer over (sequence, batch, 3), and its weights W, R, B and P."""
    random = np.random.default_rng(0)
    hidden = SIZES["h"]
    shapes = {
        "W": (1, gates * hidden, SIZES["x"]),
        "R": (1, gates * hidden, size),
        "B": (1, 2 * gates * hidden),
        "P": (1, size, hidden),
    }
    weights = {k: random.uniform(-1, 1, s).astype(np.float32) for k, s in shapes.items()}
    values = {
        k: ir.Value(
            name=k,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.FLOAT),
            const_value=ir.tensor(array),
        )
        for k, array in weights.items()
    }
    x = ir.val("x", ir.DataType.FLOAT, ["sequence", "batch", SIZES["x"]])
    h = ir.val("h_in", ir.DataType.FLOAT, [1, "batch", size])
    c = ir.val("c_in", ir.DataType.FLOAT, [1, "batch", hidden])
    states = [h, c] if op_type == "LSTM" else [h]
    fifth = values["P"] if domain else None
    outputs = [ir.val("y", ir.DataType.FLOAT, ["sequence", 1, "batch", size])]
    outputs += [
        ir.val(f"{name}_out", ir.DataType.FLOAT, [1, "batch", width])
        for name, width in zip("hc", (size, hidden), strict=True)
    ][: len(states)]
    inputs = [x, values["W"], values["R"], values["B"], fifth, *states]
    attrs = ir.convenience.convert_attributes({"hidden_size": hidden, **attributes})  # type: ignore[dict-item]
    node = ir.Node(domain, op_type, inputs, attrs, outputs=outputs, name="layer")
    initializers = [value for value in values.values() if value.uses()]
    opsets = {"": 18, "edgernn": 1} if domain else {"": 18}
    graph = ir.Graph(
        [x, *states],
        outputs,
        nodes=[node],
        initializers=initializers,
        opset_imports=opsets,
        name="m",
    )
    return ir.Model(graph, ir_version=8), {
        k: array[0].astype(np.float64) for k, array in weights.items()
    }


def compare(model: ir.Model, cell, width: int) -> None:
    """Run the step graph of `model` twice on two sequences and hold it against the scalar cell."""
    running = session(gemm_form(at_one_step(model)))
    random = np.random.default_rng(1)
    state = {
        name: random.uniform(-1, 1, (1, 2, size)).astype(np.float32)
        for name, size in [("h_in", width), ("c_in", SIZES["h"])][: len(running.get_inputs()) - 1]
    }
    for _ in range(2):
        x = random.uniform(-1, 1, (2, SIZES["x"])).astype(np.float32)
        outputs = run(running, {"x": x, **state})
        expected = [cell(x[k], *(array[0, k] for array in state.values())) for k in range(2)]
        for index, name in enumerate(state):
            wanted = np.array([e[index] if isinstance(e, tuple) else e for e in expected])
            np.testing.assert_allclose(outputs[name.replace("in", "out")][0], wanted, atol=1e-6)
        np.testing.assert_array_equal(outputs["y"][0], outputs["h_out"][0])
        state = {name: outputs[name.replace("in", "out")] for name in state}


def test_lstm_is_the_scalar_lstm():
    """Gates i o f c, one at a time, give the step graph's h and c."""
    model, w = layer("LSTM", 4, SIZES["h"])
    eye = np.eye(SIZES["h"])
    compare(model, lambda x, h, c: scalar_lstm(w["W"], w["R"], w["B"], x, h, c, eye), SIZES["h"])


def test_projected_lstm_is_the_scalar_lstm_projected():
    """The projection follows the output gate, and only h is projected."""
    model, w = layer("LSTM", 4, SIZES["p"], domain="edgernn")
    compare(model, lambda x, h, c: scalar_lstm(w["W"], w["R"], w["B"], x, h, c, w["P"]), SIZES["p"])


@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_gru_is_the_scalar_gru(linear_before_reset: int):
    """The reset gate acts before or behind the recurrent product, as the attribute says."""
    model, w = layer("GRU", 3, SIZES["h"], linear_before_reset=linear_before_reset)
    compare(
        model,
        lambda x, h: scalar_gru(w["W"], w["R"], w["B"], x, h, linear_before_reset),
        SIZES["h"],
    )


@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
def test_rnn_is_the_scalar_rnn(activation: str):
    """One product and the activation named."""
    model, w = layer("RNN", 1, SIZES["h"], activations=[activation])
    compare(model, lambda x, h: scalar_rnn(w["W"], w["R"], w["B"], x, h, activation), SIZES["h"])
