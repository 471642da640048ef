"""LSTMs with a projection, in operators that every runtime has."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.lower.projection import scan_projection
from tests.nets.one_step import run, session

INPUT, HIDDEN, PROJECTION = 6, 8, 3


def onnx_gates(rows: torch.Tensor) -> torch.Tensor:
    """Reorder torch's gates i f g o to ONNX's i o f c."""
    i, f, g, o = rows.chunk(4)
    return torch.cat([i, o, f, g])


def weights_of(layer: torch.nn.LSTM, index: int) -> dict[str, np.ndarray]:
    """Return W, R, B and P of one layer, its directions stacked."""
    ends = [f"_l{index}", f"_l{index}_reverse"][: 1 + layer.bidirectional]
    stacked: dict[str, list[torch.Tensor]] = {"W": [], "R": [], "B": [], "P": []}
    for end in ends:
        parts = {
            name: getattr(layer, f"{name}{end}").detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        }
        stacked["W"].append(onnx_gates(parts["weight_ih"]))
        stacked["R"].append(onnx_gates(parts["weight_hh"]))
        biases = [onnx_gates(parts["bias_ih"]), onnx_gates(parts["bias_hh"])]
        stacked["B"].append(torch.cat(biases))
        stacked["P"].append(parts["weight_hr"])
    return {f"{name}{index}": torch.stack(list_).numpy() for name, list_ in stacked.items()}


def model_of(layer: torch.nn.LSTM, direction: str = "") -> ir.Model:
    """Return the sequence graph of a time-major nn.LSTM with `edgernn::LSTM` nodes."""
    both = 1 + layer.bidirectional
    direction = direction or ("bidirectional" if layer.bidirectional else "forward")
    names = range(layer.num_layers)
    total = both * layer.num_layers
    splits = ", ".join(f"{{0}}{index}" for index in names)
    lines = [f"{splits.format(state)} = Split<axis=0>({state}_in, parts)" for state in "hc"]
    x = "x"
    for index in names:
        lines.append(
            f"y{index}, h_end{index}, c_end{index} = edgernn.LSTM<hidden_size={HIDDEN}, "
            f'direction="{direction}">'
            f"({x}, W{index}, R{index}, B{index}, P{index}, h{index}, c{index})"
        )
        lines.append(f"t{index} = Transpose<perm=[0, 2, 1, 3]>(y{index})")
        lines.append(f"z{index} = Reshape(t{index}, joined)")
        x = f"z{index}"
    lines.append(f"output = Identity({x})")
    for state in "hc":
        ends = ", ".join(f"{state}_end{index}" for index in names)
        lines.append(f"{state}_out = Concat<axis=0>({ends})")
    h, c = f"float[{total}, batch, {PROJECTION}]", f"float[{total}, batch, {HIDDEN}]"
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "edgernn": 1]> '
        f"g (float[sequence, batch, {INPUT}] x, {h} h_in, {c} c_in) => "
        f"(float[sequence, batch, {both * PROJECTION}] output, {h} h_out, {c} c_out) "
        f"{{ {' '.join(lines)} }}"
    )
    arrays = {"parts": np.array([both] * layer.num_layers), "joined": np.array([0, 0, -1])}
    for index in names:
        arrays |= weights_of(layer, index)
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
    )
    return ir.from_proto(proto)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
def test_a_projected_lstm_agrees_with_torch(bidirectional, layers):
    """Outputs and final states are those of nn.LSTM with proj_size, at every size."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(INPUT, HIDDEN, layers, proj_size=PROJECTION, bidirectional=bidirectional)
    lowered = scan_projection(model_of(layer))
    assert {node.domain for node in lowered.graph} == {""}
    assert "edgernn" not in lowered.opset_imports
    runs = session(lowered)
    total = layers * (1 + bidirectional)
    for steps, batch in ((5, 2), (1, 1), (9, 3)):
        x = torch.randn(steps, batch, INPUT)
        h, c = torch.randn(total, batch, PROJECTION), torch.randn(total, batch, HIDDEN)
        with torch.no_grad():
            y, (h_end, c_end) = layer(x, (h, c))
        feeds = {"x": x.numpy(), "h_in": h.numpy(), "c_in": c.numpy()}
        for expected, got in zip((y, h_end, c_end), run(runs, feeds), strict=True):
            assert expected.shape == got.shape
            assert np.abs(expected.numpy() - got).max() < 1e-5


def test_an_unknown_direction_is_refused():
    """A direction that ONNX does not know is named, with those that it knows."""
    model = model_of(torch.nn.LSTM(INPUT, HIDDEN, proj_size=PROJECTION), direction="sideways")
    with pytest.raises(UnsupportedModelError) as refusal:
        scan_projection(model)
    node = next(node for node in model.graph if node.op_type == "LSTM")
    assert str(refusal.value) == (
        f"`{node.name}` (LSTM) has direction `sideways`; known are: forward, reverse, "
        "bidirectional."
    )


def test_computed_weights_are_refused():
    """Weights that the graph computes cannot be laid out for a Scan."""
    model = model_of(torch.nn.LSTM(INPUT, HIDDEN, proj_size=PROJECTION))
    node = next(node for node in model.graph if node.op_type == "LSTM")
    node.replace_input_with(1, model.graph.inputs[0])
    with pytest.raises(UnsupportedModelError) as refusal:
        scan_projection(model)
    assert str(refusal.value) == (
        f"`{node.name}` (LSTM) has weights that the graph computes; constants were expected. "
        "Fold them first."
    )
