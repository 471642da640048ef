"""Compute what does not look back in time for all steps at once, as rows of one batch.

The value of a one-step graph that has (…, rows, …) becomes one of (…, sequence · rows, …), steps
before rows, and the operators of the one-step graph run on it as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.movement_operators import Movement, movement_of
from edgernn.export.ir.shapes import Dim
from edgernn.export.lift.batching_rules import MixedBatchError, batch_axes, declared_shape

__all__ = ["BatchedValue", "NodeCopier", "TimeBatcher", "dependents"]


@dataclass(frozen=True)
class BatchedValue:
    """A value for all steps.

    Attributes:
        axis: The axis of the rows in the one-step shape.
        shape: The one-step shape; every size but that of the rows is known.
        merged: The value with the steps folded into the rows, or None where only `steps` is there.
        steps: The value of shape (sequence, rows, …) without the axes before the rows, which are
            all of size 1; or None where only `merged` is there.
    """

    axis: int
    shape: tuple[Dim, ...]
    merged: ir.Value | None = None
    steps: ir.Value | None = None

    @property
    def outer(self) -> list[int]:
        """The sizes before the rows."""
        return [_known(size) for size in self.shape[: self.axis]]

    @property
    def inner(self) -> list[int]:
        """The sizes after the rows."""
        return [_known(size) for size in self.shape[self.axis + 1 :]]


def _known(size: Dim) -> int:
    if not isinstance(size, int):
        raise MixedBatchError(f"there is a second dynamic axis, `{size}`")
    return size


def dependents(graph: ir.Graph, values: Iterable[ir.Value]) -> set[ir.Value]:
    """Return `values` and every value computed from them."""
    found = set(values)
    for node in graph:
        if any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


class NodeCopier:
    """Copies nodes and constants of one graph into the new graph on a tape."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._constants: dict[ir.Value, ir.Value] = {}
        self._integers: dict[tuple[int, ...], ir.Value] = {}

    def know(self, values: Mapping[ir.Value, ir.Value]) -> None:
        """Give the copies of values that are there already."""
        self._constants.update(values)

    def node(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], shaped: bool = True
    ) -> Sequence[ir.Value]:
        """Add a copy of `node` with other inputs and return its outputs."""
        return self.tape.op_multi_out(
            node.op_type,
            inputs,
            node.attributes,
            domain=node.domain,
            outputs=[
                ir.Value(name=old.name, type=old.type, shape=old.shape if shaped else None)
                for old in node.outputs
            ],
        )

    def constant(self, value: ir.Value) -> ir.Value:
        """Return the copy of a value that depends on known values and weights alone."""
        if value not in self._constants:
            producer = value.producer()
            if producer is None:
                tensor = value.const_value
                if tensor is None:
                    raise UnsupportedModelError(f"Initializer `{value.name}` has no value.")
                self._constants[value] = self.tape.initializer(tensor, name=value.name)
            else:
                inputs = [operand and self.constant(operand) for operand in producer.inputs]
                copies = self.node(producer, inputs)
                self._constants.update(zip(producer.outputs, copies, strict=True))
        return self._constants[value]

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """Return an int64 vector."""
        key = tuple(numbers)
        if key not in self._integers:
            name = "_".join(["sizes", *map(str, key)])
            self._integers[key] = self.tape.initializer(
                ir.tensor(np.array(key, np.int64)), name=name
            )
        return self._integers[key]


class TimeBatcher:
    """Folds values of a one-step graph, each once, when they are asked for.

    Args:
        graft: Where the nodes go.
        varying: The values that differ from step to step.
        source: Returns a value that is there for all steps already, or None for one to compute.
        rows: The number of rows of one step as an int64 vector of one element, or as a number.
        constants: The values that are the same at all steps, but not in all calls.
        row_size: The size of the rows of one step in a declared shape.
        steps: The number of steps as an int64 vector of one element.
    """

    def __init__(
        self,
        graft: NodeCopier,
        varying: set[ir.Value],
        source: Callable[[ir.Value], BatchedValue | None],
        rows: ir.Value | int,
        constants: Collection[ir.Value],
        row_size: Dim,
        steps: ir.Value,
    ) -> None:
        self._graft = graft
        self._varying = varying
        self._source = source
        self._rows = rows
        self._constants = constants
        self._row_size = row_size
        self._steps = steps
        self._folded: dict[ir.Value, BatchedValue] = {}
        self._merged: dict[BatchedValue, ir.Value] = {}

    def __call__(self, value: ir.Value) -> BatchedValue:
        """Return `value`, which differs from step to step, for all steps.

        Raises:
            MixedBatchError: An operator on the way to it does not keep rows apart.
        """
        if value not in self._folded:
            if value in self._constants:
                self._folded[value] = self._repeated(value)
            elif (found := self._source(value)) is not None:
                self._folded[value] = found
            else:
                self._compute(value)
        return self._folded[value]

    def merged(self, folded: BatchedValue) -> ir.Value:
        """Return a value of shape (…, sequence · rows, …)."""
        if folded.merged is not None:
            return folded.merged
        if folded not in self._merged:
            shape = self._graft.integers([*folded.outer, -1, *folded.inner])
            merged = self._graft.tape.op("Reshape", [folded.steps, shape])
            _typed(merged, folded.steps, (*folded.outer, None, *folded.inner))
            self._merged[folded] = merged
        return self._merged[folded]

    def steps(self, folded: BatchedValue) -> ir.Value:
        """Return a value of shape (sequence, rows, …), without the sizes 1 before the rows.

        Raises:
            MixedBatchError: There are sizes other than 1 before the rows.
        """
        if folded.steps is not None:
            return folded.steps
        if any(size != 1 for size in folded.outer):
            raise MixedBatchError("the rows of a batch do not come first")
        return self._reshape(folded.merged, [-1], folded.inner, folded)

    def spread(self, folded: BatchedValue, sequence: int) -> ir.Value:
        """Return a value of the one-step shape with an axis for the steps at `sequence`."""
        shape, axis = folded.shape, folded.axis
        spread = folded.steps
        if spread is None or folded.outer:
            source = folded.merged if spread is None else spread
            spread = self._reshape(source, [*folded.outer, -1], folded.inner, folded)
        order = [place for place in range(len(shape) + 1) if place != axis]
        order.insert(sequence, axis)
        if order != sorted(order):
            spread = self._graft.tape.op("Transpose", [spread], {"perm": order})
        return spread

    def port(self, port: ir.Value, new: ir.Value, axis: int, sequence: int) -> BatchedValue:
        """Fold an input of the one-step graph.

        Args:
            port: The input, of the one-step shape.
            new: The same with an axis for the steps at `sequence`.
            axis: The axis of the rows in the one-step shape.
            sequence: The axis of the steps in `new`.
        """
        shape = declared_shape(port)
        place = [old if old < sequence else old + 1 for old in range(len(shape))]
        order = [*place[:axis], sequence, *place[axis:]]
        if axis and all(size == 1 for size in shape[:axis]) and sequence < place[axis]:
            outer = self._graft.integers(place[:axis])
            steps = self._graft.tape.op("Squeeze", [new, outer])
            _typed(steps, new, [SEQUENCE, *shape[axis:]])
            return BatchedValue(axis, shape, steps=steps)
        steps = new
        if order != sorted(order):
            steps = self._graft.tape.op("Transpose", [new], {"perm": order})
            _typed(steps, new, [new.shape[old] for old in order] if new.shape else None)
        folded = BatchedValue(axis, shape, steps=steps)
        return folded if axis == 0 else BatchedValue(axis, shape, merged=self.merged(folded))

    def _reshape(
        self,
        value: ir.Value | None,
        outer: Sequence[int],
        inner: Sequence[int],
        folded: BatchedValue,
    ) -> ir.Value:
        tape, rows = self._graft.tape, self._rows
        if isinstance(rows, int):
            shape = self._graft.integers([*outer, rows, *inner])
        else:
            parts = [self._graft.integers(outer), rows]
            parts += [self._graft.integers(inner)] if inner else []
            shape = tape.op("Concat", parts, {"axis": 0})
            _typed(shape, rows, [len(outer) + 1 + len(inner)])
        declared = [SEQUENCE if size == -1 else size for size in outer]
        reshaped = tape.op("Reshape", [value, shape])
        return _typed(reshaped, value, [*declared, folded.shape[folded.axis], *inner])

    def _compute(self, value: ir.Value) -> None:
        node = value.producer()
        if node is None:
            raise MixedBatchError(f"`{value.name}` has no axis for the rows of a batch")
        inputs = self._inputs(node)
        axes = batch_axes(node, [folded.axis if folded else None for folded in inputs])
        if movement_of(node) is Movement.RESHAPES:
            kept = self._kept(node, inputs[0], axes[0])
            if kept is not None:
                self._folded[value] = kept
                return
        operands = [
            self.merged(folded) if folded else (old and self._graft.constant(old))
            for old, folded in zip(node.inputs, inputs, strict=True)
        ]
        shapes = [declared_shape(output) for output in node.outputs]
        if node.op_type == "Reshape":
            around = [*shapes[0][: axes[0]], -1, *shapes[0][axes[0] + 1 :]]
            operands[1] = self._graft.integers([_known(size) for size in around])
        outputs = self._graft.node(node, operands, shaped=False)
        for old, new, axis, shape in zip(node.outputs, outputs, axes, shapes, strict=True):
            new.shape = ir.Shape([*shape[:axis], None, *shape[axis + 1 :]])
            self._folded[old] = BatchedValue(axis, shape, merged=new)

    def _inputs(self, node: ir.Node) -> list[BatchedValue | None]:
        """Fold the inputs of `node`, but not the shape operand of a Reshape: it is written anew."""
        count = 1 if node.op_type == "Reshape" else len(node.inputs)
        return [
            self(value) if value and index < count and self._has_rows(value) else None
            for index, value in enumerate(node.inputs)
        ]

    def _has_rows(self, value: ir.Value) -> bool:
        alike = value in self._constants and self._row_size in declared_shape(value)
        return value in self._varying or alike

    def _repeated(self, value: ir.Value) -> BatchedValue:
        """Return a value that is the same at all steps once for each of them."""
        shape = declared_shape(value)
        if shape[0] != self._row_size or not all(isinstance(size, int) for size in shape[1:]):
            raise MixedBatchError(f"`{value.name}` has dynamic axes besides its rows at all steps")
        tape, one = self._graft.tape, self._graft.constant(value)
        size = tape.op("Concat", [self._steps, tape.op("Shape", [one])], {"axis": 0})
        steps = tape.op("Expand", [one, size])
        return BatchedValue(0, shape, steps=_typed(steps, value, [SEQUENCE, *shape]))

    def _kept(self, node: ir.Node, before: BatchedValue | None, axis: int) -> BatchedValue | None:
        """Return the same steps under another shape, where only sizes 1 before rows changed."""
        shape = declared_shape(node.outputs[0])
        kept = BatchedValue(axis, shape, steps=before.steps if before else None)
        if before is None or before.steps is None or kept.inner != before.inner:
            return None
        return kept if all(size == 1 for size in kept.outer) else None


def _typed(
    value: ir.Value, like: ir.Value | None, shape: Sequence[Dim | ir.SymbolicDim] | None
) -> ir.Value:
    value.type = like.type if like is not None else None
    value.shape = ir.Shape(shape) if shape is not None else None
    return value
