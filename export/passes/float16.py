"""Weights and computation in float16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of

__all__ = ["to_float16"]

_LARGEST = float(np.finfo(np.float16).max)
_DTYPE_ATTRIBUTES = ("to", "dtype", "output_datatype")
_HALF = ir.TensorType(ir.DataType.FLOAT16)
_SINGLE = ir.TensorType(ir.DataType.FLOAT)


def to_float16(models: Sequence[ir.Model]) -> None:
    """Make every float32 of the graphs a float16, ports included, in place.

    1. An operator that ONNX does not define for float16 keeps float32, with casts around it.
    2. Finite numbers beyond float16's ±65504 become that.
    3. A transposition that moves axis 0 behind others and feeds a MatMul gets one more axis, of
       size 1: ONNX Runtime 1.31's MatmulTransposeFusion ends the process on the plain form.

    Args:
        models: The graphs of one model; the dtypes of their values known.
    """
    for model in models:
        opset = model.opset_imports[""]
        kept = [(node, _single_inputs(node, opset)) for node in model.graph.all_nodes()]
        for graph in _graphs(model):
            _narrow(graph)
        for node, places in kept:
            _widen_inputs(node, places)
            if _gives_single(node, opset):
                _widen_outputs(node)
            if _breaks_onnxruntime(node):
                _transpose_with_unit_axis(node)


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    yield model.graph
    yield from model.graph.subgraphs()


def _narrow(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None:
            value.const_value = _half(value.const_value.numpy(), value.name)
            value.type = _HALF
    for node in graph:
        _narrow_attributes(node)
        for value in node.outputs:
            _retype(value)
    for value in graph.inputs:
        _retype(value)


def _retype(value: ir.Value) -> None:
    if value.dtype == ir.DataType.FLOAT:
        value.type = _HALF


def _narrow_attributes(node: ir.Node) -> None:
    """Let constants be float16, and casts go there."""
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype == ir.DataType.FLOAT:
                node.attributes[name] = ir.AttrTensor(name, _half(tensor.numpy(), tensor.name))
        elif name in _DTYPE_ATTRIBUTES and attribute.value == ir.DataType.FLOAT:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT16)
        elif node.op_type == "Constant" and name in ("value_float", "value_floats"):
            array = np.array(attribute.value, np.float32)
            del node.attributes[name]
            node.attributes["value"] = ir.AttrTensor("value", _half(array, None))


def _half(array: NDArray[np.float32], name: str | None) -> ir.TensorProtocol:
    finite = np.clip(array, -_LARGEST, _LARGEST)
    return ir.tensor(np.where(np.isinf(array), array, finite).astype(np.float16), name=name)


def _single_inputs(node: ir.Node, opset: int) -> dict[int, NDArray[np.float32] | None]:
    """Return the float32 inputs that `node` cannot have in float16 → the constant in it, if any."""
    if node.domain:
        return {}
    schema = onnx.defs.get_schema(node.op_type, opset)
    return {
        place: constant_of(value)
        for place, value in enumerate(node.inputs)
        if value is not None
        and value.dtype == ir.DataType.FLOAT
        and "tensor(float16)" not in schema.inputs[min(place, len(schema.inputs) - 1)].types
    }


def _gives_single(node: ir.Node, opset: int) -> bool:
    """Return whether what `node` gives out is float32 whatever comes in, or only then."""
    if node.domain or node.op_type == "Constant":
        return False
    schema = onnx.defs.get_schema(node.op_type, opset)
    return any(
        value.dtype == ir.DataType.FLOAT16
        and "tensor(float16)" not in schema.outputs[min(place, len(schema.outputs) - 1)].types
        for place, value in enumerate(node.outputs)
    )


def _widen_inputs(node: ir.Node, places: dict[int, NDArray[np.float32] | None]) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph) or not places
    for place, constant in places.items():
        value = node.inputs[place]
        assert value is not None
        assert isinstance(graph, ir.Graph)
        builder = NodeBuilder(graph, node)
        if constant is not None:
            wide = builder.constant(f"{value.name}_float32", constant)
        else:
            wide = builder.op(
                "Cast", value, name=f"{node.name}_{place}_float32", to=ir.DataType.FLOAT
            )
            wide.shape, wide.type = value.shape, _SINGLE
        node.replace_input_with(place, wide)


def _widen_outputs(node: ir.Node) -> None:
    """Let `node` give float32, and cast that to float16 for whoever reads it."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for value in node.outputs:
        if value.dtype != ir.DataType.FLOAT16:
            continue
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT16}, name=f"{value.name}_float16")
        half = cast.outputs[0]
        half.name, half.shape, half.type = f"{value.name}_float16", value.shape, _HALF
        ir.convenience.replace_all_uses_with(value, half, replace_graph_outputs=True)
        cast.replace_input_with(0, value)
        value.type = _SINGLE
        graph.insert_after(node, cast)
        if half.is_graph_output():
            half.name, value.name = value.name, half.name


def _breaks_onnxruntime(node: ir.Node) -> bool:
    """Return whether `node` moves axis 0 behind others, for a MatMul."""
    if node.op_type != "Transpose" or node.outputs[0].type != _HALF:
        return False
    perm = list(node.attributes.get_ints("perm", ()))
    others = [axis for axis in perm if axis]
    moved = len(perm) > 2 and perm[0] != 0 and others == sorted(others)
    return moved and any(use.node.op_type == "MatMul" for use in node.outputs[0].uses())


def _transpose_with_unit_axis(node: ir.Node) -> None:
    """Write a transposition with one more axis, of size 1."""
    graph, value, old = node.graph, node.inputs[0], node.outputs[0]
    assert isinstance(graph, ir.Graph)
    assert value is not None
    builder, name = NodeBuilder(graph, node), f"{old.name}_unit"
    axes = builder.constant(f"{name}_axes", np.array([1], np.int64))
    first, *behind = [axis + (axis > 0) for axis in node.attributes["perm"].as_ints()]
    wide = builder.op("Unsqueeze", value, axes, name=name)
    moved = builder.op("Transpose", wide, name=f"{name}_moved", perm=[first, 1, *behind])
    new = builder.op("Squeeze", moved, axes, name=f"{name}_squeezed")
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
