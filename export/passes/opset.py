"""Another operator set for a graph.

ReduceMean(x, axes=[1])  opset 18    becomes    ReduceMean<axes=[1]>(x)  opset 17
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript import version_converter

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.passes.port_values import replace_node
from edgernn.option_names import option

__all__ = ["allows", "schema_of", "to_opset"]


def to_opset(model: ir.Model, opset: int) -> None:
    """Write the operators of `model` as opset `opset` defines them, in its IR version, in place.

    onnxscript's converter goes to newer opsets only. For older ones

    1. newer forms are replaced: reductions get their axes as an attribute, `Split` loses
       `num_outputs`, `Shape` its `start` and `end`;
    2. attributes that the older operator does not have are removed where they have their default;
    3. a node that does not fit the older operator's schema after that is refused.

    Args:
        model: A graph in the opset that `trace` writes.
        opset: The opset, 13 to 25.

    Raises:
        UnsupportedModelError: An operator of the graph does not exist in that opset.
    """
    current = model.opset_imports[""]
    model.ir_version = onnx.helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset]
    if opset == current:
        return
    if opset > current:
        version_converter.convert_version(model, opset)
    for node in list(model.graph.all_nodes()):
        if node.domain == "" and opset < current:
            rewrite = _OLDER_FORMS.get(node.op_type)
            if rewrite is not None:
                rewrite(node, opset)
            _remove_defaults(node, opset, current)
        if node.graph is not None and node.domain == "" and not _fits(node, opset):
            raise UnsupportedModelError(_refusal(node, opset, current))
    model.opset_imports[""] = opset
    model.graph.opset_imports[""] = opset


def _axes_as_attribute(node: ir.Node, opset: int) -> None:
    """Write the axes of a reduction as an attribute, for opset 17 and earlier."""
    schema = schema_of(node.op_type, opset)
    if schema is None or "axes" not in schema.attributes or len(node.inputs) < 2:
        return
    axes = constant_of(node.inputs[1])
    if axes is not None and axes.size:
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in axes])
        node.resize_inputs(1)


def _without_num_outputs(node: ir.Node, opset: int) -> None:
    """Leave the number of equal parts to the number of outputs, for opset 17 and earlier."""
    count = node.attributes.get("num_outputs")
    data = node.inputs[0]
    if opset >= 18 or count is None or data is None or data.shape is None:
        return
    size = data.shape[node.attributes.get_int("axis", 0)]
    if isinstance(size, int) and size % count.as_int() == 0:
        del node.attributes["num_outputs"]


def _shape_then_slice(node: ir.Node, opset: int) -> None:
    """Read a part of a shape with Shape and Slice, for opset 14 and earlier."""
    if opset >= 15 or not {"start", "end"} & set(node.attributes):
        return
    assert isinstance(node.graph, ir.Graph)
    assert node.inputs[0] is not None
    builder = NodeBuilder(node.graph, node, f"{node.outputs[0].name}_")
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", np.iinfo(np.int64).max)
    bounds = [builder.constant("bound", np.array([bound], np.int64)) for bound in (start, end)]
    whole = builder.op("Shape", node.inputs[0], name="whole")
    replace_node(node, builder.op("Slice", whole, *bounds, name="part"))


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_OLDER_FORMS: Mapping[str, Callable[[ir.Node, int], None]] = {
    **{f"Reduce{kind}": _axes_as_attribute for kind in _REDUCTIONS},
    "Shape": _shape_then_slice,
    "Split": _without_num_outputs,
}


def _remove_defaults(node: ir.Node, opset: int, current: int) -> None:
    """Remove attributes that the older operator does not have and that have their default."""
    older, newer = (schema_of(node.op_type, number) for number in (opset, current))
    if older is None or newer is None:
        return
    for name, attribute in list(node.attributes.items()):
        if name in older.attributes or name not in newer.attributes:
            continue
        default, value = newer.attributes[name].default_value, attribute.value
        value = value.encode() if isinstance(value, str) else value
        if default.name and onnx.helper.get_attribute_value(default) == value:
            del node.attributes[name]


def _fits(node: ir.Node, opset: int) -> bool:
    """Return whether the schema of its operator in `opset` allows `node`."""
    schema = schema_of(node.op_type, opset)
    return (
        schema is not None
        and not schema.deprecated
        and schema.min_input <= len(node.inputs) <= schema.max_input
        and len(node.outputs) <= schema.max_output
        and all(name in schema.attributes for name in node.attributes)
        and all(
            allows(schema.inputs, place, value.dtype)
            for place, value in enumerate(node.inputs)
            if value is not None and value.dtype is not None
        )
    )


def _refusal(node: ir.Node, opset: int, current: int) -> str:
    fitting = [number for number in range(opset + 1, current + 1) if _fits(node, number)]
    subject = f"`{node.op_type}` (node `{node.name}`)"
    if not fitting:
        remedy = f"Choose {option('opset', current)}."
        return f"{subject} does not exist in opset {opset}. {remedy}"
    return (
        f"{subject} needs opset {fitting[0]}; opset {opset} was asked for. "
        f"Choose {option('opset', fitting[0])} or later."
    )


_TYPE_NAMES = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}


def schema_of(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator of ONNX's own domain, or None where `opset` has none."""
    return onnx.defs.get_schema(op_type, opset) if onnx.defs.has(op_type, opset) else None


def allows(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], place: int, dtype: ir.DataType
) -> bool:
    """Return whether the input or output at `place` may have `dtype`; the last one may repeat."""
    name = _TYPE_NAMES.get(dtype, dtype.name.lower())
    return f"tensor({name})" in parameters[min(place, len(parameters) - 1)].types
