"""Which operators compute each entry of a batch by itself, and where they put the batch axis.

A node does so when entry i of each output depends on entry i of each input alone:

    Relu(x)                   x (batch, 4)    → (batch, 4)    yes: the batch stays axis 0
    Transpose(x, [1, 0])      x (batch, 4)    → (4, batch)    yes: the batch is axis 1 now
    Softmax(x, axis=0)        x (batch, 4)    → (batch, 4)    no: it sums over the batch

A graph of such nodes gives the same numbers for an entry whatever else is in the batch. So the
steps of a sequence may be computed as entries of one batch. What is in no rule is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod

import onnx_ir as ir

from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.operator_kinds import ELEMENTWISE
from edgernn.export.ir.recurrent_operators import input_of
from edgernn.export.ir.shapes import Dim, Shape, shape_of

__all__ = ["MixedBatchError", "batch_axes", "declared_shape"]

Axes = Sequence[int | None]
"""For each input of a node its batch axis, or None where it is the same for all entries."""
Rule = Callable[[ir.Node, Axes], int]
"""From a node and the batch axes of its inputs to the batch axis of its outputs."""


class MixedBatchError(Exception):
    """When the entries of a batch may depend on each other; the text says where."""


def batch_axes(node: ir.Node, axes: Axes) -> list[int]:
    """Return the batch axis of each output of a node with an input that has one.

    Raises:
        MixedBatchError: The operator is unknown, or mixes the entries of a batch.
    """
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    if rule is None:
        raise MixedBatchError(f"`{node.op_type}` is not known to keep the entries of a batch apart")
    return [rule(node, axes)] * len(node.outputs)


def declared_shape(value: ir.Value) -> Shape:
    """Return the shape of `value`: sizes, names of dynamic axes, None where unknown.

    Raises:
        MixedBatchError: Not even its rank is known.
    """
    shape = shape_of(value)
    if shape is None:
        raise MixedBatchError(f"the shape of `{value.name}` is not known")
    return shape


def _integers(value: ir.Value | None) -> list[int]:
    array = constant_of(value)
    if array is None:
        raise MixedBatchError(f"`{value.name if value else 'axes'}` is not a constant")
    return [int(number) for number in array.ravel()]


def _shape(node: ir.Node, index: int = 0) -> Shape:
    """Return the shape of an input that the operator requires."""
    value = input_of(node, index)
    if value is None:
        raise MixedBatchError(f"`{node.op_type}` lacks input {index}")
    return declared_shape(value)


def _rank(node: ir.Node, index: int = 0) -> int:
    return len(_shape(node, index))


def _axis(node: ir.Node, default: int = 0) -> int:
    return node.attributes.get_int("axis", default) % _rank(node)


def _mixed(node: ir.Node) -> MixedBatchError:
    return MixedBatchError(f"`{node.op_type}` `{node.name}` mixes the entries of a batch")


def _only_first(node: ir.Node, axes: Axes) -> int:
    """Return the batch axis of the first input, which must be the only one with a batch."""
    first = axes[0]
    if first is None or any(axis is not None for axis in axes[1:]):
        raise _mixed(node)
    return first


def _elementwise(node: ir.Node, axes: Axes) -> int:
    """Align the inputs from the right, as broadcasting does: the batch axes must meet."""
    ranks = [len(declared_shape(value)) if value else 0 for value in node.inputs]
    from_right = {rank - axis for rank, axis in zip(ranks, axes, strict=True) if axis is not None}
    if len(from_right) != 1:
        raise _mixed(node)
    place = from_right.pop()
    for value, axis, rank in zip(node.inputs, axes, ranks, strict=True):
        if value and axis is None and rank >= place and declared_shape(value)[-place] != 1:
            raise _mixed(node)
    return max(ranks) - place


def _matmul(node: ir.Node, axes: Axes) -> int:
    """Take the batch as rows of the left matrix, columns of the right one, or outer axes."""
    ranks = [_rank(node, 0), _rank(node, 1)]
    if min(ranks) < 2:
        raise _mixed(node)
    from_right = [
        axis if axis is None else rank - axis for rank, axis in zip(ranks, axes, strict=True)
    ]
    if from_right == [2, None]:
        return max(ranks) - 2
    if from_right == [None, 1]:
        return max(ranks) - 1
    if any(place is not None and place < 3 for place in from_right):
        raise _mixed(node)
    return _elementwise(node, axes)


def _gemm(node: ir.Node, axes: Axes) -> int:
    """Take the batch as rows of A, and of C where C has rows of its own."""
    c, c_axis = input_of(node, 2), axes[2] if len(axes) > 2 else None
    shape = declared_shape(c) if c is not None else ()
    c_fits = len(shape) != 2 or shape[0] == 1 if c_axis is None else (c_axis, len(shape)) == (0, 2)
    if axes[0] != node.attributes.get_int("transA", 0) or axes[1] is not None or not c_fits:
        raise _mixed(node)
    return 0


def _gather(node: ir.Node, axes: Axes) -> int:
    """Let each entry look up its own indices, or all look up the same ones beside the batch."""
    indices_rank, axis = _rank(node, 1), _axis(node)
    if axes[0] is None and axes[1] is not None:
        return axis + axes[1]
    batch = _only_first(node, axes)
    if batch == axis:
        raise _mixed(node)
    return batch if batch < axis else batch - 1 + indices_rank


def _concat(node: ir.Node, axes: Axes) -> int:
    if None in axes or len(set(axes)) != 1 or _axis(node) in axes:
        raise _mixed(node)
    return _elementwise(node, axes)


def _works_along(touched: Callable[[ir.Node], Iterable[int]], keepdims: int = 1) -> Rule:
    """Return the rule of an operator that computes along the `touched` axes of its first input.

    `keepdims` is whether it keeps them, where its attribute of that name is absent.
    """

    def rule(node: ir.Node, axes: Axes) -> int:
        batch, rank = _only_first(node, axes), _rank(node)
        along = {axis % rank for axis in touched(node)}
        if batch in along:
            raise _mixed(node)
        kept = node.attributes.get_int("keepdims", keepdims)
        return batch if kept else batch - sum(axis < batch for axis in along)

    return rule


def _axes_input(place: int) -> Callable[[ir.Node], Iterable[int]]:
    """Return what reads the axes of a node in one of its inputs."""
    return lambda node: _integers(input_of(node, place))


def _padded_axes(node: ir.Node) -> Iterator[int]:
    given = input_of(node, 3)
    axes = _integers(given) if given else range(_rank(node))
    counts = _integers(input_of(node, 1))
    return (axis for axis, count in zip([*axes, *axes], counts, strict=True) if count)


def _transpose(node: ir.Node, axes: Axes) -> int:
    order = node.attributes.get_ints("perm", tuple(reversed(range(_rank(node)))))
    return list(order).index(_only_first(node, axes))


def _unsqueeze(node: ir.Node, axes: Axes) -> int:
    batch, new = _only_first(node, axes), _integers(input_of(node, 1))
    rank = _rank(node) + len(new)
    added = {axis % rank for axis in new}
    return [axis for axis in range(rank) if axis not in added][batch]


def _reshape(node: ir.Node, axes: Axes) -> int:
    """Find the axis with as many elements before it and after it as the batch axis had.

    The caller must write another shape operand, with -1 for the batch.
    """
    batch, before, after = _only_first(node, axes), _shape(node), declared_shape(node.outputs[0])
    around = _elements(node, before[:batch]), _elements(node, before[batch + 1 :])
    for axis in reversed(range(len(after))):
        others = after[:axis] + after[axis + 1 :]
        if after[axis] != before[batch] or not all(isinstance(size, int) for size in others):
            continue
        if (_elements(node, after[:axis]), _elements(node, after[axis + 1 :])) == around:
            return axis
    raise _mixed(node)


def _elements(node: ir.Node, shape: Sequence[Dim]) -> int:
    """Return the number of elements of a part of a shape that has no dynamic axis."""
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != len(shape):
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has a second dynamic axis")
    return prod(sizes)


def _batch_first(node: ir.Node, axes: Axes) -> int:
    """Take an operator whose first axis is the batch and whose other inputs are weights."""
    if _only_first(node, axes) != 0 or node.attributes.get_int("training_mode", 0) == 1:
        raise _mixed(node)
    return 0


# fmt: off
_MORE_ELEMENTWISE = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Dropout", "Identity", "IsInf",
    "PRelu", "Sinh", "Tan",
)
_BATCH_FIRST = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool",
    "GlobalMaxPool", "InstanceNormalization", "LRN", "LpPool", "MaxPool",
)
_REDUCE = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)
# fmt: on

_RULES: dict[str, Rule] = {
    **dict.fromkeys((*ELEMENTWISE, *_MORE_ELEMENTWISE), _elementwise),
    **dict.fromkeys(_BATCH_FIRST, _batch_first),
    **dict.fromkeys(_REDUCE, _works_along(_axes_input(1))),
    **dict.fromkeys(("ArgMax", "ArgMin"), _works_along(lambda n: [_axis(n)])),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _works_along(lambda n: [_axis(n, -1)])),
    "Concat": _concat,
    "Gather": _gather,
    "Gemm": _gemm,
    "LayerNormalization": _works_along(lambda n: range(_axis(n, -1), _rank(n))),
    "MatMul": _matmul,
    "Pad": _works_along(_padded_axes),
    "Reshape": _reshape,
    "Slice": _works_along(_axes_input(3)),
    "Split": _works_along(lambda n: [_axis(n)]),
    "Squeeze": _works_along(_axes_input(1), keepdims=0),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
