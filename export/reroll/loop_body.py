"""One iteration of a loop as a graph, and what the loop is called with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.reroll.loop_structure import (
    CollectedResults,
    InductionVariable,
    Invariant,
    IterationResult,
    LoopBody,
    PreviousIteration,
    RerollError,
    SameIteration,
    StepInput,
    Varying,
)
from edgernn.export.reroll.size_variants import SizeVariants
from edgernn.export.reroll.stepwise_access import (
    READ_TOO_EARLY,
    collected_input,
    preallocated_outputs,
    step_inputs,
)
from edgernn.export.reroll.torch_operators import SELECT, SYM_SIZE, shape_of, write_size

__all__ = ["build_loop_body"]

_UNSQUEEZE, _CAT = torch.ops.aten.unsqueeze.default, torch.ops.aten.cat.default


def build_loop_body(variants: SizeVariants, loop: int, used: Sequence[int]) -> LoopBody:
    """Return the iteration of a loop; the results of all iterations of `used` are used outside.

    Raises:
        RerollError: What an iteration does depends on more than the sizes show.
    """
    return _LoopBodyBuilder(variants, loop).build(used)


class _LoopBodyBuilder:
    def __init__(self, variants: SizeVariants, loop: int) -> None:
        self._variants = variants
        self._number = loop
        self._loops = variants.loops[loop]
        self._loop = self._loops[0]
        self._preallocated = preallocated_outputs(variants, loop)
        self._graph = fx.Graph()
        self._nodes: dict[Any, fx.Node] = {}
        self._shapes: dict[fx.Node, list[Sequence[Any]]] = {}

    def build(self, used: Sequence[int]) -> LoopBody:
        states = self._states()
        collected = list(dict.fromkeys([*used, *self._preallocated]))
        results: list[Any] = [self._loop.carried[state].end for state in states]
        results += [
            self._operand(index, 1) if index in self._preallocated else SameIteration(index)
            for index in collected
        ]
        operators = self._operators(results)
        values = dict.fromkeys([*results, *(one for own in operators.values() for one in own)])
        steps = [one for one in values if isinstance(one, (StepInput, InductionVariable))]
        sequences = steps or [InductionVariable(sympy.S.Zero, 1)]
        constants = [one for one in values if _is_outer_tensor(one)]
        self._add_placeholders("x", sequences)
        self._add_placeholders("h", [PreviousIteration(state) for state in states])
        self._add_placeholders("k", constants)
        for index, operands in operators.items():
            self._nodes[SameIteration(index)] = self._write(index, operands)
        self._graph.output(tuple(map(self._argument, results)))
        return LoopBody(
            graph=self._graph,
            sequences=tuple(sequences),
            states=tuple(states),
            constants=tuple(constants),
            preallocated=self._preallocated,
            collected=tuple(collected),
        )

    def _states(self) -> list[int]:
        """Return the carried values, by index, that have one shape in all iterations."""
        written = {one.carried for one in self._preallocated.values()}
        states = [index for index in range(len(self._loop.carried)) if index not in written]
        last = len(self._loop.iterations) - 1
        for state in states:
            before, after = (self._loop.carried_into(n, state) for n in (last - 1, last))
            if str(before and shape_of(before)) != str(after and shape_of(after)):
                raise RerollError("what an iteration passes on grows from one to the next")
        return states

    def _operators(self, results: Sequence[Any]) -> dict[int, list[Any]]:
        """Return the operators that the results are computed from, in order, with operands."""
        found: dict[int, list[Any]] = {}
        pending = list(results)
        while pending:
            value = pending.pop()
            if isinstance(value, SameIteration) and value.operator not in found:
                found[value.operator] = self._operands(value.operator)
                pending += found[value.operator]
        return dict(sorted(found.items()))

    def _operands(self, index: int) -> list[Any]:
        """Return the operands of an operator; of one that takes steps, only these."""
        if (steps := step_inputs(self._variants, self._number, index)) is not None:
            return [*steps]
        return [self._operand(index, place) for place in range(len(self._loop.operands[index]))]

    def _operand(self, index: int, place: int) -> Any:
        """Return an operand as it is at any size."""
        found = [loop.operands[index][place] for loop in self._loops]
        first, node = found[0], self._loop.body[index]
        if all(isinstance(one, Invariant) for one in found):
            return self._variants.value([one.node for one in found])
        if isinstance(first, Varying):
            return collected_input(self._variants, self._number, index, place)
        if all(isinstance(one, InductionVariable) for one in found):
            if not _takes_tensor(self._target(index), node, place):
                raise RerollError(f"`{node.target}` takes the number of the iteration")
            return InductionVariable(self._variants.size([n.first for n in found]), first.stride)
        if first in [PreviousIteration(one.carried) for one in self._preallocated.values()]:
            raise RerollError(READ_TOO_EARLY)
        return self._variants.constant(found, "an iteration", node.target)

    def _add_placeholders(self, letter: str, values: Sequence[Any]) -> None:
        for index, value in enumerate(values):
            self._nodes[value] = node = self._graph.placeholder(f"{letter}{index}")
            self._shapes[node] = self._shapes_of(value)

    def _shapes_of(self, value: Any) -> list[Sequence[Any]]:
        """Return the shape of an input at each of the sizes, as far as it is known."""
        nodes: Sequence[fx.Node | None] = ()
        match value:
            case PreviousIteration(index):
                nodes = [loop.carried_into(2, index) for loop in self._loops]
            case fx.Node():
                nodes = self._variants.variants(value)
            case StepInput(source=fx.Node() as source, axis=axis):
                shapes = [shape_of(node) or () for node in self._variants.variants(source)]
                return [(*shape[:axis], *shape[axis + 1 :]) for shape in shapes]
            case StepInput(source=CollectedResults(number, index)):
                nodes = [loop.body[index] for loop in self._variants.loops[number]]
        return [(shape_of(node) if node is not None else None) or () for node in nodes]

    def _write(self, index: int, operands: Sequence[Any]) -> fx.Node:
        node = self._loop.body[index]
        arguments: list[fx.Node] = list(map(self._argument, operands))
        if (steps := step_inputs(self._variants, self._number, index)) is not None:
            axis, parts = steps[0].axis, arguments
            if node.target is not SELECT:
                parts = [self._graph.call_function(_UNSQUEEZE, (one, axis)) for one in arguments]
            return self._graph.call_function(_CAT, (parts, axis)) if len(parts) > 1 else parts[0]
        spec = pytree.tree_structure((node.args, node.kwargs))
        args, kwargs = pytree.tree_unflatten(arguments, spec)
        return self._graph.call_function(self._target(index), args, kwargs)

    def _target(self, index: int) -> Any:
        """Return an operator; of one that takes the iteration's number, its form for tensors."""
        target: Any = self._loop.body[index].target
        counts = any(isinstance(one, InductionVariable) for one in self._loop.operands[index])
        packet = getattr(target, "overloadpacket", None)
        return getattr(packet, "Tensor", target) if counts else target

    def _argument(self, operand: Any) -> Any:
        """Return an operand as a node of the graph, or a constant as it is."""
        if isinstance(operand, sympy.Expr):
            symbols = [one for one in map(sympy.Symbol, self._variants.axes) if operand.has(one)]
            axes = {symbol.name: self._axis_size(symbol) for symbol in symbols}
            return write_size(self._graph, operand, axes)
        if isinstance(operand, fx.Node) and operand not in self._nodes:
            self._nodes[operand] = self._outer(operand)
        return self._nodes.get(operand, operand)

    def _outer(self, node: fx.Node) -> fx.Node:
        """Return a weight, or a size from outside."""
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", node.target)
        for placeholder, shapes in self._shapes.items():
            for axis, size in enumerate(shapes[0] if shapes else ()):
                if str(size) == str(node.meta["val"]):
                    return self._graph.call_function(SYM_SIZE, (placeholder, axis))
        if node.target is SYM_SIZE:
            tensor, own = node.args
            raise RerollError(f"an iteration takes the size of axis {own} of `{tensor}`")
        target: Any = node.target
        return self._graph.call_function(target, fx.map_arg(node.args, self._argument))

    def _axis_size(self, symbol: sympy.Symbol) -> fx.Node:
        """Return the size of a dynamic axis, from an input that has it."""
        for placeholder, shapes in self._shapes.items():
            for axis, sizes in enumerate(zip(*shapes, strict=False)):
                if all(isinstance(size, int) for size in sizes):
                    rest = self._variants.size(sizes) - symbol
                    if rest.is_Integer:
                        found = self._graph.call_function(SYM_SIZE, (placeholder, axis))
                        return self._graph.call_function(operator.sub, (found, int(rest)))
        raise RerollError(f"an iteration takes the size of `{symbol}`")


def _is_outer_tensor(value: Any) -> bool:
    """Return whether an operand is a tensor from outside the loop, and not a weight."""
    node = isinstance(value, fx.Node) and value.op != "get_attr" and shape_of(value) is not None
    return node or isinstance(value, IterationResult)


def _takes_tensor(target: Any, node: fx.Node, index: int) -> bool:
    """Return whether `target`, called as `node` is, takes a tensor as operand `index`."""
    arguments = getattr(getattr(target, "_schema", None), "arguments", ())
    given = zip(arguments, node.args, strict=False)
    owners = [argument for argument, value in given for _ in pytree.tree_leaves(value)]
    return index < len(owners) and isinstance(owners[index].type, torch.TensorType)
