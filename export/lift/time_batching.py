"""Compute what does not look back in time at all steps at once, as entries of one batch.

    step graph          x (batch, 3)            → Gemm → y (batch, 5)
    sequence graph      x (sequence, batch, 3)  → Reshape → (sequence·batch, 3)
                                                → Gemm → (sequence·batch, 5)
                                                → Reshape → y (sequence, batch, 5)

A value of shape (outer…, batch, inner…) in one step becomes one of shape (outer…, sequence·batch,
inner…), steps before batch, and the operators of the step graph run on it as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.ir.operator_kinds import Movement, movement_of
from edgernn.export.ir.shapes import Dim
from edgernn.export.lift.batching_rules import MixedBatchError, batch_axes, declared_shape
from edgernn.export.lift.step_graph import NodeCopier, StepGraph

__all__ = ["BatchedValue", "TimeBatcher"]


@dataclass(frozen=True)
class BatchedValue:
    """A value of the step graph at all steps.

    One of `merged` and `stacked` is there.

    Attributes:
        axis: The batch axis in the one-step shape.
        shape: The one-step shape; every size but that of the batch is known.
        merged: The value of shape (outer…, sequence·batch, inner…).
        stacked: The value of shape (sequence, batch, inner…), where all outer sizes are 1.
    """

    axis: int
    shape: tuple[Dim, ...]
    merged: ir.Value | None = None
    stacked: ir.Value | None = None

    @property
    def outer(self) -> list[int]:
        """The sizes before the batch."""
        return [_known_size(size) for size in self.shape[: self.axis]]

    @property
    def inner(self) -> list[int]:
        """The sizes after the batch."""
        return [_known_size(size) for size in self.shape[self.axis + 1 :]]


def _known_size(size: Dim) -> int:
    if not isinstance(size, int):
        raise MixedBatchError(f"there is a second dynamic axis, `{size}`")
    return size


class TimeBatcher:
    """Computes values of a step graph at all steps, each once, when they are asked for.

    Args:
        step: The step graph.
        copier: Where the nodes go.
        batch_size: The size of the batch as an int64 vector of one element, or as a number.
        steps: The number of steps as an int64 vector of one element.
        source: Returns a value that exists at all steps already, or None for one to compute.
    """

    def __init__(
        self,
        step: StepGraph,
        copier: NodeCopier,
        batch_size: ir.Value | int,
        steps: ir.Value,
        source: Callable[[ir.Value], BatchedValue | None],
    ) -> None:
        self._step = step
        self._copier = copier
        self._batch_size = batch_size
        self._steps = steps
        self._source = source
        self._batched: dict[ir.Value, BatchedValue] = {}
        self._merged: dict[BatchedValue, ir.Value] = {}

    def __call__(self, value: ir.Value) -> BatchedValue:
        """Return `value`, which differs from step to step, at all steps.

        Raises:
            MixedBatchError: An operator on the way to it mixes the entries of a batch.
        """
        if value not in self._batched:
            if value in self._step.constants:
                self._batched[value] = self._repeated(value)
            elif (found := self._source(value)) is not None:
                self._batched[value] = found
            else:
                self._compute(value)
        return self._batched[value]

    def merged(self, value: BatchedValue) -> ir.Value:
        """Return a value of shape (outer…, sequence·batch, inner…)."""
        if value.merged is not None:
            return value.merged
        if value not in self._merged:
            shape = self._copier.integers([*value.outer, -1, *value.inner])
            merged = self._copier.tape.op("Reshape", [value.stacked, shape])
            sizes = (*value.outer, None, *value.inner)
            self._merged[value] = _declare(merged, value.stacked, sizes)
        return self._merged[value]

    def stacked(self, value: BatchedValue) -> ir.Value:
        """Return a value of shape (sequence, batch, inner…), without the outer sizes, all 1.

        Raises:
            MixedBatchError: An outer size is not 1.
        """
        if value.stacked is not None:
            return value.stacked
        if any(size != 1 for size in value.outer):
            raise MixedBatchError("the batch is not the first axis")
        return self._reshape(value.merged, [-1], value)

    def with_sequence_axis(self, value: BatchedValue, sequence: int) -> ir.Value:
        """Return a value of the one-step shape with an axis for the steps at `sequence`."""
        result = value.stacked
        if result is None or value.outer:
            result = self._reshape(result or value.merged, [*value.outer, -1], value)
        order = [axis for axis in range(len(value.shape) + 1) if axis != value.axis]
        order.insert(sequence, value.axis)
        if order != sorted(order):
            result = self._copier.tape.op("Transpose", [result], {"perm": order})
        return result

    def repeated_weight(self, value: ir.Value, sequence: int) -> ir.Value:
        """Return a value that depends on no input, with an axis for the steps at `sequence`."""
        tape, integers = self._copier.tape, self._copier.integers
        sizes = [1] * len(declared_shape(value))
        once = tape.op("Unsqueeze", [self._copier.constant(value), integers([sequence])])
        around = [self._steps]
        around = [integers(sizes[:sequence]), *around] if sequence else around
        around += [integers(sizes[sequence:])] if sizes[sequence:] else []
        return tape.op("Expand", [once, tape.op("Concat", around, {"axis": 0})])

    def from_sequence_axis(
        self, port: ir.Value, new: ir.Value, axis: int, sequence: int
    ) -> BatchedValue:
        """Return a value of the step graph, its batch at `axis`, at all steps.

        It is given as `new`, with an axis for the steps at `sequence`.
        """
        shape, tape = declared_shape(port), self._copier.tape
        places = [old if old < sequence else old + 1 for old in range(len(shape))]
        if axis and all(size == 1 for size in shape[:axis]) and sequence < places[axis]:
            stacked = tape.op("Squeeze", [new, self._copier.integers(places[:axis])])
            _declare(stacked, new, [SEQUENCE, *shape[axis:]])
            return BatchedValue(axis, shape, stacked=stacked)
        order = [*places[:axis], sequence, *places[axis:]]
        stacked = new
        if order != sorted(order):
            stacked = tape.op("Transpose", [new], {"perm": order})
            _declare(stacked, new, [new.shape[old] for old in order] if new.shape else None)
        batched = BatchedValue(axis, shape, stacked=stacked)
        return batched if axis == 0 else BatchedValue(axis, shape, merged=self.merged(batched))

    def _reshape(
        self, source: ir.Value | None, outer: Sequence[int], value: BatchedValue
    ) -> ir.Value:
        """Return `source` of shape (outer…, batch, inner…), where -1 in `outer` is the steps."""
        tape, batch, inner = self._copier.tape, self._batch_size, value.inner
        if isinstance(batch, int):
            shape = self._copier.integers([*outer, batch, *inner])
        else:
            parts = [self._copier.integers(outer), batch]
            parts += [self._copier.integers(inner)] if inner else []
            shape = tape.op("Concat", parts, {"axis": 0})
            _declare(shape, batch, [len(outer) + 1 + len(inner)])
        declared = [SEQUENCE if size == -1 else size for size in outer]
        reshaped = tape.op("Reshape", [source, shape])
        return _declare(reshaped, source, [*declared, value.shape[value.axis], *inner])

    def _compute(self, value: ir.Value) -> None:
        node = value.producer()
        if node is None:
            raise MixedBatchError(f"`{value.name}` has no batch axis")
        inputs = self._inputs(node)
        axes = batch_axes(node, [batched.axis if batched else None for batched in inputs])
        if kept := self._kept(node, inputs[0], axes[0]):
            self._batched[value] = kept
            return
        operands = [
            self.merged(batched) if batched else (old and self._copier.constant(old))
            for old, batched in zip(node.inputs, inputs, strict=True)
        ]
        shapes = [declared_shape(output) for output in node.outputs]
        if node.op_type == "Reshape":
            around = [*shapes[0][: axes[0]], -1, *shapes[0][axes[0] + 1 :]]
            operands[1] = self._copier.integers([_known_size(size) for size in around])
        outputs = self._copier.node(node, operands, shaped=False)
        for old, new, axis, shape in zip(node.outputs, outputs, axes, shapes, strict=True):
            new.shape = ir.Shape([*shape[:axis], None, *shape[axis + 1 :]])
            self._batched[old] = BatchedValue(axis, shape, merged=new)

    def _inputs(self, node: ir.Node) -> list[BatchedValue | None]:
        """Return the inputs of `node` at all steps, but not the shape operand of a Reshape."""
        inputs = [*node.inputs[:1], None] if node.op_type == "Reshape" else node.inputs
        return [self(value) if value and self._has_batch(value) else None for value in inputs]

    def _has_batch(self, value: ir.Value) -> bool:
        step = self._step
        same = value in step.constants and step.batch in declared_shape(value)
        return same or value in step.varying

    def _repeated(self, value: ir.Value) -> BatchedValue:
        shape = declared_shape(value)
        if shape[0] != self._step.batch or not all(isinstance(size, int) for size in shape[1:]):
            raise MixedBatchError(f"`{value.name}` has dynamic axes besides its batch at all steps")
        tape, once = self._copier.tape, self._copier.constant(value)
        size = tape.op("Concat", [self._steps, tape.op("Shape", [once])], {"axis": 0})
        stacked = _declare(tape.op("Expand", [once, size]), value, [SEQUENCE, *shape])
        return BatchedValue(0, shape, stacked=stacked)

    def _kept(self, node: ir.Node, before: BatchedValue | None, axis: int) -> BatchedValue | None:
        """Return the input of a Reshape or the like, where it changes only outer sizes of 1."""
        if movement_of(node) is not Movement.RESHAPES or before is None or before.stacked is None:
            return None
        kept = BatchedValue(axis, declared_shape(node.outputs[0]), stacked=before.stacked)
        same = kept.inner == before.inner and all(size == 1 for size in kept.outer)
        return kept if same else None


def _declare(
    value: ir.Value, like: ir.Value | None, shape: Sequence[Dim | ir.SymbolicDim] | None
) -> ir.Value:
    """Give `value` the type of another and a shape, and return it."""
    value.type = like.type if like is not None else None
    value.shape = ir.Shape(shape) if shape is not None else None
    return value
