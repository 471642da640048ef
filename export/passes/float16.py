"""Weights and computation in float16.

x float32 → Gemm(W float32) → CumSum    becomes
x float16 → Gemm(W float16) → Cast → CumSum → Cast
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.passes.opset import allows, schema_of
from edgernn.export.passes.port_values import replace_node

__all__ = ["to_float16"]

_LARGEST = float(np.finfo(np.float16).max)
_DTYPE_ATTRIBUTES = ("to", "dtype", "output_datatype")
_FLOAT16 = ir.TensorType(ir.DataType.FLOAT16)
_FLOAT32 = ir.TensorType(ir.DataType.FLOAT)


def to_float16(models: Sequence[ir.Model]) -> None:
    """Make every float32 value of the graphs float16, ports included, in place.

    1. An operator that ONNX does not define for float16 keeps float32, with Casts around it.
    2. Finite constants beyond ±65504, the range of float16, are clipped to it.
    3. A Transpose that moves axis 0 after others and feeds a MatMul gets one more axis, of size 1:
       MatmulTransposeFusion of ONNX Runtime 1.31 ends the process on the plain form.
    """
    for model in models:
        opset = model.opset_imports[""]
        float32_inputs = [(node, _float32_inputs(node, opset)) for node in model.graph.all_nodes()]
        for graph in (model.graph, *model.graph.subgraphs()):
            _make_float16(graph)
        for node, constants in float32_inputs:
            _cast_inputs(node, constants)
            if _has_float32_outputs(node, opset):
                _cast_outputs(node)
            if _breaks_onnxruntime(node):
                _transpose_with_unit_axis(node)


def _make_float16(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None:
            value.const_value = _to_float16(value.const_value.numpy(), value.name)
            value.type = _FLOAT16
    for node in graph:
        _make_attributes_float16(node)
    for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
        if value.dtype == ir.DataType.FLOAT:
            value.type = _FLOAT16


def _make_attributes_float16(node: ir.Node) -> None:
    """Make the constants and the target dtypes in the attributes of `node` float16."""
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype == ir.DataType.FLOAT:
                node.attributes[name] = ir.AttrTensor(
                    name, _to_float16(tensor.numpy(), tensor.name)
                )
        elif name in _DTYPE_ATTRIBUTES and attribute.value == ir.DataType.FLOAT:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT16)
        elif node.op_type == "Constant" and name in ("value_float", "value_floats"):
            array = np.array(attribute.value, np.float32)
            del node.attributes[name]
            node.attributes["value"] = ir.AttrTensor("value", _to_float16(array, None))


def _to_float16(array: NDArray[np.float32], name: str | None) -> ir.TensorProtocol:
    finite = np.clip(array, -_LARGEST, _LARGEST)
    return ir.tensor(np.where(np.isinf(array), array, finite).astype(np.float16), name=name)


def _float32_inputs(node: ir.Node, opset: int) -> dict[int, NDArray[np.float32] | None]:
    """Return the float32 inputs that `node` needs in float32: index → its constant, if any."""
    schema = None if node.domain else schema_of(node.op_type, opset)
    if schema is None:
        return {}
    return {
        place: constant_of(value)
        for place, value in enumerate(node.inputs)
        if value is not None
        and value.dtype == ir.DataType.FLOAT
        and not allows(schema.inputs, place, ir.DataType.FLOAT16)
    }


def _has_float32_outputs(node: ir.Node, opset: int) -> bool:
    """Return whether `node` gives float32 even where its inputs are float16."""
    schema = None if node.domain or node.op_type == "Constant" else schema_of(node.op_type, opset)
    return schema is not None and any(
        value.dtype == ir.DataType.FLOAT16
        and not allows(schema.outputs, place, ir.DataType.FLOAT16)
        for place, value in enumerate(node.outputs)
    )


def _cast_inputs(node: ir.Node, constants: dict[int, NDArray[np.float32] | None]) -> None:
    """Let `node` read float32: the constants as they were, other inputs through Casts."""
    for place, constant in constants.items():
        graph, value = node.graph, node.inputs[place]
        assert isinstance(graph, ir.Graph)
        assert value is not None
        builder = NodeBuilder(graph, node)
        if constant is not None:
            wide = builder.constant(f"{value.name}_float32", constant)
        else:
            wide = builder.op(
                "Cast", value, name=f"{node.name}_{place}_float32", to=ir.DataType.FLOAT
            )
            wide.shape, wide.type = value.shape, _FLOAT32
        node.replace_input_with(place, wide)


def _cast_outputs(node: ir.Node) -> None:
    """Let `node` give float32, and other nodes read it cast to float16."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for value in node.outputs:
        if value.dtype != ir.DataType.FLOAT16:
            continue
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT16}, name=f"{value.name}_float16")
        half = cast.outputs[0]
        half.name, half.shape, half.type = f"{value.name}_float16", value.shape, _FLOAT16
        ir.convenience.replace_all_uses_with(value, half, replace_graph_outputs=True)
        cast.replace_input_with(0, value)
        value.type = _FLOAT32
        graph.insert_after(node, cast)
        if half.is_graph_output():
            half.name, value.name = value.name, half.name


def _breaks_onnxruntime(node: ir.Node) -> bool:
    """Return whether `node` moves axis 0 after others and feeds a MatMul."""
    if node.op_type != "Transpose" or node.outputs[0].type != _FLOAT16:
        return False
    perm = list(node.attributes.get_ints("perm", ()))
    others = [axis for axis in perm if axis]
    moved = len(perm) > 2 and perm[0] != 0 and others == sorted(others)
    return moved and any(use.node.op_type == "MatMul" for use in node.outputs[0].uses())


def _transpose_with_unit_axis(node: ir.Node) -> None:
    """Replace a Transpose by one with an additional axis of size 1."""
    graph, value = node.graph, node.inputs[0]
    assert isinstance(graph, ir.Graph)
    assert value is not None
    builder, name = NodeBuilder(graph, node), f"{node.outputs[0].name}_unit"
    axes = builder.constant(f"{name}_axes", np.array([1], np.int64))
    first, *others = [axis + (axis > 0) for axis in node.attributes["perm"].as_ints()]
    wide = builder.op("Unsqueeze", value, axes, name=name)
    moved = builder.op("Transpose", wide, name=f"{name}_moved", perm=[first, 1, *others])
    replace_node(node, builder.op("Squeeze", moved, axes, name=f"{name}_squeezed"))
