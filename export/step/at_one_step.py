"""The step graph: a sequence graph at one time index, and its form in primitive operators.

sequence graph     x (batch, sequence, 3) → GRU → y (batch, sequence, 5)
`at_one_step`      x (batch, 3) → Unsqueeze → GRU → Squeeze → y (batch, 5)
`gemm_form`        x (batch, 3) → Gemm, Sigmoid, Tanh, … → y (batch, 5)

A layer over another axis, such as the bins of a frame, runs all of that axis within one step, in
one direction or both, and stays an operator: written out it is slower and larger from 2 steps on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.recurrent_operators import direction_of, recurrent_nodes
from edgernn.export.ir.shapes import Dim, Shape, infer_shapes, refine_shapes, shape_of
from edgernn.export.step.cells import lower_cell
from edgernn.export.step.products import merge_biases
from edgernn.export.step.unit_axes import remove_unit_axis_moves

__all__ = ["at_one_step", "gemm_form", "remove_lengths"]


def at_one_step(model: ir.Model) -> ir.Model:
    """Return `model` for one time index: its ports without the `sequence` axis.

    Args:
        model: A sequence graph; it is not changed. Its recurrent nodes may be LSTM, GRU and RNN
            of the default domain and the projected `edgernn::LSTM`, and stay in the result. Those
            over an axis of a constant size run all of it.

    Returns:
        A new model with shapes inferred again and sizes folded. Outputs have no `sequence` axis;
        a size that depended on it is the size at 1.

    Raises:
        UnsupportedModelError: The model has no step, or cannot be written at one step.
    """
    model = _copy(model)
    own_steps = _own_steps(model)
    for node in recurrent_nodes(model.graph):
        direction, steps = direction_of(node), own_steps[node.name]
        if direction != "forward" and (steps is None or SEQUENCE in str(steps)):
            raise UnsupportedModelError(
                f"`{node.name}` ({node.op_type}) is {direction}: it reads the sequence from its "
                "end, so the model has no step. Export the sequence graph alone."
            )
    _check_slices(model.graph)
    declared = [shape_of(output) for output in model.graph.outputs]
    found = [_remove_sequence_axis(model.graph, index) for index in range(len(model.graph.inputs))]
    if not any(found):
        inputs = [f"{port.name}{_format_shape(shape_of(port))}" for port in model.graph.inputs]
        raise UnsupportedModelError(
            f"No input of the graph has an axis named `{SEQUENCE}`, so there is no step to take. "
            f"Inputs are: {', '.join(inputs)}."
        )
    _replace_full_overwrites(model.graph)
    infer_shapes(model)
    _check_steps(model.graph, own_steps)
    for index, shape in enumerate(declared):
        _squeeze_sequence_axis(model.graph, index, shape)
    passes.NameFixPass()(model)
    try:  # the checker names the node that has no form at one step
        passes.CheckerPass(full_check=True)(model)
    except Exception as error:
        raise UnsupportedModelError(
            f"The model cannot be written at one step: {error}. Export the sequence graph alone."
        ) from error
    return model


def gemm_form(model: ir.Model, keep: Collection[str] = ()) -> ir.Model:
    """Return a one-step `model` in primitive operators, without moves of size-1 axes.

    Args:
        model: A graph whose recurrent nodes run one step, forward; it is not changed. Those that
            run several steps, all known, stay as they are.
        keep: Names of recurrent nodes that stay operators.

    Returns:
        A new model with the same ports and metadata, in the default domain alone. Weights are
        stored (inputs, outputs) and biases merged.

    Raises:
        UnsupportedModelError: A recurrent node has no form in primitive operators, or runs more
            than one step.
    """
    model = _copy(model)
    declared = [output.shape for output in model.graph.outputs]
    refine_shapes(model)
    nodes = [
        node
        for node in recurrent_nodes(model.graph)
        if _steps(node) in (1, None) and node.name not in keep
    ]
    kinds = [node.op_type for node in nodes]
    for index, node in enumerate(nodes):
        count = kinds[:index].count(node.op_type)
        alone = kinds.count(node.op_type) == 1
        lower_cell(node, node.op_type.lower() + ("" if alone else f"_{count}"))
    refine_shapes(model)
    remove_unit_axis_moves(model)
    merge_biases(model.graph)
    ir.passes.Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.DeduplicateInitializersPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.NameFixPass(),
    )(model)
    for output, shape in zip(model.graph.outputs, declared, strict=True):
        output.shape = shape
    return model


_FIRST_OPSET = 13
"""The first opset in which Squeeze, Unsqueeze and Split take axes and sizes as inputs."""


def _copy(model: ir.Model) -> ir.Model:
    """Return a copy of `model` whose nodes all have names, or refuse its opset."""
    opset = model.opset_imports.get("", 0)
    if opset < _FIRST_OPSET:
        raise UnsupportedModelError(
            f"The graph is of opset {opset}; a step graph is written in opset {_FIRST_OPSET} or "
            "later. Convert the graph first, for example with `onnx.version_converter`."
        )
    model = model.clone()
    passes.NameFixPass()(model)
    return model


def _remove_sequence_axis(graph: ir.Graph, index: int) -> bool:
    """Replace an input that has the sequence axis by one without; return whether it had."""
    old = graph.inputs[index]
    shape = shape_of(old) or ()
    if SEQUENCE not in shape:
        return False
    axis = shape.index(SEQUENCE)
    rest = ir.Shape((*shape[:axis], *shape[axis + 1 :]))
    new = ir.Value(name=old.name, shape=rest, type=old.type)
    builder = NodeBuilder(graph, next(iter(graph), None))
    axes = builder.constant(f"{old.name}_axis", np.array([axis], np.int64))
    whole = builder.op("Unsqueeze", new, axes, name=f"{old.name}_step")
    ir.convenience.replace_all_uses_with(old, whole, replace_graph_outputs=True)
    graph.inputs[index] = new
    return True


def _replace_full_overwrites(graph: ir.Graph) -> None:
    """Replace what is overwritten as a whole, as by `out[:, t] = h`, by what is written."""
    for node in graph:
        reduction = node.attributes.get_string("reduction", "none")
        if node.op_type != "ScatterElements" or reduction != "none":
            continue
        whole, _, written = (shape_of(value) for value in node.inputs)
        axis = node.attributes.get_int("axis", 0)
        if whole is not None and whole == written and whole[axis] == 1 and None not in whole:
            copy = ir.node("Identity", [node.inputs[2]], name=node.name)
            ir.convenience.replace_nodes_and_values(
                graph, node, [node], [copy], node.outputs, copy.outputs
            )


def _check_slices(graph: ir.Graph) -> None:
    """Refuse a slice of what is empty at one step: onnx's shape inference aborts there."""
    for node in graph:
        value = node.inputs[0] if node.op_type == "Slice" else None
        shape = () if value is None else shape_of(value) or ()
        at_one = tuple(_at_one(size) for size in shape)
        if value is not None and any(isinstance(size, int) and size < 1 for size in at_one):
            raise _empty(value, at_one)


def _at_one(size: Dim) -> Dim:
    """Return a size at one step, or as it is where that follows from more."""
    known = None if size is None else evaluate_size(size, {SEQUENCE: 1})
    return size if known is None else known


def _empty(value: ir.Value, shape: Shape) -> UnsupportedModelError:
    """Return the refusal of a value that has no entries at one step."""
    node = value.producer()
    return UnsupportedModelError(
        f"`{value.name}` ({'' if node is None else node.op_type}) is empty at one step: its shape "
        f"is {_format_shape(shape)}. The model needs more than one time index at once. Export the "
        "sequence graph alone."
    )


def _check_steps(graph: ir.Graph, own_steps: Mapping[str | None, Dim]) -> None:
    """Refuse recurrent nodes that run several steps and values that are empty at one step.

    `own_steps` are the steps of each node in the sequence graph, constants where they are its own.
    """
    for node in graph:
        for value in node.outputs:
            shape = shape_of(value) or ()
            if any(isinstance(size, int) and size < 1 for size in shape):
                raise _empty(value, shape)
    for node in recurrent_nodes(graph):
        if (steps := _steps(node)) not in (1, None) and steps != own_steps.get(node.name):
            raise UnsupportedModelError(
                f"`{node.name}` ({node.op_type}) runs {steps} steps where one was expected. "
                f"Name the time axis `{SEQUENCE}`, or export the sequence graph alone."
            )


def _own_steps(model: ir.Model) -> dict[str | None, Dim]:
    """Return how many steps each recurrent node of a sequence graph runs, by its name."""
    nodes = recurrent_nodes(model.graph)
    if None in map(_steps, nodes):
        model = model.clone()
        refine_shapes(model)
    return {node.name: _steps(node) for node in recurrent_nodes(model.graph)}


def _steps(node: ir.Node) -> Dim:
    return (shape_of(node.inputs[0]) or (None,))[0]


def _squeeze_sequence_axis(graph: ir.Graph, index: int, declared: Shape | None) -> None:
    """Remove the sequence axis of an output, and declare the shape without it."""
    output = graph.outputs[index]
    found = shape_of(output)
    at_one = ir.Shape(declared if declared is not None else found or ()).evaluate({SEQUENCE: 1})
    shape = tuple(size if isinstance(size, int) else size.value for size in at_one)
    if found is not None and not _fits(found, shape):
        raise UnsupportedModelError(
            f"Output `{output.name}` is declared {_format_shape(declared)}, but at one step its "
            f"shape is {_format_shape(found)} where {_format_shape(shape)} was expected. Export "
            "the sequence graph alone."
        )
    output.shape = ir.Shape(shape)
    if declared is not None and SEQUENCE in declared:
        axis = declared.index(SEQUENCE)
        builder = NodeBuilder(graph)
        axes = builder.constant(f"{output.name}_axis", np.array([axis], np.int64))
        name, output.name = output.name, f"{output.name}_step"
        step = builder.op("Squeeze", output, axes, name=name or "output")
        step.shape = ir.Shape((*shape[:axis], *shape[axis + 1 :]))
        step.type = output.type
        graph.outputs[index] = step


def _fits(found: Shape, expected: Shape) -> bool:
    return len(found) == len(expected) and all(
        a == b or None in (a, b) or (isinstance(a, str) and isinstance(b, str))
        for a, b in zip(found, expected, strict=True)
    )


def _format_shape(shape: Shape | None) -> str:
    if shape is None:
        return "[unknown]"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def remove_lengths(model: ir.Model, lengths: Collection[str], subject: str, use: str) -> None:
    """Remove the inputs that hold lengths, in place.

    Args:
        model: A graph without the nodes that need lengths.
        lengths: The names of the inputs.
        subject: What refusals call the model: `forward`.
        use: What it does with lengths besides: `pack`.

    Raises:
        UnsupportedModelError: A node still reads one of them.
    """
    for value in [value for value in model.graph.inputs if value.name in lengths]:
        if value.uses():
            raise UnsupportedModelError(
                f"{subject} does more with `{value.name}` than to {use}: a single step has no "
                "lengths."
            )
        model.graph.inputs.remove(value)
