"""The removal of moves of size-1 axes.

    before   x (4, 3) → Unsqueeze → (1, 4, 3) → Add → (1, 4, 3) → Squeeze → y (4, 3)
    after    x (4, 3) → Add → y (4, 3)

Every value is followed back through moves to its source. Nodes that can work on sources do; where
one cannot, a single move gives the source the shape that it expects.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import Shape, known_shape, shape_of
from edgernn.export.step.axis_layouts import NodeRewrite, rewrite_on_sources
from edgernn.export.step.unit_axis_moves import add_unit_axis_move, is_unit_axis_move

__all__ = ["remove_unit_axis_moves"]

_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def remove_unit_axis_moves(model: ir.Model) -> None:
    """Remove, in place, every move of size-1 axes that the graph's nodes can do without.

    Values whose shapes are not known stay as they are, and so does a graph with subgraphs.
    """
    if any(attr.type in _SUBGRAPHS for node in model.graph for attr in node.attributes.values()):
        return
    _Rewrite(model.graph).run()
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)


class _Rewrite:
    """One pass over one graph, in the order of its nodes."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._sources: dict[ir.Value, ir.Value] = {}
        self._moved: dict[tuple[ir.Value, Shape], ir.Value] = {}
        self._output_names = [value.name for value in graph.outputs]

    def run(self) -> None:
        for node in tuple(self.graph):
            if is_unit_axis_move(node):
                self._sources[node.outputs[0]] = self.source(node.inputs[0])
            elif any(value in self._sources for value in node.inputs):
                rewrite = rewrite_on_sources(node, self)
                if rewrite is None:
                    self._restore_inputs(node)
                else:
                    self._replace(node, rewrite)
        for index, value in enumerate(tuple(self.graph.outputs)):
            if value in self._sources:
                self._finish(index, value)

    def source(self, value: ir.Value | None) -> ir.Value:
        """Return what `value` is a move of, itself where it is none."""
        assert value is not None
        return self._sources.get(value, value)

    def moved(self, value: ir.Value, shape: Shape, node: ir.Node | None) -> ir.Value:
        """Return the source of `value` in `shape`, with a move before `node` if one is needed."""
        source = self.source(value)
        if shape_of(source) == shape:
            return source
        if (source, shape) not in self._moved:
            name = _take_name(value) if source is not value else None
            self._moved[source, shape] = add_unit_axis_move(self.graph, node, source, shape, name)
        return self._moved[source, shape]

    def _restore_inputs(self, node: ir.Node) -> None:
        """Give `node` its inputs in the shapes that it was written for."""
        for index, value in enumerate(node.inputs):
            if value in self._sources:
                node.replace_input_with(index, self.moved(value, known_shape(value), node))

    def _replace(self, node: ir.Node, rewrite: NodeRewrite) -> None:
        outputs = [
            ir.Value(name=_take_name(value), shape=ir.Shape(shape), type=value.type)
            for value, shape in zip(node.outputs, rewrite.shapes, strict=True)
        ]
        attributes = dict(node.attributes)
        attributes |= {
            name: ir.AttrInt64(name, value) for name, value in rewrite.attributes.items()
        }
        new = ir.Node(
            "",
            node.op_type,
            rewrite.inputs,
            tuple(attributes.values()),
            outputs=outputs,
            name=node.name,
        )
        self.graph.insert_before(node, new)
        self._sources.update(zip(node.outputs, outputs, strict=True))

    def _finish(self, index: int, output: ir.Value) -> None:
        """Make a value of its own a graph output, in place of a move."""
        value = self.moved(output, known_shape(output), None)
        if value.producer() is None or value in self.graph.outputs:
            shape, type_ = value.shape, value.type
            value = NodeBuilder(self.graph).op("Identity", value, name="")
            value.shape, value.type = shape, type_
        output.name = None
        value.name = self._output_names[index]
        self.graph.outputs[index] = value


def _take_name(value: ir.Value) -> str | None:
    """Return the name of a value that is about to be replaced, and leave it without one."""
    name, value.name = value.name, None
    return name
