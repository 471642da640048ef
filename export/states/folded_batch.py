"""States with several rows for each sequence of the batch, as those of a layer that runs every bin.

A forward that runs a layer over time for every bin folds the bins into the layer's batch:

    x (batch, sequence, 33, 8) → permute → reshape → (batch*33, sequence, 8) → GRU

torch's state then has batch*33 rows. The port has the batch as an axis of its own, so that hosts
find the rows of each sequence; its numbers are in torch's order:

    torch's state (1, batch*33, 16)     port (1, batch, 33, 16), or (1, 33, batch, 16)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx_ir as ir

from edgernn.contract import BATCH
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.symbolic_dims import canonical_size

__all__ = ["FoldedBatch", "folded_axis", "unfold_input", "unfold_output"]

_ROWS = re.compile(rf"(\d+)\*{BATCH}")


class _Array(Protocol):
    """A NumPy array or a tensor."""

    @property
    def shape(self) -> Any: ...

    def reshape(self, shape: Any, /) -> Any: ...


_ArrayT = TypeVar("_ArrayT", bound=_Array)


@dataclass(frozen=True)
class FoldedBatch:
    """The rows of a state: outer · batch · inner, as an array of these three axes has them.

    Attributes:
        axis: The axis of torch's state that has the rows.
        outer: The size of what is folded outside the batch, 1 where nothing is.
        inner: The size of what is folded inside the batch, likewise.
    """

    axis: int
    outer: int
    inner: int

    @property
    def batch_axis(self) -> int:
        """The axis of the port that is the batch."""
        return self.axis + (self.outer > 1)

    def port_shape(self, shape: Sequence[Any], batch: int | str) -> tuple[Any, ...]:
        """Return the shape of the port for torch's shape; axes of size 1 are left out."""
        outer, inner = ((size,) if size > 1 else () for size in (self.outer, self.inner))
        return (*shape[: self.axis], *outer, batch, *inner, *shape[self.axis + 1 :])

    def unfold(self, state: _ArrayT) -> _ArrayT:
        """Return torch's state in the shape of the port."""
        batch = state.shape[self.axis] // (self.outer * self.inner)
        unfolded: _ArrayT = state.reshape(self.port_shape(state.shape, batch))
        return unfolded

    def fold(self, state: _ArrayT) -> _ArrayT:
        """Return a state in the shape of the port in torch's shape."""
        axes = 1 + (self.outer > 1) + (self.inner > 1)
        rest = state.shape[self.axis + axes :]
        folded: _ArrayT = state.reshape((*state.shape[: self.axis], -1, *rest))
        return folded


def folded_axis(value: ir.Value, axis: int | None = None, batch: int | None = None) -> int | None:
    """Return the axis of a state that has several rows for each sequence, None where none has.

    Args:
        value: The state in torch's shape.
        axis: The axis that has a row for every sequence of its layer, where that is known.
        batch: The number of sequences where it is constant.
    """
    shape = value.shape or ()
    dynamic = [place for place, size in enumerate(shape) if not isinstance(size, int)]
    if dynamic:
        [first, *others] = dynamic
        several = _ROWS.fullmatch(canonical_size(str(shape[first])))
        return first if several and not others else None
    rows = None if axis is None else shape[axis]
    if not isinstance(rows, int) or batch is None:
        return None
    return axis if rows > batch and rows % batch == 0 else None


def unfold_input(graph: ir.Graph, rows: ir.Value, folded: FoldedBatch) -> None:
    """Replace an input of a graph, in torch's shape, by the port; in place."""
    port = ir.Value(name=rows.name, type=rows.type, shape=_port_shape(rows, folded))
    builder = NodeBuilder(graph, graph[0])
    made = _reshape(builder, port, rows.shape, f"{port.name}_rows")
    made.type, made.shape = rows.type, rows.shape
    ir.convenience.replace_all_uses_with(rows, made, replace_graph_outputs=True)
    graph.inputs[:] = [port if value is rows else value for value in graph.inputs]


def unfold_output(graph: ir.Graph, rows: ir.Value, folded: FoldedBatch) -> None:
    """Replace an output of a graph, in torch's shape, by the port; in place."""
    name, shape = rows.name or "", _port_shape(rows, folded)
    rows.name = f"{name}_rows"
    port = _reshape(NodeBuilder(graph), rows, shape, f"{name}_unfolded")
    port.name, port.type, port.shape = name, rows.type, shape
    graph.outputs[:] = [port if value is rows else value for value in graph.outputs]


def _port_shape(rows: ir.Value, folded: FoldedBatch) -> ir.Shape:
    shape = tuple(rows.shape or ())
    size = shape[folded.axis]
    batch = size // (folded.outer * folded.inner) if isinstance(size, int) else BATCH
    return ir.Shape(folded.port_shape(shape, batch))


def _reshape(builder: NodeBuilder, value: ir.Value, shape: ir.Shape | None, name: str) -> ir.Value:
    """Give a value a shape with one dynamic axis."""
    sizes = [size if isinstance(size, int) else -1 for size in shape or ()]
    target = builder.constant(f"{name}_shape", np.array(sizes, np.int64))
    return builder.op("Reshape", value, target, name=name)
