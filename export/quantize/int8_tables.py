"""Embeddings in int8, with one scale for each row.

    ids → Gather(E float32) → x     becomes     ids → Gather(E int8) → Cast → Mul → x
                                                ids → Gather(scales) → Unsqueeze ↗

Done where x is only multiplied by weights: a product in integers, whose x has one scale for each
row, then rounds to the same integers again, so that the table adds its own rounding error alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import movement_of
from edgernn.export.ir.recurrent_operators import Input, is_recurrent
from edgernn.export.passes.port_values import replace_node
from edgernn.export.quantize.constant_products import constant_product
from edgernn.export.quantize.integer_rounding import quantize_full_range
from edgernn.export.quantize.weight_records import WeightRecord

__all__ = ["LEAST_NUMBERS", "why_not_int8", "write_tables"]

LEAST_NUMBERS = 1 << 14
"""The least numbers of a table in int8: in smaller ones, additional nodes outweigh the bytes."""


def write_tables(model: ir.Model) -> Iterator[WeightRecord]:
    """Store the embeddings of a float32 model in int8, in place, and yield a record of each."""
    for node in list(model.graph.all_nodes()):
        table = constant_of(node.inputs[0]) if node.op_type == "Gather" else None
        if table is None or table.dtype != np.float32 or why_not_int8(node, table):
            continue
        name = node.inputs[0].name if node.inputs[0] else ""
        _write(node, table)
        yield WeightRecord(name or "", "Gather", tuple(table.shape), "int8")


def why_not_int8(node: ir.Node, table: NDArray[np.float32]) -> str:
    """Return why the table of a Gather stays float32; empty where it becomes int8."""
    if table.ndim != 2 or node.attributes.get_int("axis", 0) != 0:
        return "it is no table of rows"
    if table.size < LEAST_NUMBERS:
        return f"it has fewer than {LEAST_NUMBERS:,} numbers"
    if not np.isfinite(table).all():
        return "not all of its numbers are finite"
    if not _is_only_multiplied(node.outputs[0]):
        error = np.abs(table).max() / 254
        return f"its rows are added without a product, and int8 would be off by up to {error:.0e}"
    return ""


def _is_only_multiplied(value: ir.Value) -> bool:
    """Return whether a value, moved or not, is read only as what weights are multiplied by."""
    if value.is_graph_output() or not value.uses():
        return False
    for node, place in value.uses():
        if node.op_type == "Shape" or _is_unused(node, place):
            continue
        if movement_of(node) is not None and place == 0:
            if not all(_is_only_multiplied(one) for one in node.outputs):
                return False
        elif is_recurrent(node):
            if place != Input.X:
                return False
        elif place != 0 or constant_product(node) is None:
            return False
    return True


def _is_unused(node: ir.Node, place: int) -> bool:
    """Return whether a Scan reads only the number of steps of an input, not what it holds."""
    if node.op_type != "Scan":
        return False
    port = node.attributes["body"].as_graph().inputs[place]
    return not port.uses() and not port.is_graph_output()


def _write(node: ir.Node, table: NDArray[np.float32]) -> None:
    graph, ids = node.graph, node.inputs[1]
    assert isinstance(graph, ir.Graph)
    assert ids is not None
    numbers, scale = quantize_full_range(table, (1,))
    builder = NodeBuilder(graph, node, f"{node.outputs[0].name}_")
    rows = builder.op("Gather", builder.constant("int8", numbers), ids, name="row")
    wide = builder.op("Cast", rows, name="wide", to=ir.DataType.FLOAT)
    scales = builder.op("Gather", builder.constant("scales", scale), ids, name="scale")
    axis = builder.constant("axis", np.array([-1], np.int64))
    scales = builder.op("Unsqueeze", scales, axis, name="scale_of_row")
    replace_node(node, builder.op("Mul", wide, scales, name="scaled"))
