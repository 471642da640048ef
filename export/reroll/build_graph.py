"""Builds the graph of a forward at any size, with one call for each loop over time."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.capture.loop_call import TimeLoop
from edgernn.export.reroll.loop_body import build_loop_body
from edgernn.export.reroll.loop_structure import (
    CollectedResults,
    DynamicAxis,
    InductionVariable,
    IterationResult,
    LoopBody,
    NodeVariants,
    PreallocatedOutput,
    RerollError,
    SameIteration,
    StepInput,
)
from edgernn.export.reroll.size_variants import SizeVariants, weight_of
from edgernn.export.reroll.stepwise_access import READ_TOO_EARLY, IterationRange, group_iterations
from edgernn.export.reroll.torch_operators import SYM_SIZE, StepOperators, operands_of, shape_of

__all__ = ["build_graph"]

_ATEN = torch.ops.aten
_STACK, _CAT = _ATEN.stack.default, _ATEN.cat.default


def build_graph(
    variants: SizeVariants, axes: Mapping[str, DynamicAxis]
) -> tuple[dict[str, Any], fx.Graph]:
    """Return the weights and loops of a forward by name, and its graph.

    Raises:
        RerollError: The sizes in `variants` do not determine what it does at others.
    """
    return _GraphBuilder(variants, axes).build()


class _GraphBuilder:
    def __init__(self, variants: SizeVariants, axes: Mapping[str, DynamicAxis]) -> None:
        self._variants = variants
        self._axes = axes
        self._graph = fx.Graph()
        module = variants.modules[0]
        weights = module.graph.find_nodes(op="get_attr")
        self._weights = {_weight_name(node): weight_of(module, node) for node in weights}
        inputs = module.graph.find_nodes(op="placeholder")
        self._nodes = {node: self._graph.placeholder(f"x{n}") for n, node in enumerate(inputs)}
        tensors = list(self._nodes.values())
        sizes = {name: self._axis_size(tensors[axis.input], axis) for name, axis in axes.items()}
        self._steps = StepOperators(self._graph, sizes)
        self._loops: dict[str, TimeLoop] = {}
        self._last: dict[CollectedResults, fx.Node] = {}
        self._collected: dict[CollectedResults, fx.Node] = {}

    def _axis_size(self, tensor: fx.Node, axis: DynamicAxis) -> fx.Node:
        """Return the size of an axis in iterations."""
        size = self._graph.call_function(SYM_SIZE, (tensor, axis.axis))
        if axis.offset:
            size = self._graph.call_function(operator.add, (size, axis.offset))
        if axis.stride > 1:
            size = self._graph.call_function(operator.floordiv, (size, axis.stride))
        return size

    def build(self) -> tuple[dict[str, Any], fx.Graph]:
        variants, graph = self._variants, self._graph
        ends = {[*loop[0].positions][-1]: number for number, loop in enumerate(variants.loops)}
        outside = {nodes[0]: nodes for nodes in variants.outside}
        for node in variants.modules[0].graph.nodes:
            if node in outside and node not in self._nodes:
                self._nodes[node] = self._write(outside[node])
            if node in ends:
                self._write_loop(ends[node])
        outputs: list[Any] = [module.graph.output_node().args[0] for module in variants.modules]
        if len({len(one) for one in outputs}) > 1:
            raise RerollError("forward returns one tensor for each step")
        graph.output(tuple(self._node(nodes) for nodes in zip(*outputs, strict=True)))
        graph.lint()
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        names = dict.fromkeys(str(node.target) for node in graph.find_nodes(op="get_attr"))
        return {name: self._weights[name] for name in names} | self._loops, graph

    def _write(self, nodes: NodeVariants) -> fx.Node:
        """Write an operator or a weight outside of loops."""
        node = nodes[0]
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", _weight_name(node))
        specs = [pytree.tree_structure((one.args, one.kwargs)) for one in nodes]
        if any(spec != specs[0] for spec in specs):
            return self._write_joined(nodes)
        target: Any = node.target
        operands = zip(*map(operands_of, nodes), strict=True)
        args, kwargs = pytree.tree_unflatten([self._operand(target, o) for o in operands], specs[0])
        return self._graph.call_function(target, args, kwargs)

    def _operand(self, target: Any, values: Sequence[Any]) -> Any:
        """Return an operand of `target`, given at all sizes."""
        if isinstance(values[0], fx.Node):
            return self._node(values)
        value = self._variants.constant(values, "forward", target)
        return self._steps.size(value) if isinstance(value, sympy.Expr) else value

    def _node(self, nodes: Sequence[fx.Node]) -> fx.Node:
        return self._node_of(self._variants.value(nodes))

    def _node_of(self, value: fx.Node | IterationResult) -> fx.Node:
        """Return the node for a value outside of loops, or for a loop's result."""
        if isinstance(value, fx.Node):
            return self._nodes[value]
        is_last = self._variants.iteration_count(value.loop) - value.iteration == 1
        source = CollectedResults(value.loop, value.operator)
        if is_last and source in self._last:
            return self._last[source]
        return self._steps.select(self._all_results(source), -1 if is_last else value.iteration)

    def _all_results(self, source: CollectedResults) -> fx.Node:
        """Return the results of an operator in all iterations: (iterations, …)."""
        if source not in self._collected:
            raise RerollError(READ_TOO_EARLY)
        return self._collected[source]

    def _write_joined(self, nodes: NodeVariants) -> fx.Node:
        """Write a `stack` or `cat` of what a loop computed in each iteration."""
        node, stacked = nodes[0], nodes[0].target is _STACK
        if node.target not in (_STACK, _CAT):
            raise RerollError(
                f"the number of tensors that `{node.target}` takes depends on the sizes"
            )
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        axis %= len(shape_of(node) or ())
        parts: list[fx.Node] = []
        for one in group_iterations(self._variants, nodes):
            if isinstance(one, IterationRange):
                part = self._steps.move_first_axis(self._results(one), axis, flatten=not stacked)
            else:
                part = self._node_of(one)
                if stacked:
                    part = self._graph.call_function(_ATEN.unsqueeze.default, (part, axis))
            parts.append(part)
        return self._steps.concatenate(parts, axis)

    def _results(self, part: IterationRange) -> fx.Node:
        """Return what consecutive iterations computed: (iterations, …)."""
        results = self._all_results(CollectedResults(part.loop, part.operator))
        total = self._variants.iteration_count(part.loop)
        results = self._steps.slice(results, 0, part.first, part.count, total)
        return self._steps.reverse(results, 0) if part.backward else results

    def _write_loop(self, number: int) -> None:
        variants, graph = self._variants, self._graph
        body = build_loop_body(variants, number, self._used(number))
        count = variants.iteration_count(number)
        name = f"loop{number}"
        self._loops[name] = self._loop_module(body, count)
        values = [self._sequence(steps, count) for steps in body.sequences]
        values += [self._node(self._starts(number, state)) for state in body.states]
        values += [self._node_of(constant) for constant in body.constants]
        call = graph.call_module(name, tuple(values))
        results = [
            graph.call_function(operator.getitem, (call, index))
            for index in range(len(body.states) + len(body.collected))
        ]
        for state, result in zip(body.states, results, strict=False):
            if isinstance(end := variants.loops[number][0].carried[state].end, SameIteration):
                self._last[CollectedResults(number, end.operator)] = result
        for index, result in zip(body.collected, results[len(body.states) :], strict=True):
            source, output = CollectedResults(number, index), body.preallocated.get(index)
            if output is None:
                self._collected[source] = result
            else:
                starts = self._starts(number, output.carried)
                self._last[source] = self._written_tensor(output, result, starts, count)

    def _loop_module(self, body: LoopBody, count: sympy.Expr) -> TimeLoop:
        """Return a loop of `count` iterations: as many as one of the axes has, or fewer."""
        used = body.graph.find_nodes(op="get_attr")
        for node in used:
            node.target = _weight_name(node)
        weights = {str(node.target): self._weights[str(node.target)] for node in used}
        (symbol,) = count.free_symbols
        stride = self._axes[str(symbol)].stride
        return TimeLoop(
            body=fx.GraphModule(weights, body.graph),
            axes=[one.axis if isinstance(one, StepInput) else 0 for one in body.sequences],
            states=len(body.states),
            along=str(symbol) if stride == 1 else f"{symbol}_by_{stride}",
            lag=int(symbol - count),
            backward=any(isinstance(one, StepInput) and one.backward for one in body.sequences),
        )

    def _starts(self, number: int, carried: int) -> NodeVariants:
        """Return what the first iteration takes as a carried value, at all sizes."""
        return tuple(loop.carried[carried].start for loop in self._variants.loops[number])

    def _used(self, number: int) -> list[int]:
        """Return the operators, by index, whose results are used outside, not only the last."""
        used: dict[int, None] = {}
        for variant, loop in enumerate(self._variants.loops[number]):
            last = len(loop.iterations) - 1
            ends = {end.operator for end, _ in loop.carried if isinstance(end, SameIteration)}
            for node, (iteration, index) in loop.positions.items():
                inside = loop.positions.keys() >= set(node.users)
                if inside or (iteration == last and index in ends):
                    continue
                if self._variants.position(variant, node) is not None:
                    used[index] = None
        return list(used)

    def _sequence(self, steps: StepInput | InductionVariable, count: sympy.Expr) -> fx.Node:
        """Return a tensor with the steps that the iterations take, in their order."""
        if isinstance(steps, InductionVariable):
            return self._steps.count(steps, count)
        first, axis, stride = steps.first, steps.axis, steps.stride
        total = None
        if isinstance(steps.source, CollectedResults):
            source = self._all_results(steps.source)
            total = self._variants.iteration_count(steps.source.loop)
        else:
            source = self._node_of(steps.source)
            if isinstance(steps.source, fx.Node):
                total = self._length(self._variants.variants(steps.source), axis)
        if steps.backward:
            first = first - (count - 1) * stride
        part = self._steps.slice(source, axis, first, count, total, stride)
        return self._steps.reverse(part, axis) if steps.backward else part

    def _length(self, nodes: NodeVariants, axis: int) -> sympy.Expr | None:
        """Return the size of an axis as far as it is known."""
        sizes = [(shape_of(node) or ())[axis] for node in nodes]
        known = all(isinstance(size, int) for size in sizes)
        return self._variants.size(sizes) if known else None

    def _written_tensor(
        self, output: PreallocatedOutput, steps: fx.Node, starts: NodeVariants, count: sympy.Expr
    ) -> fx.Node:
        """Return the tensor that a loop has written step by step.

        `steps` is what the `count` iterations wrote, (iterations, …); `starts` is the tensor before
        the loop, at all sizes.
        """
        axis, first = output.axis, output.first
        if output.keeps_axis:
            steps = self._graph.call_function(_ATEN.squeeze.dim, (steps, axis + 1))
        steps = self._steps.move_first_axis(steps, axis, flatten=False)
        if output.backward:
            first = first - count + 1
            steps = self._steps.reverse(steps, axis)
        if first == 0 and count == self._length(starts, axis):
            return steps
        return self._steps.overwrite(self._node(starts), axis, first, steps, first + count)


def _weight_name(node: fx.Node) -> str:
    return str(node.target).removeprefix("module.")
