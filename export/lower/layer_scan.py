"""A recurrent layer as one Scan for each direction, its products with the input outside of it.

    LSTM(x, W, R, B, h, c)    becomes    p = W·x + b                      at all steps at once
                                         h, c = cell(p_t + R·h, c)        in the body of a Scan

ONNX has no operator for an LSTM with a projection, and none for layers in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, replace_value, splice
from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.ir.recurrent_operators import (
    DIRECTIONS,
    PROJECTION,
    Input,
    direction_of,
    input_of,
    kind_of,
)
from edgernn.export.lift.scan_form import scan_form
from edgernn.export.lift.step_graph import StepGraph
from edgernn.export.step.at_one_step import gemm_form

__all__ = ["write_layer_as_scan"]

_PER_LAYER = ("direction", "activations", "activation_alpha", "activation_beta")
"""Attributes with values for each direction, or that say which directions there are."""


def write_layer_as_scan(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a layer by one Scan for each direction, whose outputs are concatenated, in place.

    Args:
        graph: The graph of the node.
        node: An LSTM, GRU or RNN of ONNX or `edgernn::LSTM`. X is (sequence, batch, input_size);
            W, R and B are as in ONNX; P of an `edgernn::LSTM` is (directions, proj_size,
            hidden_size); the initial states are (directions, batch, size). The outputs are Y
            (sequence, directions, batch, size) and the states after the last step.

    Raises:
        UnsupportedModelError: The node has an unknown direction, an input that no Scan takes, or
            weights that are not constants.
    """
    direction = direction_of(node)
    if direction not in DIRECTIONS:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has direction `{direction}`; known are: "
            f"{', '.join(DIRECTIONS)}."
        )
    x, kind, parts = node.inputs[Input.X], kind_of(node), DIRECTIONS[direction]
    stem = node.outputs[0].name
    builder = NodeBuilder(graph, node, f"{stem}_")
    states = [
        _split(builder, node, input_of(node, place), len(parts), letter)
        for place, letter in zip(kind.initial_states, kind.states, strict=True)
    ]
    if x is None:
        raise UnsupportedModelError(f"`{node.name}` ({node.op_type}) lacks its input X.")
    ends: list[list[ir.Value]] = []
    for index, backward in enumerate(parts):
        layer = _one_direction(node, index, backward).graph
        outputs = (output for one in layer for output in one.outputs)
        for named in (*layer, *outputs, *layer.initializers.values()):
            named.name = f"{stem}_{index}_{named.name}"
        ends.append(splice(graph, node, layer, [x, *(state[index] for state in states)]))
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
    builder: NodeBuilder, node: ir.Node, state: ir.Value | None, parts: int, letter: str
) -> Sequence[ir.Value]:
    if state is None:
        raise UnsupportedModelError(f"`{node.name}` ({node.op_type}) lacks its initial `{letter}`.")
    if parts == 1:
        return [state]
    sizes = builder.constant(f"{letter}_parts", np.array([1] * parts, np.int64))
    names = [f"{letter}_{index}" for index in range(parts)]
    return builder.op_multi_out("Split", state, sizes, names=names, axis=0)


def _one_direction(node: ir.Node, index: int, backward: bool) -> ir.Model:
    """Return a graph from x (sequence, batch, input_size) and states to y and states."""
    kind, projected = kind_of(node), node.domain == EDGERNN
    places = (Input.W, Input.R, Input.B, *((PROJECTION,) if projected else ()))
    arrays = {place: _weights(node, place)[index : index + 1] for place in places}
    w = arrays[Input.W]
    hidden_size, input_size = w.shape[1] // len(kind.onnx_gates), w.shape[2]
    output_size = arrays[PROJECTION].shape[1] if projected else hidden_size
    float_ = ir.TensorType(ir.DataType.from_numpy(w.dtype))

    def port(name: str, *shape: int | str) -> ir.Value:
        return ir.Value(name=name, type=float_, shape=ir.Shape(shape))

    sizes = (output_size, hidden_size)[: len(kind.states)]
    before, after = (
        [port(f"{one}_{end}", 1, BATCH, size) for one, size in zip(kind.states, sizes, strict=True)]
        for end in ("in", "out")
    )
    x = port("x", BATCH, input_size)
    graph = ir.Graph([x, *before], [], nodes=[], opset_imports={"": 18, EDGERNN: 1}, name="step")
    builder = NodeBuilder(graph)
    axis = builder.constant("axis", np.array([0], np.int64))
    whole = builder.op("Unsqueeze", x, axis, name="x_step")
    whole.type, whole.shape = float_, ir.Shape([1, BATCH, input_size])
    constants = [
        builder.constant(name, array) for name, array in zip("WRBP", arrays.values(), strict=False)
    ]
    given = [whole, *constants, *([] if projected else [None]), *before]
    cell = ir.node(
        node.op_type,
        given,
        _attributes(node, index, hidden_size),
        domain=node.domain,
        outputs=[port("y_step", 1, 1, BATCH, output_size), *after],
    )
    graph.append(cell)
    y = builder.op("Squeeze", after[0], axis, name="y")
    y.type, y.shape = float_, ir.Shape([BATCH, output_size])
    graph.outputs.extend([y, *after])
    step = gemm_form(ir.Model(graph, ir_version=8))
    pairs = [(f"{letter}_in", f"{letter}_out") for letter in kind.states]
    return scan_form(StepGraph(step, pairs, {"x": 0, "y": 0}, ()), backward=backward)


def _attributes(node: ir.Node, index: int, hidden_size: int) -> dict[str, Any]:
    """Return the attributes of one direction of a node."""
    attributes: dict[str, Any] = {"hidden_size": hidden_size}
    for name, attribute in node.attributes.items():
        if name not in _PER_LAYER:
            attributes[name] = attribute.value
    if "activations" in node.attributes:
        names = list(node.attributes["activations"].as_strings())
        count = len(kind_of(node).activations)
        attributes["activations"] = names[count * index : count * (index + 1)]
    return attributes


def _weights(node: ir.Node, place: int) -> NDArray[Any]:
    array = constant_of(input_of(node, place))
    if array is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has weights that the graph computes; constants were "
            "expected. Fold them first."
        )
    return array
