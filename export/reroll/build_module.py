"""Writes a forward as a graph with a `TimeLoop` for each loop over time."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.capture.loop_call import TimeLoop
from edgernn.export.reroll.detect_loops import Inner, Unrolled, operands
from edgernn.export.reroll.iteration_steps import READ_TOO_EARLY, Gathered, Numbers, Steps
from edgernn.export.reroll.loop_body import Body, make_body
from edgernn.export.reroll.normalize import SYM_SIZE, shape_of
from edgernn.export.reroll.size_expressions import Axis, Size
from edgernn.export.reroll.size_variants import Aligned, Item, NotRolledError, Twins
from edgernn.export.reroll.stacked_iterations import Run, runs
from edgernn.export.reroll.tensor_slices import Parts

__all__ = ["written"]

_STACK, _CAT = torch.ops.aten.stack.default, torch.ops.aten.cat.default


def written(aligned: Aligned, axes: Mapping[str, Axis]) -> tuple[dict[str, Any], fx.Graph]:
    """Return the weights and loops of a forward by name, and its graph.

    Args:
        aligned: The forward.
        axes: The axes whose sizes are numbers in `aligned`, by name.

    Raises:
        NotRolledError: What it does at other sizes cannot be told.
    """
    return _Writer(aligned, axes).written()


class _Writer:
    """See `written`."""

    def __init__(self, aligned: Aligned, axes: Mapping[str, Axis]) -> None:
        self._aligned = aligned
        self._graph = fx.Graph()
        program = aligned.programs[0]
        weights = program.graph.find_nodes(op="get_attr")
        self._weights = {_name(node): program.weight(node) for node in weights}
        inputs = program.inputs
        self._copies = {node: self._graph.placeholder(f"x{n}") for n, node in enumerate(inputs)}
        self._axes = axes
        symbols = {
            name: self._strides(self._copies[inputs[axis.input]], axis)
            for name, axis in axes.items()
        }
        self._parts = Parts(self._graph, symbols)
        self._bodies: dict[int, Body] = {}
        self._loops: dict[str, TimeLoop] = {}
        # by the places of a loop and of an operator in it
        self._last: dict[tuple[int, int], fx.Node] = {}
        self._collected: dict[tuple[int, int], fx.Node] = {}

    def _strides(self, tensor: fx.Node, axis: Axis) -> fx.Node:
        """Return the size of an axis in strides."""
        size = self._graph.call_function(SYM_SIZE, (tensor, axis.axis))
        if axis.shift:
            size = self._graph.call_function(operator.add, (size, axis.shift))
        if axis.stride > 1:
            size = self._graph.call_function(operator.floordiv, (size, axis.stride))
        return size

    def written(self) -> tuple[dict[str, Any], fx.Graph]:
        """Return the parts of the module and its graph."""
        aligned, graph = self._aligned, self._graph
        ends = {_end(loop[0]): number for number, loop in enumerate(aligned.loops)}
        outside = {nodes[0]: nodes for nodes in aligned.outside}
        for node in aligned.programs[0].graph.nodes:
            if node in outside and node not in self._copies:
                self._copies[node] = self._outside(outside[node])
            if node in ends:
                self._loop(ends[node])
        outputs: list[Any] = [program.graph.output_node().args[0] for program in aligned.programs]
        if len({len(one) for one in outputs}) > 1:
            raise NotRolledError("forward returns one tensor for each step")
        graph.output(tuple(self._value(nodes) for nodes in zip(*outputs, strict=True)))
        graph.lint()
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        names = dict.fromkeys(str(node.target) for node in graph.find_nodes(op="get_attr"))
        return {name: self._weights[name] for name in names} | self._loops, graph

    def _outside(self, nodes: Twins) -> fx.Node:
        """Write an operator or a weight that is in no loop."""
        node = nodes[0]
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", _name(node))
        specs = [pytree.tree_structure((one.args, one.kwargs)) for one in nodes]
        if any(spec != specs[0] for spec in specs):
            return self._joined(nodes)
        target: Any = node.target
        leaves = [self._operand(target, ones) for ones in zip(*map(operands, nodes), strict=True)]
        args, kwargs = pytree.tree_unflatten(leaves, specs[0])
        return self._graph.call_function(target, args, kwargs)

    def _operand(self, target: Any, ones: Sequence[Any]) -> Any:
        """Return an operand of `target`, given at all sizes."""
        if isinstance(ones[0], fx.Node):
            return self._value(ones)
        if all(one == ones[0] for one in ones):
            return ones[0]
        if all(type(one) is int for one in ones):
            return self._parts.size(self._aligned.number(ones))
        listed = " or ".join(dict.fromkeys(map(str, ones)))
        raise NotRolledError(f"forward gives `{target}` {listed} at other sizes")

    def _value(self, nodes: Sequence[fx.Node]) -> fx.Node:
        return self._of(self._aligned.value(nodes))

    def _of(self, value: fx.Node | Item) -> fx.Node:
        """Return the node for a value outside of loops, or for an item of a loop."""
        if isinstance(value, fx.Node):
            return self._copies[value]
        last = self._aligned.count(value.loop) - value.iteration == Size(1)
        key = (value.loop, value.place)
        if last and key in self._last:
            return self._last[key]
        return self._parts.step(self._every(*key), -1 if last else value.iteration)

    def _every(self, number: int, place: int) -> fx.Node:
        """Return the results of an operator in all iterations of a loop: (iterations, …)."""
        if place in self._bodies[number].gathered:
            raise NotRolledError(READ_TOO_EARLY)
        return self._collected[number, place]

    def _joined(self, nodes: Twins) -> fx.Node:
        """Write a `stack` or `cat` of what a loop computed in each iteration."""
        node, stacked = nodes[0], nodes[0].target is _STACK
        if node.target not in (_STACK, _CAT):
            raise NotRolledError(f"`{node.target}` takes another number of tensors at other sizes")
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        axis %= len(shape_of(node) or ())
        parts: list[fx.Node] = []
        for one in runs(self._aligned, nodes):
            if isinstance(one, Run):
                parts.append(self._parts.laid(self._run(one), axis, kept=not stacked))
            else:
                value = self._of(one)
                parts.append(self._parts.single(value, axis) if stacked else value)
        return self._parts.joined(parts, axis)

    def _run(self, run: Run) -> fx.Node:
        """Return what consecutive iterations computed: (iterations, …)."""
        every = self._every(run.loop, run.place)
        part = self._parts.span(every, 0, run.low, run.count, self._aligned.count(run.loop))
        return self._parts.turned(part, 0, run.backward)

    def _loop(self, number: int) -> None:
        """Write the call of a loop."""
        aligned, graph = self._aligned, self._graph
        body = self._bodies[number] = make_body(aligned, number, self._used(number))
        count = aligned.count(number)
        name = f"loop{number}"
        self._loops[name] = self._module(body, count)
        values = [self._sequence(steps, count) for steps in body.sequences]
        values += [self._value(self._starts(number, state)) for state in body.states]
        values += [self._of(constant) for constant in body.constants]
        call = graph.call_module(name, tuple(values))
        results = [
            graph.call_function(operator.getitem, (call, place))
            for place in range(len(body.states) + len(body.collected))
        ]
        for state, result in zip(body.states, results, strict=False):
            if isinstance(end := aligned.loops[number][0].carried[state][0], Inner):
                self._last[number, end.place] = result
        for place, result in zip(body.collected, results[len(body.states) :], strict=True):
            gathered = body.gathered.get(place)
            if gathered is None:
                self._collected[number, place] = result
            else:
                starts = self._starts(number, gathered.carried)
                self._last[number, place] = self._gather(gathered, result, starts, count)

    def _module(self, body: Body, count: Size) -> TimeLoop:
        """Return a loop of `count` iterations: as many as one of the axes has, or less."""
        used = body.graph.find_nodes(op="get_attr")
        for node in used:
            node.target = _name(node)
        weights = {str(node.target): self._weights[str(node.target)] for node in used}
        ((along, _),) = count.slopes
        stride = self._axes[along].stride
        return TimeLoop(
            fx.GraphModule(weights, body.graph),
            [getattr(steps, "axis", 0) for steps in body.sequences],
            len(body.states),
            along if stride == 1 else f"{along}_by_{stride}",
            -count.constant,
            any(isinstance(one, Steps) and one.backward for one in body.sequences),
        )

    def _starts(self, number: int, carried: int) -> Twins:
        """Return what the first iteration finds as a carried value, at all sizes."""
        return tuple(loop.carried[carried][1] for loop in self._aligned.loops[number])

    def _used(self, number: int) -> list[int]:
        """Return the places of the operators whose results are used outside, not only the last."""
        used: dict[int, None] = {}
        for size, loop in enumerate(self._aligned.loops[number]):
            ends = {end.place for end, _ in loop.carried if isinstance(end, Inner)}
            own = {node for row in loop.rows for node in row if node is not None}
            for iteration, row in enumerate(loop.rows):
                last = iteration == len(loop.rows) - 1
                for place, node in enumerate(row):
                    if node is None or set(node.users) <= own or (last and place in ends):
                        continue
                    if self._aligned.item(size, node) is not None:
                        used[place] = None
        return list(used)

    def _sequence(self, steps: Steps | Numbers, count: Size) -> fx.Node:
        """Return a tensor with the steps that the iterations take, in their order."""
        if isinstance(steps, Numbers):
            return self._parts.counted(steps, count)
        total: Size | None
        if isinstance(steps.whole, tuple):
            whole, total = self._every(*steps.whole), self._aligned.count(steps.whole[0])
        else:
            whole, total = self._of(steps.whole), self._length(steps.whole, steps.axis)
        low = steps.first - (count - 1) * steps.by if steps.backward else steps.first
        part = self._parts.span(whole, steps.axis, low, count, total, steps.by)
        return self._parts.turned(part, steps.axis, steps.backward)

    def _length(self, whole: fx.Node | Item, axis: int) -> Size | None:
        """Return the size of an axis as far as it is known."""
        if isinstance(whole, Item):
            return None
        sizes = [(shape_of(node) or ())[axis] for node in self._aligned.twins(whole)]
        known = all(isinstance(size, int) for size in sizes)
        return self._aligned.number(sizes) if known else None

    def _gather(self, gathered: Gathered, every: fx.Node, starts: Twins, count: Size) -> fx.Node:
        """Return the whole tensor that a loop has written step by step.

        Args:
            gathered: The tensor.
            every: What the iterations wrote, (iterations, …).
            starts: What was there before, at all sizes.
            count: The number of iterations.
        """
        axis, parts = gathered.axis, self._parts
        shapes = [shape_of(start) or () for start in starts]
        if gathered.kept:
            every = parts.without(every, axis + 1)
        whole = parts.turned(parts.laid(every, axis, kept=False), axis, gathered.backward)
        low = gathered.first - count + 1 if gathered.backward else gathered.first
        if low == Size(0) and count == self._aligned.number([shape[axis] for shape in shapes]):
            return whole
        return parts.written(self._value(starts), axis, low, whole, low + count)


def _end(loop: Unrolled) -> fx.Node:
    """Return the last operator of a loop."""
    return [node for node in loop.rows[-1] if node is not None][-1]


def _name(node: fx.Node) -> str:
    return str(node.target).removeprefix("module.")
