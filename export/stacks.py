"""States stacked over layers in one port, taken apart in one go."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx_ir as ir

from edgernn.export.shapes import dims
from edgernn.export.wiring import Wiring, constant_of

__all__ = ["split_stacks"]


def split_stacks(graph: ir.Graph) -> None:
    """Make one Split, in place, of the Slices that together take a graph input apart."""
    for port in graph.inputs:
        pieces: dict[int, list[tuple[int, int, ir.Node]]] = defaultdict(list)
        for node, _ in port.uses():
            bounds = _bounds(node)
            if bounds is not None:
                axis, start, end = bounds
                pieces[axis].append((start, end, node))
        for axis, found in pieces.items():
            ordered = sorted(found, key=lambda piece: piece[:2])
            if len(ordered) > 1 and _covers(ordered, (dims(port) or ())[axis]):
                _split(graph, port, axis, [node for _, _, node in ordered])


def _bounds(node: ir.Node) -> tuple[int, int, int] | None:
    """Return axis, start and end of a Slice along one axis in steps of 1, if `node` is one."""
    if node.op_type != "Slice" or node.domain or len(node.inputs) < 4:
        return None
    given = [constant_of(value) for value in node.inputs[1:]]
    if any(value is None or value.size != 1 for value in given):
        return None
    start, end, axis, *step = [int(value.item()) for value in given if value is not None]
    size = (dims(node.inputs[0]) or ())[axis]
    if not isinstance(size, int) or step not in ([], [1]):
        return None
    return axis, *slice(start, end).indices(size)[:2]


def _covers(pieces: list[tuple[int, int, ir.Node]], size: object) -> bool:
    """Return whether the pieces follow one another from 0 to `size`."""
    edges = [0, *(end for _, end, _ in pieces)]
    return edges[:-1] == [start for start, _, _ in pieces] and edges[-1] == size


def _split(graph: ir.Graph, port: ir.Value, axis: int, slices: list[ir.Node]) -> None:
    sizes = np.array([(dims(node.outputs[0]) or ())[axis] for node in slices], np.int64)
    wire = Wiring(graph, next(iter(graph)))
    names = [f"{port.name}_{index}" for index in range(len(slices))]
    split = wire.constant(f"{port.name}_sizes", sizes)
    for node, new in zip(
        slices, wire.split("Split", port, split, names=names, axis=axis), strict=True
    ):
        old = node.outputs[0]
        new.shape, new.type = old.shape, old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        graph.remove(node, safe=True)
