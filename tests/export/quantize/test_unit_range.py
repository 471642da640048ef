"""Which values fill the range from -1 to 1."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.contract import State
from edgernn.export.quantize.unit_range import UnitRange, largest_state

GRU = """
    z = Sigmoid(x)  n = Tanh(x)  d = Sub(h_in, n)  m = Mul(z, d)  h_out = Add(n, m)
"""
LINES = {
    "tanh": ("h_out = Tanh(x)", True),
    "mix": (GRU, True),
    "moved": ("t = Tanh(x)  r = Transpose(t)  h_out = Transpose(r)", True),
    "kept": ("t = Tanh(x)  c = Greater(x, t)  h_out = Where(c, t, h_in)", True),
    "sum": ("t = Tanh(x)  h_out = Add(t, h_in)", False),
    "mixed beyond": (GRU.replace("Sigmoid", "Exp"), False),
    "other mean": (GRU.replace("Sub(h_in, n)", "Sub(n, h_in)"), False),
    "LSTM": ("o = Sigmoid(x)  c = Tanh(x)  h_out = Mul(o, c)", False),
    "relu": ("h_out = Relu(x)", False),
}


def range_of(lines: str, initial: float | None) -> tuple[ir.Model, UnitRange]:
    """Return one step with the state h, and its values within ±1."""
    model = ir.from_onnx_text(f"""
        <ir_version: 8, opset_import: ["": 18]>
        step (float[2, 3] x, float[2, 3] h_in) => (float[2, 3] h_out) {{ {lines} }}
    """)
    start = None if initial is None else np.full((1, 3), initial, np.float32)
    return model, UnitRange(model, [State("h", "h_in", "h_out", start)])


@pytest.mark.parametrize("case", LINES)
def test_a_state_is_within_where_each_next_value_is(case: str) -> None:
    """What enters a step is within ±1 if the step keeps it there."""
    lines, within = LINES[case]
    model, unit_range = range_of(lines, None)
    assert (model.graph.inputs[1] in unit_range) == within
    assert (model.graph.outputs[0] in unit_range) == within
    assert model.graph.inputs[0] not in unit_range


@pytest.mark.parametrize(("initial", "within"), [(1.0, True), (-1.5, False)])
def test_a_learned_start_beyond_is_not_within(initial: float, within: bool) -> None:
    """A state that starts beyond ±1 is measured in each step."""
    model, unit_range = range_of(GRU, initial)
    assert (model.graph.inputs[1] in unit_range) == within


def test_the_state_of_a_scan_is_within_as_a_step_is() -> None:
    """In the body of a Scan, a state starts from what is given and goes on as it returns."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[t, 3] x, float[3] h, float[3] u) => (float[3] a, float[t, 3] y) {
            a, y = Scan <num_scan_inputs = 1, body = step (float[3] h_in, float[3] x_t)
                => (float[3] h_out, float[3] y_t) {
                    s = Add(h_in, x_t)  h_out = Tanh(s)  y_t = Identity(h_out) }> (h, x)
        }
    """)
    states = [State("h", "h", "a")]
    (scan,) = model.graph
    body = scan.attributes["body"].as_graph()
    unit_range = UnitRange(model, states)
    assert body.inputs[0] in unit_range
    assert all(value in unit_range for value in scan.outputs)
    assert body.inputs[1] not in unit_range
    scan.replace_input_with(0, model.graph.inputs[2])
    assert body.inputs[0] not in UnitRange(model, states)


def test_only_quantized_graphs_limit_their_states() -> None:
    """States are drawn from all numbers for graphs in float32, else within ±1."""
    plain, _ = range_of("h_out = Tanh(x)", None)
    assert largest_state([plain]) == np.inf
    quantized = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (uint8[2] y)
        <float s = {1}, uint8 z = {128}> { y = QuantizeLinear(x, s, z) }
    """)
    assert largest_state([plain, quantized]) == 1
