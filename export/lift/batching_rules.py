"""Where the rows of a batch stand in an operator's outputs, if it keeps them apart.

An operator keeps rows apart when row i of each output comes from row i of each input alone. A graph
of such operators gives the same numbers for every row whatever other rows stand beside it, so the
steps of a sequence may be computed as rows of one batch. Operators that are not in the table, and
uses that mix rows, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import onnx_ir as ir

from edgernn.export.ir.elementwise_operators import ELEMENTWISE
from edgernn.export.ir.shapes import Dim, Shape, shape_of

__all__ = ["MixedBatchError", "batch_axes", "constant_integers", "declared_shape"]

Axes = Sequence[int | None]
Rule = Callable[[ir.Node, Axes], int]


class MixedBatchError(Exception):
    """When rows cannot be shown to stay apart; the text says where."""


def batch_axes(node: ir.Node, axes: Axes) -> list[int]:
    """Return the axis of the rows in each output of `node`.

    Args:
        node: A node with at least one input that has rows.
        axes: For each input the axis of its rows, or None where it is the same for all rows.

    Raises:
        MixedBatchError: The operator is unknown or mixes rows.
    """
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    if rule is None:
        raise MixedBatchError(f"`{node.op_type}` is not known to keep the rows of a batch apart")
    return [rule(node, axes)] * len(node.outputs)


def declared_shape(value: ir.Value) -> Shape:
    """Return the declared shape of `value`: sizes, names of dynamic axes, None where unknown.

    Raises:
        MixedBatchError: Not even its rank is known.
    """
    shape = shape_of(value)
    if shape is None:
        raise MixedBatchError(f"the shape of `{value.name}` is not known")
    return shape


def constant_integers(value: ir.Value | None) -> list[int]:
    """Return the integers of a constant operand.

    Raises:
        MixedBatchError: The operand is missing or computed at run time.
    """
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise MixedBatchError(f"`{value.name if value else 'axes'}` is not a constant")
    return [int(number) for number in tensor.numpy().ravel()]


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise MixedBatchError(f"`{node.op_type}` lacks input {index}")
    return value


def _attribute(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _mixed(node: ir.Node) -> MixedBatchError:
    return MixedBatchError(f"`{node.op_type}` `{node.name}` mixes the rows of a batch")


def _only_first(node: ir.Node, axes: Axes) -> int:
    first = axes[0]
    if first is None or any(axis is not None for axis in axes[1:]):
        raise _mixed(node)
    return first


def _elementwise(node: ir.Node, axes: Axes) -> int:
    """Broadcasting aligns axes from the right, so rows must stand equally far from there."""
    ranks = [len(declared_shape(value)) if value else 0 for value in node.inputs]
    places = {rank - axis for rank, axis in zip(ranks, axes, strict=True) if axis is not None}
    if len(places) != 1:
        raise _mixed(node)
    place = places.pop()
    for value, axis, rank in zip(node.inputs, axes, ranks, strict=True):
        if value and axis is None and rank >= place and declared_shape(value)[-place] != 1:
            raise _mixed(node)
    return max(ranks) - place


def _matmul(node: ir.Node, axes: Axes) -> int:
    left, right = (len(declared_shape(_input(node, index))) for index in (0, 1))
    if min(left, right) < 2:
        raise _mixed(node)
    places = [
        None if axis is None else rank - axis
        for rank, axis in zip((left, right), axes, strict=True)
    ]
    if places == [2, None]:
        return max(left, right) - 2
    if places == [None, 1]:
        return max(left, right) - 1
    if any(place is not None and place < 3 for place in places):
        raise _mixed(node)
    return _elementwise(node, axes)


def _gemm(node: ir.Node, axes: Axes) -> int:
    bias = axes[2] if len(axes) > 2 else None
    if axes[0] != _attribute(node, "transA", 0) or axes[1] is not None or bias not in (None, 0):
        raise _mixed(node)
    if len(axes) > 2 and node.inputs[2] is not None:
        shape = declared_shape(node.inputs[2])
        if (bias is None and len(shape) == 2 and shape[0] != 1) or (bias == 0 and len(shape) != 2):
            raise _mixed(node)
    return 0


def _gather(node: ir.Node, axes: Axes) -> int:
    data, indices = _input(node, 0), _input(node, 1)
    axis = _attribute(node, "axis", 0) % len(declared_shape(data))
    if axes[0] is None and axes[1] is not None:
        return axis + axes[1]
    row = _only_first(node, axes)
    if row == axis:
        raise _mixed(node)
    return row if row < axis else row - 1 + len(declared_shape(indices))


def _along_axis(default: int) -> Rule:
    """An operator that works along the axis in its attribute `axis`."""

    def rule(node: ir.Node, axes: Axes) -> int:
        row = _elementwise(node, axes)
        axis = _attribute(node, "axis", default)
        if axis % len(declared_shape(_input(node, 0))) == row:
            raise _mixed(node)
        return row

    return rule


def _concat(node: ir.Node, axes: Axes) -> int:
    rows = set(axes)
    if None in rows or len(rows) != 1:
        raise _mixed(node)
    return _along_axis(0)(node, axes)


def _split(node: ir.Node, axes: Axes) -> int:
    row = _only_first(node, axes)
    if _attribute(node, "axis", 0) % len(declared_shape(_input(node, 0))) == row:
        raise _mixed(node)
    return row


def _slice(node: ir.Node, axes: Axes) -> int:
    row, rank = _only_first(node, axes), len(declared_shape(_input(node, 0)))
    sliced = constant_integers(node.inputs[3] if len(node.inputs) > 3 else None)
    if row in {axis % rank for axis in sliced}:
        raise _mixed(node)
    return row


def _transpose(node: ir.Node, axes: Axes) -> int:
    rank = len(declared_shape(_input(node, 0)))
    perm = node.attributes.get("perm")
    order = list(perm.as_ints()) if perm else list(reversed(range(rank)))
    return order.index(_only_first(node, axes))


def _unsqueeze(node: ir.Node, axes: Axes) -> int:
    row, new = _only_first(node, axes), constant_integers(_input(node, 1))
    rank = len(declared_shape(_input(node, 0))) + len(new)
    added = {axis % rank for axis in new}
    return [axis for axis in range(rank) if axis not in added][row]


def _without(node: ir.Node, row: int, removed: set[int]) -> int:
    if row in removed:
        raise _mixed(node)
    return row - sum(axis < row for axis in removed)


def _squeeze(node: ir.Node, axes: Axes) -> int:
    rank = len(declared_shape(_input(node, 0)))
    return _without(
        node,
        _only_first(node, axes),
        {axis % rank for axis in constant_integers(_input(node, 1))},
    )


def _reduce(node: ir.Node, axes: Axes) -> int:
    row, rank = _only_first(node, axes), len(declared_shape(_input(node, 0)))
    reduced = {
        axis % rank for axis in constant_integers(node.inputs[1] if len(node.inputs) > 1 else None)
    }
    after = _without(node, row, reduced)
    return row if _attribute(node, "keepdims", 1) else after


def _best(node: ir.Node, axes: Axes) -> int:
    row, rank = _only_first(node, axes), len(declared_shape(_input(node, 0)))
    after = _without(node, row, {_attribute(node, "axis", 0) % rank})
    return row if _attribute(node, "keepdims", 1) else after


def _reshape(node: ir.Node, axes: Axes) -> int:
    """Rows survive where as many elements stand before and after them as did before.

    The caller must write the shape operand anew with -1 for the rows.
    """
    row = _only_first(node, axes)
    before, after = declared_shape(_input(node, 0)), declared_shape(node.outputs[0])
    outer, inner = _product(node, before[:row]), _product(node, before[row + 1 :])
    for axis in reversed(range(len(after))):
        others = after[:axis] + after[axis + 1 :]
        if after[axis] == before[row] and all(isinstance(size, int) for size in others):
            found = _product(node, after[:axis]), _product(node, after[axis + 1 :])
            if found == (outer, inner):
                return axis
    raise _mixed(node)


def _pad(node: ir.Node, axes: Axes) -> int:
    row, rank = _only_first(node, axes), len(declared_shape(_input(node, 0)))
    given = node.inputs[3] if len(node.inputs) > 3 else None
    padded = [axis % rank for axis in constant_integers(given)] if given else list(range(rank))
    before_and_after = constant_integers(_input(node, 1))
    if any(count and axis == row for count, axis in zip(before_and_after, padded * 2, strict=True)):
        raise _mixed(node)
    return row


def _product(node: ir.Node, shape: Sequence[Dim]) -> int:
    known = [size for size in shape if isinstance(size, int)]
    if len(known) != len(shape):
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has a second dynamic axis")
    return prod(known)


def _batched(node: ir.Node, axes: Axes) -> int:
    """An operator whose first axis is the batch and whose other operands are weights."""
    if _only_first(node, axes) != 0 or _attribute(node, "training_mode", 0):
        raise _mixed(node)
    return 0


def _normalised(node: ir.Node, axes: Axes) -> int:
    row, rank = _only_first(node, axes), len(declared_shape(_input(node, 0)))
    if row >= _attribute(node, "axis", -1) % rank:
        raise _mixed(node)
    return row


# fmt: off
_BATCHED = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool",
    "GlobalMaxPool", "InstanceNormalization", "LRN", "LpPool", "MaxPool",
)
_REDUCE = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)
# fmt: on

_RULES: dict[str, Rule] = {
    **dict.fromkeys((*ELEMENTWISE, "Dropout", "Identity", "PRelu"), _elementwise),
    **dict.fromkeys(_BATCHED, _batched),
    **dict.fromkeys(_REDUCE, _reduce),
    "ArgMax": _best,
    "ArgMin": _best,
    "Concat": _concat,
    "Gather": _gather,
    "Gemm": _gemm,
    "LayerNormalization": _normalised,
    "LogSoftmax": _along_axis(-1),
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _along_axis(-1),
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
