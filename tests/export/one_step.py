"""One-step models to lift, and ways to run them step by step and lifted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]

SIZES = ((7, 3), (1, 1), (4, 1), (1, 5))
"""Steps and batch of the runs that are compared."""
SYMBOLS = 5


@dataclass(frozen=True)
class OneStepModel:
    """A one-step graph in ONNX's text form.

    Attributes:
        text: The graph, from its name on.
        weights: The shape of each of its weights.
        states: Its state inputs and outputs.
        integers: Its integer constants.
    """

    text: str
    weights: Mapping[str, tuple[int, ...]]
    states: Sequence[tuple[str, str]]
    integers: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def model(self, seed: int = 0) -> ir.Model:
        """Return the graph with random weights."""
        random = np.random.default_rng(seed)
        proto = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": 18, "edgernn": 1]> {self.text}'
        )
        arrays = {
            name: (random.standard_normal(shape) * 0.4).astype(np.float32)
            for name, shape in self.weights.items()
        }
        arrays |= {name: np.array(value, np.int64) for name, value in self.integers.items()}
        proto.graph.initializer.extend(
            onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
        )
        onnx.checker.check_model(proto)
        return ir.from_proto(proto)


def session(model: ir.Model) -> onnxruntime.InferenceSession:
    """Return a session on one thread, after ONNX's own check of the model."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers)


def run(session: onnxruntime.InferenceSession, feeds: Mapping[str, Array]) -> list[Array]:
    """Return all outputs of a session."""
    outputs: Any = session.run(None, dict(feeds))
    return list(outputs)


def largest_difference(
    one: ir.Model,
    lifted: ir.Model,
    states: Sequence[tuple[str, str]],
    last_only: Collection[str] = (),
    reference: Callable[[dict[str, Array]], dict[str, Array]] | None = None,
) -> float:
    """Compare a lifted graph with its one-step graph, run step by step, at every size of `SIZES`.

    Checks on the way that the shapes that come out are those that the lifted graph declares.

    Args:
        one: The one-step graph.
        lifted: The sequence graph.
        states: State inputs and outputs.
        last_only: Outputs of which the lifted graph gives the last step.
        reference: What to run as one step in the place of `one`.
    """
    step, whole = session(one), session(lifted)
    names = [port.name for port in step.get_outputs()]
    one_step = reference or (lambda feeds: dict(zip(names, run(step, feeds), strict=True)))
    worst = 0.0
    for steps, batch in SIZES:
        random = np.random.default_rng(steps)
        first = {
            port.name: _draw(random, port, {"batch": batch})
            for port in step.get_inputs()
            if port.name in dict(states)
        }
        inputs, outputs = [], []
        carried = first
        for _ in range(steps):
            data = {
                port.name: _draw(random, port, {"batch": batch})
                for port in step.get_inputs()
                if port.name not in carried
            }
            inputs.append(data)
            outputs.append(one_step({**data, **carried}))
            carried = {before: outputs[-1][after] for before, after in states}
        feeds = dict(first)
        for port in whole.get_inputs():
            if port.name not in first:
                axis = port.shape.index("sequence")
                feeds[port.name] = np.stack([data[port.name] for data in inputs], axis)
        for port, got in zip(whole.get_outputs(), run(whole, feeds), strict=True):
            expected = outputs[-1][port.name]
            if port.name not in last_only and port.name not in dict(states).values():
                axis = port.shape.index("sequence")
                expected = np.stack([output[port.name] for output in outputs], axis)
            sizes = {"batch": batch, "sequence": steps}
            assert got.shape == tuple(sizes.get(size, size) for size in port.shape), port.name
            assert got.shape == expected.shape, port.name
            worst = max(worst, float(np.abs(got - expected).max()))
    return worst


def _draw(random: np.random.Generator, port: Any, sizes: Mapping[str, int]) -> Array:
    shape = [sizes.get(size, size) for size in port.shape]
    if "int" in port.type:
        return random.integers(0, SYMBOLS, shape)
    return random.standard_normal(shape).astype(np.float32)


def body(model: ir.Model) -> list[str]:
    """Return the operators in the body of the Scan of `model`."""
    (scan,) = (node for node in model.graph if node.op_type == "Scan")
    return [node.op_type for node in scan.attributes["body"].as_graph()]


def operators(model: ir.Model) -> list[str]:
    """Return the operators of `model`."""
    return [node.op_type for node in model.graph]


H_STATES = [("h_in", "h_out")]
LSTM_STATES = [("h_in", "h_out"), ("c_in", "c_out")]


def _cell(kind: str, gates: int, attributes: str = "") -> OneStepModel:
    """A cell as it is written from torch: states (batch, hidden_size), one operator."""
    letters = "hc" if kind == "LSTM" else "h"
    before = "".join(f", float[batch, 4] {letter}_in" for letter in letters)
    after = "".join(f", float[batch, 4] {letter}_out" for letter in letters)
    lines = ["s = Unsqueeze(x, zero)"]
    lines += [f"{letter} = Unsqueeze({letter}_in, zero)" for letter in letters]
    finals = ", ".join(f"{letter}_end" for letter in letters)
    initial = ", ".join(letters)
    lines += [f"y, {finals} = {kind}<hidden_size=4{attributes}>(s, W, R, B, , {initial})"]
    lines += [f"{letter}_out = Squeeze({letter}_end, zero)" for letter in letters]
    lines += ["output = Identity(h_out)"]
    return OneStepModel(
        f"g (float[batch, 3] x{before}) => (float[batch, 4] output{after}) {{ {' '.join(lines)} }}",
        {"W": (1, 4 * gates, 3), "R": (1, 4 * gates, 4), "B": (1, 8 * gates)},
        LSTM_STATES if kind == "LSTM" else H_STATES,
        {"zero": [0]},
    )


OPERATOR_MODELS = {
    "lstm_cell": _cell("LSTM", 4),
    "gru_cell": _cell("GRU", 3, ", linear_before_reset=1"),
    "rnn_cell": _cell("RNN", 1),
    "relu_cell": _cell("RNN", 1, ', activations=["Relu"]'),
    "stacked_cells_with_embedding_and_head": OneStepModel(
        """g (int64[batch] tokens, float[batch, 4] a_in, float[batch, 4] b_in)
            => (float[batch, 5] output, float[batch, 4] a_out, float[batch, 4] b_out) {
            e = Gather(E, tokens)
            s = Unsqueeze(e, zero)
            a = Unsqueeze(a_in, zero)
            ya, a_end = GRU<hidden_size=4, linear_before_reset=1>(s, Wa, Ra, Ba, , a)
            a_out = Squeeze(a_end, zero)
            s2 = Unsqueeze(a_out, zero)
            b = Unsqueeze(b_in, zero)
            yb, b_end = RNN<hidden_size=4>(s2, Wb, Rb, Bb, , b)
            b_out = Squeeze(b_end, zero)
            scores = Gemm<transB=1>(b_out, L, l)
            output = LogSoftmax(scores) }""",
        {
            "E": (5, 3),
            "Wa": (1, 12, 3),
            "Ra": (1, 12, 4),
            "Ba": (1, 24),
            "Wb": (1, 4, 4),
            "Rb": (1, 4, 4),
            "Bb": (1, 8),
            "L": (5, 4),
            "l": (5,),
        },
        [("a_in", "a_out"), ("b_in", "b_out")],
        {"zero": [0]},
    ),
    "two_layers_in_one_state": OneStepModel(
        """g (float[1, batch, 3] x, float[2, batch, 4] h_in)
            => (float[1, batch, 4] output, float[2, batch, 4] h_out) {
            h0, h1 = Split<axis=0>(h_in, ones)
            y0, n0 = RNN<hidden_size=4>(x, W0, R0, B0, , h0)
            s = Squeeze(y0, one)
            y1, n1 = RNN<hidden_size=4>(s, W1, R1, B1, , h1)
            output = Squeeze(y1, one)
            h_out = Concat<axis=0>(n0, n1) }""",
        {
            "W0": (1, 4, 3),
            "R0": (1, 4, 4),
            "B0": (1, 8),
            "W1": (1, 4, 4),
            "R1": (1, 4, 4),
            "B1": (1, 8),
        },
        H_STATES,
        {"one": [1], "ones": [1, 1]},
    ),
    "h_and_c_in_one_state_behind_a_convolution": OneStepModel(
        """g (float[batch, 1, 6] x, float[2, batch, 4] hc_in)
            => (float[batch, 1] output, float[2, batch, 4] hc_out) {
            k = Conv(x, K)
            r = Relu(k)
            f = ReduceMean<keepdims=0>(r, last)
            s = Unsqueeze(f, zero)
            h, c = Split<axis=0>(hc_in, ones)
            y, hn, cn = LSTM<hidden_size=4>(s, W, R, B, , h, c)
            hc_out = Concat<axis=0>(hn, cn)
            o = Squeeze(hn, zero)
            p = MatMul(o, L)
            output = Sigmoid(p) }""",
        {"K": (3, 1, 2), "W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32), "L": (4, 1)},
        [("hc_in", "hc_out")],
        {"zero": [0], "last": [2], "ones": [1, 1]},
    ),
    "one_row": OneStepModel(
        """g (float[1, 3] x, float[1, 1, 4] h_in)
            => (float[1, 5] output, float[1, 1, 4] h_out) {
            s = Reshape(x, row)
            y, h_out = RNN<hidden_size=4>(s, W, R, B, , h_in)
            f = Reshape(h_out, flat)
            scores = Gemm<transB=1>(f, L, l)
            output = LogSoftmax(scores) }""",
        {"W": (1, 4, 3), "R": (1, 4, 4), "B": (1, 8), "L": (5, 4), "l": (5,)},
        H_STATES,
        {"row": [1, 1, 3], "flat": [1, 4]},
    ),
}

SCAN_MODELS = {
    "tanh_of_x_and_h": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 5] output, float[batch, 4] h_out) {
            both = Concat<axis=1>(x, h_in)
            sum = Gemm<transB=1>(both, W, b)
            h_out = Tanh(sum)
            scores = Gemm<transB=1>(both, L, l)
            output = LogSoftmax(scores) }""",
        {"W": (4, 7), "b": (4,), "L": (5, 7), "l": (5,)},
        H_STATES,
    ),
    "peephole_lstm": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in, float[batch, 4] c_in)
            => (float[batch, 4] output, float[batch, 4] h_out, float[batch, 4] c_out) {
            xs = Gemm(x, W, b)
            hs = MatMul(h_in, R)
            sums = Add(xs, hs)
            xi, xf, xo, xg = Split<axis=1>(sums, fours)
            pi = Mul(c_in, Pi)  pf = Mul(c_in, Pf)
            si = Add(xi, pi)  sf = Add(xf, pf)
            i = Sigmoid(si)  f = Sigmoid(sf)  g = Tanh(xg)
            keep = Mul(f, c_in)  new = Mul(i, g)
            c_out = Add(keep, new)
            po = Mul(c_out, Po)
            so = Add(xo, po)
            o = Sigmoid(so)
            t = Tanh(c_out)
            h_out = Mul(o, t)
            output = Relu(h_out) }""",
        {"W": (3, 16), "R": (4, 16), "b": (16,), "Pi": (4,), "Pf": (4,), "Po": (4,)},
        LSTM_STATES,
        {"fours": [4, 4, 4, 4]},
    ),
    "minimal_gated_unit": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out) {
            h = Squeeze(h_in, zero)
            both = Concat<axis=1>(x, h)
            sf = Gemm(both, F, bf)
            f = Sigmoid(sf)
            fh = Mul(f, h)
            other = Concat<axis=-1>(x, fh)
            sn = Gemm(other, N, bn)
            n = Tanh(sn)
            d = Sub(n, h)
            fd = Mul(f, d)
            output = Add(h, fd)
            h_out = Unsqueeze(output, zero) }""",
        {"F": (7, 4), "N": (7, 4), "bf": (4,), "bn": (4,)},
        H_STATES,
        {"zero": [0]},
    ),
    "layer_normalised_cell": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 4] output, float[batch, 4] h_out) {
            xs = Gemm(x, W, b)
            xn = LayerNormalization(xs, scale)
            hs = MatMul(h_in, R)
            hn = LayerNormalization(hs, scale)
            sum = Add(xn, hn)
            h_out = Tanh(sum)
            output = Softmax(h_out) }""",
        {"W": (3, 4), "R": (4, 4), "b": (4,), "scale": (4,)},
        H_STATES,
    ),
    "cell_state_as_feature": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in, float[1, batch, 4] c_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out, float[1, batch, 4] c_out) {
            s = Unsqueeze(x, zero)
            y, h_out, c_out = LSTM<hidden_size=4>(s, W, R, B, , h_in, c_in)
            output = Squeeze(c_out, zero) }""",
        {"W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32)},
        LSTM_STATES,
        {"zero": [0]},
    ),
    "output_that_mixes_the_batch": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[1, 4] output, float[batch, 4] h_out) {
            xs = MatMul(x, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = ReduceMean(h_out, zero) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
        {"zero": [0]},
    ),
    "input_that_mixes_the_batch": OneStepModel(
        """g (float[batch, 3] x, float[batch, 4] h_in)
            => (float[batch, 4] output, float[batch, 4] h_out) {
            m = ReduceMean(x, zero)
            d = Sub(x, m)
            xs = MatMul(d, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = Neg(h_in) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
        {"zero": [0]},
    ),
    "no_batch_axis": OneStepModel(
        """g (float[3] x, float[4] h_in) => (float[4] output, float[4] h_out) {
            xs = MatMul(x, W)
            hs = MatMul(h_in, R)
            sum = Add(xs, hs)
            h_out = Tanh(sum)
            output = Exp(h_out) }""",
        {"W": (3, 4), "R": (4, 4)},
        H_STATES,
    ),
    "two_states_that_swap": OneStepModel(
        """g (float[batch, 4] x, float[batch, 4] h_in, float[batch, 4] k_in)
            => (float[batch, 4] output, float[batch, 4] h_out, float[batch, 4] k_out) {
            h_out = Add(x, k_in)
            k_out = Identity(h_in)
            output = Mul(h_in, k_in) }""",
        {},
        [("h_in", "h_out"), ("k_in", "k_out")],
    ),
    "rnn_whose_state_is_scaled": OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 4] h_in)
            => (float[batch, 4] output, float[1, batch, 4] h_out) {
            s = Unsqueeze(x, zero)
            y, n = RNN<hidden_size=4>(s, W, R, B, , h_in)
            h_out = Mul(n, k)
            output = Squeeze(n, zero) }""",
        {"W": (1, 4, 3), "R": (1, 4, 4), "B": (1, 8), "k": (1,)},
        H_STATES,
        {"zero": [0]},
    ),
    "layers_that_swap_their_states": OneStepModel(
        """g (float[1, batch, 4] x, float[2, batch, 4] h_in)
            => (float[1, batch, 4] output, float[2, batch, 4] h_out) {
            h0, h1 = Split<axis=0>(h_in, ones)
            y0, n0 = RNN<hidden_size=4>(x, W, R, B, , h0)
            y1, n1 = RNN<hidden_size=4>(n0, W, R, B, , h1)
            output = Squeeze(y1, one)
            h_out = Concat<axis=0>(n1, n0) }""",
        {"W": (1, 4, 4), "R": (1, 4, 4), "B": (1, 8)},
        H_STATES,
        {"one": [1], "ones": [1, 1]},
    ),
}
