"""LSTM layers with a projection, for which ONNX has no operator, as ONNX Scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, replace_value, splice
from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.ir.recurrent_operators import DIRECTIONS, LSTM, direction_of
from edgernn.export.lift.scan_form import scan_form
from edgernn.export.lift.step_graph import StepGraph
from edgernn.export.step.at_one_step import gemm_form

__all__ = ["scan_projection"]

_STATES = [("h_in", "h_out"), ("c_in", "c_out")]


def scan_projection(model: ir.Model) -> ir.Model:
    """Return `model` with every `edgernn::LSTM` written as one Scan for each direction.

    Args:
        model: A sequence graph; it is not changed. The inputs of its `edgernn::LSTM` nodes are X
            (sequence, batch, input_size), W, R and B as ONNX's LSTM has them, P (directions,
            proj_size, hidden_size), h (directions, batch, proj_size) and c (directions, batch,
            hidden_size). Their outputs are Y (sequence, directions, batch, proj_size), and h and c
            after the last step.

    Raises:
        UnsupportedModelError: A node has an unknown direction, or weights that are not constants.
    """
    model = model.clone()
    for node in tuple(model.graph):
        if (node.domain, node.op_type) == (EDGERNN, LSTM.operator):
            _write_scans(model.graph, node)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.NameFixPass()(model)
    return model


def _write_scans(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a node by one Scan for each direction, whose outputs are concatenated."""
    direction = direction_of(node)
    if direction not in DIRECTIONS:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has direction `{direction}`; known are: "
            f"{', '.join(DIRECTIONS)}."
        )
    x, *weights, h, c = node.inputs
    parts = DIRECTIONS[direction]
    stem = node.outputs[0].name
    builder = NodeBuilder(graph, node, f"{stem}_")
    h_parts, c_parts = _split(builder, h, len(parts), "h"), _split(builder, c, len(parts), "c")
    if x is None:
        raise UnsupportedModelError(f"`{node.name}` ({node.op_type}) lacks its input X.")
    ends: list[list[ir.Value]] = []
    for index, backward in enumerate(parts):
        layer = _one_direction(node, weights, index, backward).graph
        outputs = (output for one in layer for output in one.outputs)
        for named in (*layer, *outputs, *layer.initializers.values()):
            named.name = f"{stem}_{index}_{named.name}"
        ends.append(splice(graph, node, layer, [x, h_parts[index], c_parts[index]]))
    for place, output in enumerate(node.outputs):
        _join_directions(builder, output, [end[place] for end in ends], axis=1 if place == 0 else 0)
    graph.remove(node, safe=True)


def _join_directions(builder: NodeBuilder, old: ir.Value, parts: list[ir.Value], axis: int) -> None:
    """Replace an output by those of the directions along `axis`, which y lacks."""
    if axis == 1:
        axes = builder.constant("direction", np.array([1], np.int64))
        parts = [builder.op("Unsqueeze", part, axes, name="y") for part in parts]
    new = parts[0]
    if len(parts) > 1:
        new = builder.op("Concat", *parts, name=f"{old.name}_both", axis=axis)
    replace_value(old, new)


def _split(
    builder: NodeBuilder, state: ir.Value | None, parts: int, letter: str
) -> Sequence[ir.Value]:
    if state is None:
        raise UnsupportedModelError(f"A projected LSTM lacks its initial `{letter}`.")
    if parts == 1:
        return [state]
    sizes = builder.constant(f"{letter}_parts", np.array([1] * parts, np.int64))
    names = [f"{letter}_{index}" for index in range(parts)]
    return builder.op_multi_out("Split", state, sizes, names=names, axis=0)


def _one_direction(
    node: ir.Node, weights: Sequence[ir.Value | None], index: int, backward: bool
) -> ir.Model:
    """Return a graph from x (sequence, batch, input_size), h and c to y, h and c."""
    arrays = [_weights(node, value)[index : index + 1] for value in weights]
    w, _, _, p = arrays
    hidden_size, input_size, proj_size = w.shape[1] // len(LSTM.onnx_gates), w.shape[2], p.shape[1]
    float_ = ir.TensorType(ir.DataType.from_numpy(w.dtype))

    def port(name: str, *shape: int | str) -> ir.Value:
        return ir.Value(name=name, type=float_, shape=ir.Shape(shape))

    x = port("x", BATCH, input_size)
    states = [port("h_in", 1, BATCH, proj_size), port("c_in", 1, BATCH, hidden_size)]
    finals = [port("h_out", 1, BATCH, proj_size), port("c_out", 1, BATCH, hidden_size)]
    graph = ir.Graph([x, *states], [], nodes=[], opset_imports={"": 18, EDGERNN: 1}, name="step")
    builder = NodeBuilder(graph)
    axis = builder.constant("axis", np.array([0], np.int64))
    whole = builder.op("Unsqueeze", x, axis, name="x_step")
    whole.type, whole.shape = float_, ir.Shape([1, BATCH, input_size])
    constants = [builder.constant(n, a) for n, a in zip("WRBP", arrays, strict=True)]
    cell = ir.node(
        LSTM.operator,
        [whole, *constants, *states],
        {"hidden_size": hidden_size},
        domain=EDGERNN,
        outputs=[port("y_step", 1, 1, BATCH, proj_size), *finals],
    )
    graph.append(cell)
    y = builder.op("Squeeze", finals[0], axis, name="y")
    y.type, y.shape = float_, ir.Shape([BATCH, proj_size])
    graph.outputs.extend([y, *finals])
    step = gemm_form(ir.Model(graph, ir_version=8))
    return scan_form(StepGraph(step, _STATES, {"x": 0, "y": 0}, ()), backward=backward)


def _weights(node: ir.Node, value: ir.Value | None) -> NDArray[Any]:
    array = constant_of(value)
    if array is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has weights that the graph computes; constants were "
            "expected. Fold them first."
        )
    return array
