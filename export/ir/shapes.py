"""The shapes of a graph's values, inferred as far as its inputs determine them.

ONNX infers node by node. What it leaves open and a step graph needs is added: the outputs of
`edgernn::LSTM`, and sizes that the graph computes from other shapes:

    x (batch, 1, 6) → Shape → Gather 0 → Concat with 6 → Reshape of x → (batch, 6)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript import optimizer

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import EDGERNN, RUNNING, Movement, operators_of
from edgernn.export.ir.recurrent_operators import LSTM, Input

__all__ = ["Dim", "Shape", "infer_shapes", "known_shape", "refine_shapes", "shape_of"]

Dim = int | str | None
"""A size, the symbol of a dynamic axis, or None where nothing is known."""
Shape = tuple[Dim, ...]

_FOLD_LIMIT = 1 << 26
"""Elements up to which arithmetic on constants is computed."""


def shape_of(value: ir.Value | None) -> Shape | None:
    """Return the shape of `value`, or None where not even the rank is known."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def known_shape(value: ir.Value | None) -> Shape:
    """Return the shape of a value whose rank is known."""
    shape = shape_of(value)
    assert shape is not None
    return shape


def infer_shapes(model: ir.Model) -> None:
    """Infer every shape again from the graph's inputs, in place, and fold what becomes constant.

    Sizes that the graph computes become constants where the shapes determine them.
    """
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    refine_shapes(model)


def refine_shapes(model: ir.Model) -> None:
    """Infer the shapes that are unknown, in place, and fold what becomes constant."""
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    while True:
        optimizer.fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=_FOLD_LIMIT,
            output_size_limit=_FOLD_LIMIT,
        )
        passes.RemoveUnusedNodesPass()(model)
        if sum(_apply_rule(node) for node in model.graph) == 0:
            break
    computed = [value for node in model.graph for value in node.outputs]
    for value in [*model.graph.initializers.values(), *computed]:
        value.metadata_props.pop(optimizer.FOLDED_FROM_KEY, None)


def _apply_rule(node: ir.Node) -> bool:
    """Infer the outputs of a node that has a rule; return whether more is known than before."""
    rule = _RULES.get((node.domain, node.op_type))
    if rule is None:
        return False
    more = False
    for value, shape in zip(node.outputs, rule(node), strict=False):
        before = shape_of(value)
        if shape is not None and (before is None or before.count(None) > shape.count(None)):
            value.shape = ir.Shape(shape)
            if value.type is None and node.inputs[0] is not None:
                value.type = node.inputs[0].type
            more = True
    return more


def _projected_lstm(node: ir.Node) -> Sequence[Shape | None]:
    places = (Input.X, Input.R, Input.INITIAL_H, Input.INITIAL_C)
    x, r, h0, c0 = (shape_of(node.inputs[place]) for place in places)
    if x is None or r is None or h0 is None or c0 is None:
        return (None, None, None)
    return ((x[0], r[0], x[1], r[2]), (r[0], x[1], r[2]), (r[0], x[1], c0[2]))


def _reshape(node: ir.Node) -> Sequence[Shape | None]:
    before, target = shape_of(node.inputs[0]), _elements(node.inputs[1])
    if before is None or target is None:
        return (None,)
    copies = node.attributes.get_int("allowzero", 0) == 0
    if copies and 0 in target[len(before) :]:  # no such axis: of a sequence without steps
        return (None,)
    shape = [before[i] if size == 0 and copies else size for i, size in enumerate(target)]
    shape = [None if size == -1 else size for size in shape]
    if shape.count(None) == 1:
        shape[shape.index(None)] = _quotient(before, [size for size in shape if size is not None])
    _make_target_constant(node, before, shape)
    return (tuple(shape),)


def _expand(node: ir.Node) -> Sequence[Shape | None]:
    before, target = shape_of(node.inputs[0]), _elements(node.inputs[1])
    if before is None or target is None:
        return (None,)
    rank = max(len(before), len(target))
    widened = [[1] * (rank - len(shape)) + [*shape] for shape in (before, target)]
    return (tuple(size if kept == 1 else kept for kept, size in zip(*widened, strict=True)),)


def _quotient(whole: Sequence[Dim], part: Sequence[Dim]) -> Dim:
    """Return the size that `part` lacks to hold as many elements as `whole`."""
    if None in whole:
        return None
    symbols = Counter(size for size in whole if isinstance(size, str))
    taken = Counter(size for size in part if isinstance(size, str))
    if taken - symbols:
        return None
    factor = math.prod(size for size in whole if isinstance(size, int))
    divisor = math.prod(size for size in part if isinstance(size, int))
    if divisor == 0 or factor % divisor:
        return None
    rest = sorted((symbols - taken).elements())
    if not rest:
        return factor // divisor
    return "*".join(rest if factor == divisor else [str(factor // divisor), *rest])


def _make_target_constant(node: ir.Node, before: Sequence[Dim], shape: Sequence[Dim]) -> None:
    """Make the shape operand of a Reshape a constant where at most one size is unknown."""
    if constant_of(node.inputs[1]) is not None or not isinstance(node.graph, ir.Graph):
        return
    same = [dim is not None and dim in before[i : i + 1] for i, dim in enumerate(shape)]
    target = [0 if copied else dim for copied, dim in zip(same, shape, strict=True)]
    target = [dim if isinstance(dim, int) else -1 for dim in target]
    if target.count(-1) <= 1:
        builder = NodeBuilder(node.graph, node)
        size = builder.constant(f"{node.outputs[0].name}_shape", np.array(target, np.int64))
        node.replace_input_with(1, size)
        node.attributes.pop("allowzero", None)


def _elements(value: ir.Value | None) -> list[Dim] | None:
    """Return the elements of an integer vector or scalar, None for each that is not known."""
    array = constant_of(value)
    if array is not None:
        return [int(element) for element in array.ravel()]
    node = None if value is None else value.producer()
    rule = _ELEMENTS.get(node.op_type) if node is not None and node.domain == "" else None
    return None if node is None or rule is None else rule(node)


def _elements_of_shape(node: ir.Node) -> list[Dim] | None:
    shape = shape_of(node.inputs[0])
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end")
    return None if shape is None else list(shape[start:end])


def _elements_of_gather(node: ir.Node) -> list[Dim] | None:
    data, indices = _elements(node.inputs[0]), _elements(node.inputs[1])
    if data is None or indices is None:
        return None
    return [data[index] if isinstance(index, int) else None for index in indices]


def _elements_of_slice(node: ir.Node) -> list[Dim] | None:
    data = _elements(node.inputs[0])
    bounds = [constant_of(value) for value in (*node.inputs[1:3], *node.inputs[4:5])]
    if data is None or any(bound is None or bound.size != 1 for bound in bounds):
        return None
    start, end, *step = [int(bound.item()) for bound in bounds if bound is not None]
    return data[slice(start, end, *step)]


def _elements_of_concat(node: ir.Node) -> list[Dim] | None:
    parts = [_elements(value) for value in node.inputs]
    return None if None in parts else [size for part in parts if part for size in part]


def _elements_of_product(node: ir.Node) -> list[Dim] | None:
    factors = [_elements(value) for value in node.inputs]
    if any(factor is None or len(factor) != 1 for factor in factors):
        return None
    return [_quotient([size for factor in factors if factor for size in factor], [])]


_RULES: dict[tuple[str, str], Callable[[ir.Node], Sequence[Shape | None]]] = {
    (EDGERNN, LSTM.operator): _projected_lstm,
    (EDGERNN, RUNNING): lambda node: (shape_of(node.inputs[0]),),
    ("", "Reshape"): _reshape,
    ("", "Expand"): _expand,
}

_ELEMENTS: dict[str, Callable[[ir.Node], list[Dim] | None]] = {
    "Shape": _elements_of_shape,
    "Gather": _elements_of_gather,
    "Slice": _elements_of_slice,
    "Concat": _elements_of_concat,
    "Mul": _elements_of_product,
    **dict.fromkeys(
        ("Cast", *operators_of(Movement.RESHAPES)), lambda node: _elements(node.inputs[0])
    ),
}
