"""Write a graph in another operator set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript import version_converter

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.opset_versions import IR_VERSIONS

__all__ = ["to_opset"]

OpSchema = onnx.defs.OpSchema


def to_opset(model: ir.Model, opset: int) -> None:
    """Write the operators of `model` as opset `opset` has them, in its IR version, in place.

    Newer sets go through onnxscript's converter. For older ones

    1. forms that were written differently are written so again: `ReduceMean` and its kin take
       their axes as an attribute, `Split` has no `num_outputs`, `Shape` no `start` and `end`;
    2. attributes that the older operator lacks are dropped where they say what it does anyway;
    3. whatever still does not fit the older operator's schema is refused.

    Args:
        model: A graph of the opset that `trace` writes.
        opset: One of `IR_VERSIONS`.

    Raises:
        UnsupportedModelError: An operator of the graph does not exist in that opset.
    """
    current = model.opset_imports[""]
    model.ir_version = IR_VERSIONS[opset]
    if opset == current:
        return
    if opset > current:
        version_converter.convert_version(model, opset)
    for node in list(model.graph.all_nodes()):
        if node.domain == "" and opset < current:
            rewrite = _OLDER.get(node.op_type)
            if rewrite is not None:
                rewrite(node, opset)
            _drop_defaults(node, opset, current)
        if node.graph is not None and node.domain == "" and not _fits(node, opset):
            raise UnsupportedModelError(_refusal(node, opset, current))
    model.opset_imports[""] = opset
    model.graph.opset_imports[""] = opset


def _axes_as_attribute(node: ir.Node, opset: int) -> None:
    """Write the axes of a reduction as an attribute, as opset 17 and earlier have them."""
    schema = _schema(node.op_type, opset)
    if schema is None or "axes" not in schema.attributes or len(node.inputs) < 2:
        return
    axes = constant_of(node.inputs[1])
    if axes is not None and axes.size:
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in axes])
        node.resize_inputs(1)


def _without_num_outputs(node: ir.Node, opset: int) -> None:
    """Split into equal parts by the number of outputs alone, as opset 17 and earlier do."""
    count = node.attributes.get("num_outputs")
    data = node.inputs[0]
    if opset >= 18 or count is None or data is None or data.shape is None:
        return
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    size = data.shape[axis]
    if isinstance(size, int) and size % count.as_int() == 0:
        del node.attributes["num_outputs"]


def _shape_then_slice(node: ir.Node, opset: int) -> None:
    """Read a part of a shape in two nodes, as opset 14 and earlier need it."""
    if opset >= 15 or not {"start", "end"} & set(node.attributes):
        return
    graph, (part,) = node.graph, node.outputs
    assert isinstance(graph, ir.Graph)
    assert node.inputs[0] is not None
    builder = NodeBuilder(graph, node, f"{part.name}_")
    first = node.attributes.get_int("start", 0)
    last = node.attributes.get_int("end", np.iinfo(np.int64).max)
    bounds = [builder.constant("bound", np.array([bound], np.int64)) for bound in (first, last)]
    new = builder.op(
        "Slice", builder.op("Shape", node.inputs[0], name="whole"), *bounds, name="part"
    )
    new.shape, new.type = part.shape, part.type
    ir.convenience.replace_all_uses_with(part, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_OLDER: Mapping[str, Callable[[ir.Node, int], None]] = {
    **{f"Reduce{kind}": _axes_as_attribute for kind in _REDUCTIONS},
    "Shape": _shape_then_slice,
    "Split": _without_num_outputs,
}


def _drop_defaults(node: ir.Node, opset: int, current: int) -> None:
    """Drop attributes that the older operator lacks where they have the newer one's default."""
    older, newer = _schema(node.op_type, opset), _schema(node.op_type, current)
    if older is None or newer is None:
        return
    for name, attribute in list(node.attributes.items()):
        if name in older.attributes or name not in newer.attributes:
            continue
        default = newer.attributes[name].default_value
        if default.name and onnx.helper.get_attribute_value(default) == _plain(attribute):
            del node.attributes[name]


def _plain(attribute: ir.Attr) -> object:
    value = attribute.value
    return value.encode() if isinstance(value, str) else value


def _fits(node: ir.Node, opset: int) -> bool:
    """Return whether `node` is one that its operator's schema in `opset` allows."""
    schema = _schema(node.op_type, opset)
    return (
        schema is not None
        and not schema.deprecated
        and schema.min_input <= len(node.inputs) <= schema.max_input
        and len(node.outputs) <= schema.max_output
        and all(name in schema.attributes for name in node.attributes)
        and all(
            _takes(schema, place, value)
            for place, value in enumerate(node.inputs)
            if value is not None and value.type is not None
        )
    )


def _takes(schema: OpSchema, place: int, value: ir.Value) -> bool:
    """Return whether an operator takes the dtype of `value` as its input at `place`."""
    formal = schema.inputs[min(place, len(schema.inputs) - 1)]
    return value.dtype is None or f"tensor({_type_name(value.dtype)})" in formal.types


def _type_name(dtype: ir.DataType) -> str:
    names = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
    return names.get(dtype, dtype.name.lower())


def _schema(op_type: str, opset: int) -> OpSchema | None:
    if not onnx.defs.has(op_type, opset):
        return None
    return onnx.defs.get_schema(op_type, opset)


def _refusal(node: ir.Node, opset: int, current: int) -> str:
    fitting = [number for number in range(opset + 1, current + 1) if _fits(node, number)]
    subject = f"`{node.op_type}` (node `{node.name}`)"
    if not fitting:
        return f"{subject} does not exist in opset {opset}. Choose --opset {current}."
    return (
        f"{subject} needs opset {fitting[0]}; opset {opset} was asked for. "
        f"Choose --opset {fitting[0]} or later."
    )
