"""Writes a forward as a graph with a `Loop` for each loop over time."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.roll.aligned import Aligned, Item, NotRolledError, Twins
from edgernn.export.roll.body import Body, Gathered, Numbers, Steps, make_body, numbers
from edgernn.export.roll.program import Program
from edgernn.export.roll.sizes import Axis, Size
from edgernn.export.roll.tidy import shape_of
from edgernn.export.roll.unrolled import Inner, Unrolled, operands
from edgernn.export.trace.loop import Loop

__all__ = ["written"]

_ATEN = torch.ops.aten
_END = (1 << 63) - 1


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
        self._axes = axes
        self._graph = fx.Graph()
        self._copies: dict[fx.Node, fx.Node] = {}
        self._symbols: dict[str, fx.Node] = {}
        self._bodies: dict[int, Body] = {}
        self._states: dict[tuple[int, int], fx.Node] = {}
        self._collected: dict[tuple[int, int], fx.Node] = {}
        self._loops: dict[str, Loop] = {}
        self._weights: dict[str, Any] = {}

    def written(self) -> tuple[dict[str, Any], fx.Graph]:
        """Return the parts of the module and its graph."""
        aligned, graph = self._aligned, self._graph
        weights = _weights(aligned.programs[0])
        ends = {self._last(loop[0]): number for number, loop in enumerate(aligned.loops)}
        outside = {nodes[0]: nodes for nodes in aligned.outside}
        for index, placeholder in enumerate(aligned.programs[0].inputs):
            self._copies[placeholder] = graph.placeholder(f"x{index}")
        for name, axis in self._axes.items():
            self._symbols[name] = self._strides(axis)
        for node in aligned.programs[0].graph.nodes:
            if node in outside and node not in self._copies:
                self._copies[node] = self._outside(outside[node])
            if node in ends:
                self._loop(ends[node], weights)
        outputs: list[Any] = [program.graph.output_node().args[0] for program in aligned.programs]
        if len({len(one) for one in outputs}) > 1:
            raise NotRolledError("forward returns one tensor for each step")
        graph.output(tuple(self._value(nodes) for nodes in zip(*outputs, strict=True)))
        graph.lint()
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        names = {node.target for node in graph.nodes if node.op == "get_attr"}
        return {name: weights[name] for name in names} | self._loops, graph

    def _strides(self, axis: Axis) -> fx.Node:
        """Return the size of an axis in strides."""
        node = self._copies[self._aligned.programs[0].inputs[axis.input]]
        size = self._graph.call_function(_ATEN.sym_size.int, (node, axis.axis))
        if axis.shift:
            size = self._graph.call_function(operator.add, (size, axis.shift))
        if axis.stride > 1:
            size = self._graph.call_function(operator.floordiv, (size, axis.stride))
        return size

    def _last(self, loop: Unrolled) -> fx.Node:
        return [node for node in loop.rows[-1] if node is not None][-1]

    def _outside(self, nodes: Twins) -> fx.Node:
        node = nodes[0]
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", _name(node))
        specs = [pytree.tree_structure((one.args, one.kwargs)) for one in nodes]
        if any(spec != specs[0] for spec in specs):
            return self._joined(nodes)
        leaves = [self._operand(ones) for ones in zip(*map(operands, nodes), strict=True)]
        args, kwargs = pytree.tree_unflatten(leaves, specs[0])
        target: Any = node.target
        return self._graph.call_function(target, args, kwargs)

    def _operand(self, ones: Sequence[Any]) -> Any:
        if isinstance(ones[0], fx.Node):
            return self._value(ones)
        if all(one == ones[0] for one in ones):
            return ones[0]
        if all(type(one) is int for one in ones):
            return numbers(self._graph, self._aligned.number(ones), self._symbols)
        raise NotRolledError(f"a number is {', '.join(map(str, ones))} at other sizes")

    def _value(self, nodes: Sequence[fx.Node]) -> fx.Node:
        return self._of(self._aligned.value(nodes))

    def _of(self, value: fx.Node | Item) -> fx.Node:
        """Return the node for a value outside of loops, or for an item of a loop."""
        if isinstance(value, fx.Node):
            return self._copies[value]
        last = self._aligned.count(value.loop) - value.iteration == Size(1)
        key = (value.loop, value.place)
        if last and key in self._states:
            return self._states[key]
        if value.place in self._bodies[value.loop].gathered:
            raise NotRolledError("a tensor is read while it is written step by step")
        index = -1 if last else numbers(self._graph, value.iteration, self._symbols)
        return self._graph.call_function(_ATEN.select.int, (self._collected[key], 0, index))

    def _joined(self, nodes: Twins) -> fx.Node:
        """Write a `stack` or `cat` of what a loop computed in each iteration."""
        target = nodes[0].target
        if target not in (_ATEN.stack.default, _ATEN.cat.default):
            raise NotRolledError(f"`{target}` takes another number of tensors at other sizes")
        axis: Any = nodes[0].args[1] if len(nodes[0].args) > 1 else nodes[0].kwargs.get("dim", 0)
        stacked = target is _ATEN.stack.default
        parts: list[fx.Node] = []
        lists = [self._runs(index, node) for index, node in enumerate(nodes)]
        if len({len(runs) for runs in lists}) > 1:
            raise NotRolledError(f"`{target}` takes another number of tensors at other sizes")
        for runs in zip(*lists, strict=True):
            if all(len(run) == 1 for run in runs):
                one = self._value([run[0] for run in runs])
                new = (one, axis)
                parts.append(
                    self._graph.call_function(_ATEN.unsqueeze.default, new) if stacked else one
                )
            else:
                whole = self._run(runs)
                rank = len(shape_of(runs[0][0]) or ()) + (1 if stacked else 0)
                parts.append(self._laid(whole, axis % rank, kept=not stacked))
        if len(parts) == 1:
            return parts[0]
        return self._graph.call_function(_ATEN.cat.default, (parts, axis))

    def _runs(self, index: int, node: fx.Node) -> list[list[fx.Node]]:
        """Part the tensors that `node` takes: what consecutive iterations computed together."""
        tensors: Any = node.args[0]
        runs: list[list[fx.Node]] = []
        for tensor in tensors:
            previous = runs[-1] if runs else []
            items = [self._aligned.item(index, one) for one in [*previous[-2:], tensor]]
            if len(items) > 1 and _continue(items):
                previous.append(tensor)
            else:
                runs.append([tensor])
        return runs

    def _run(self, runs: Sequence[Sequence[fx.Node]]) -> fx.Node:
        """Return what consecutive iterations computed: (iterations, …)."""
        first = self._aligned.value([run[0] for run in runs])
        last = self._aligned.value([run[-1] for run in runs])
        if not isinstance(first, Item) or not isinstance(last, Item):
            raise NotRolledError("tensors of one loop are stacked in another way at other sizes")
        forward = self._aligned.item(0, runs[0][1])[1] > self._aligned.item(0, runs[0][0])[1]  # type: ignore[index]
        low, high = (first, last) if forward else (last, first)
        whole = self._collected[first.loop, first.place]
        count = self._aligned.count(first.loop)
        if low.iteration != Size(0) or count - high.iteration != Size(1):
            start = numbers(self._graph, low.iteration, self._symbols)
            end = numbers(self._graph, high.iteration - Size(-1), self._symbols)
            whole = self._graph.call_function(_ATEN.slice.Tensor, (whole, 0, start, end))
        if not forward:
            whole = self._graph.call_function(_ATEN.flip.default, (whole, [0]))
        return whole

    def _laid(self, whole: fx.Node, axis: int, kept: bool) -> fx.Node:
        """Move the iterations of (iterations, …) to `axis`, joined with the one there if `kept`."""
        if axis:
            whole = self._graph.call_function(_ATEN.movedim.int, (whole, 0, axis))
        if kept:
            whole = self._graph.call_function(_ATEN.flatten.using_ints, (whole, axis, axis + 1))
        return whole

    def _loop(self, number: int, weights: dict[str, Any]) -> None:
        """Write the call of a loop."""
        aligned, graph = self._aligned, self._graph
        loop = aligned.loops[number][0]
        body = self._bodies[number] = make_body(aligned, number, self._used(number))
        used = body.graph.find_nodes(op="get_attr")
        for node in used:
            node.target = _name(node)
        iteration = fx.GraphModule({node.target: weights[node.target] for node in used}, body.graph)
        count = aligned.count(number)
        if len(count.slopes) != 1 or count.slopes[0][1] != 1:
            raise NotRolledError(f"a loop has {count} iterations")
        backward = any(isinstance(one, Steps) and one.stride < 0 for one in body.sequences)
        name, (along, _) = f"loop{number}", count.slopes[0]
        stride = self._axes[along].stride
        self._loops[name] = Loop(
            iteration,
            [getattr(steps, "axis", 0) for steps in body.sequences],
            len(body.states),
            along if stride == 1 else f"{along}_by_{stride}",
            -count.constant,
            backward,
        )
        values = [self._sequence(steps, count) for steps in body.sequences]
        for state in body.states:
            values.append(self._value([one.carried[state][1] for one in aligned.loops[number]]))
        values += [self._of(constant) for constant in body.constants]
        call = graph.call_module(name, tuple(values))
        results = [
            graph.call_function(operator.getitem, (call, place))
            for place in range(len(body.states) + len(body.collected))
        ]
        for state, result in zip(body.states, results, strict=False):
            if isinstance(end := loop.carried[state][0], Inner):
                self._states[number, end.place] = result
        for place, result in zip(body.collected, results[len(body.states) :], strict=True):
            gathered = body.gathered.get(place)
            if gathered is None:
                self._collected[number, place] = result
            else:
                inits = [one.carried[gathered.carried][1] for one in aligned.loops[number]]
                self._states[number, place] = self._gather(gathered, result, inits, count)

    def _used(self, number: int) -> list[int]:
        """Return the places of the operators whose results all iterations leave to others."""
        loop = self._aligned.loops[number][0]
        ends = {end.place for end, _ in loop.carried if isinstance(end, Inner)}
        own = {node for row in loop.rows for node in row if node is not None}
        used: dict[int, None] = {}
        for iteration, row in enumerate(loop.rows):
            for place, node in enumerate(row):
                if node is None or set(node.users) <= own:
                    continue
                if self._aligned.item(0, node) is None:
                    continue
                if place not in ends or iteration < len(loop.rows) - 1:
                    used[place] = None
        return list(used)

    def _sequence(self, steps: Steps | Numbers, count: Size) -> fx.Node:
        """Return a tensor with the steps that the iterations take, in their order."""
        if isinstance(steps, Numbers):
            return self._numbers(steps, count)
        total: Size | None
        if isinstance(steps.whole, tuple):
            whole = self._collected[steps.whole]
            total = self._aligned.count(steps.whole[0])
        else:
            whole = self._of(steps.whole)
            total = self._length(steps)
        forward, by = steps.stride > 0, abs(steps.stride)
        span = (count - Size(1)) * by
        low = steps.first if forward else steps.first - span
        if low != Size(0) or total != count:
            start = numbers(self._graph, low, self._symbols)
            end = numbers(self._graph, low - (Size(-1) - span), self._symbols)
            part = (whole, steps.axis, start, end, *([by] if by > 1 else []))
            whole = self._graph.call_function(_ATEN.slice.Tensor, part)
        if not forward:
            whole = self._graph.call_function(_ATEN.flip.default, (whole, [steps.axis]))
        return whole

    def _numbers(self, steps: Numbers, count: Size) -> fx.Node:
        graph = self._graph
        found = graph.call_function(
            _ATEN.arange.default, (numbers(graph, count, self._symbols),), {"dtype": torch.int64}
        )
        if steps.stride != 1:
            found = graph.call_function(_ATEN.mul.Tensor, (found, steps.stride))
        if steps.first == Size(0):
            return found
        first = numbers(graph, steps.first, self._symbols)
        return graph.call_function(_ATEN.add.Tensor, (found, first))

    def _length(self, steps: Steps) -> Size | None:
        if not isinstance(steps.whole, fx.Node):
            return None
        shapes = [shape_of(node) or () for node in self._aligned.twins(steps.whole)]
        sizes = [shape[steps.axis] for shape in shapes]
        return self._aligned.number(sizes) if all(isinstance(s, int) for s in sizes) else None

    def _gather(
        self, gathered: Gathered, steps: fx.Node, inits: Sequence[fx.Node], count: Size
    ) -> fx.Node:
        """Return the whole tensor that a loop has written step by step."""
        graph, shape = self._graph, shape_of(inits[0]) or ()
        axis = gathered.axis % len(shape)
        if gathered.kept and gathered.first is not None:
            steps = graph.call_function(_ATEN.squeeze.dim, (steps, axis + 1))
        whole = self._laid(steps, axis, kept=gathered.first is None)
        if gathered.first is None:
            empty = any(size == 0 for size in shape)
            parts = [whole] if empty else [self._value(inits), whole]
        else:
            if abs(gathered.stride) != 1:
                raise NotRolledError(f"a loop writes every {abs(gathered.stride)}th step")
            if gathered.stride < 0:
                whole = graph.call_function(_ATEN.flip.default, (whole, [axis]))
            low = gathered.first
            low = low if gathered.stride > 0 else low - count - Size(-1)
            total = self._aligned.number([(shape_of(init) or ())[axis] for init in inits])
            if low == Size(0) and total == count:
                return whole
            init = self._value(inits)
            start = numbers(graph, low, self._symbols)
            end = numbers(graph, low - (Size(0) - count), self._symbols)
            head = graph.call_function(_ATEN.slice.Tensor, (init, axis, 0, start))
            tail = graph.call_function(_ATEN.slice.Tensor, (init, axis, end, _END))
            parts = [*([] if low == Size(0) else [head]), whole]
            parts += [] if low - (Size(0) - count) == total else [tail]
        return whole if len(parts) == 1 else graph.call_function(_ATEN.cat.default, (parts, axis))


def _continue(items: Sequence[tuple[int, int, int] | None]) -> bool:
    """Return whether the last item is of the iteration next to that of the one before it."""
    if None in items or len({(one[0], one[2]) for one in items if one}) > 1:
        return False
    strides = [b[1] - a[1] for a, b in itertools.pairwise(items) if a and b]
    return strides[-1] in (1, -1) and len(set(strides)) == 1


def _name(node: fx.Node) -> str:
    return str(node.target).removeprefix("module.")


def _weights(program: Program) -> dict[str, Any]:
    """Return the weights by name."""
    found: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "get_attr":
            value: Any = program.root
            for part in str(node.target).split("."):
                value = getattr(value, part)
            found[_name(node)] = value
    return found
