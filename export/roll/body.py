"""One iteration of a loop as a graph, and what the loop is called with."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.roll.aligned import Aligned, Item, NotRolledError
from edgernn.export.roll.sizes import Size
from edgernn.export.roll.tidy import SELECT, SLICE, shape_of
from edgernn.export.roll.unrolled import Along, Carried, Inner, Outer, Places, operands

__all__ = ["Body", "Gathered", "Numbers", "Steps", "make_body", "numbers"]

_ATEN = torch.ops.aten
SYM_SIZE = _ATEN.sym_size.int


@dataclass(frozen=True)
class Steps:
    """What each iteration takes one step of.

    Attributes:
        whole: A tensor; or, of another loop, its place and that of the operator whose results are
            collected.
        axis: The axis of the steps.
        first: The step that the first iteration takes.
        stride: How many steps further the next iteration is; negative backward.
    """

    whole: fx.Node | Item | tuple[int, int]
    axis: int
    first: Size
    stride: int


@dataclass(frozen=True)
class Numbers:
    """A whole number that each iteration takes.

    Attributes:
        first: That of the first iteration.
        stride: How much larger that of the next iteration is.
    """

    first: Size
    stride: int


@dataclass(frozen=True)
class Gathered:
    """A tensor that each iteration writes one step of, or puts one more step behind.

    Attributes:
        carried: Its place among the carried values.
        axis: The axis of the steps.
        first: The step that the first iteration writes; None where it is put behind the others.
        stride: How many steps further the next iteration writes.
        kept: Whether what is written has the axis.
    """

    carried: int
    axis: int
    first: Size | None
    stride: int
    kept: bool


@dataclass(frozen=True)
class Body:
    """One iteration of a loop.

    Attributes:
        graph: Takes a step of each of `sequences`, the `states` and the `constants`; returns the
            next states and what is collected.
        sequences: What is taken one step of; at least one, if only to count the iterations.
        states: The places of the states among the carried values.
        constants: What all iterations take alike.
        gathered: Place of the operator that writes it → a carried value that is no state.
        collected: The places of the operators whose results are collected; of one that writes,
            what it writes.
    """

    graph: fx.Graph
    sequences: tuple[Steps | Numbers, ...]
    states: tuple[int, ...]
    constants: tuple[fx.Node | Item, ...]
    gathered: dict[int, Gathered]
    collected: tuple[int, ...]


def make_body(aligned: Aligned, number: int, used: Sequence[int]) -> Body:
    """Return the iteration of a loop.

    Args:
        aligned: The forward.
        number: The place of the loop.
        used: The places of the operators whose results are used outside, of all iterations.

    Raises:
        NotRolledError: It cannot be told what an iteration does.
    """
    return _Maker(aligned, number).body(used)


def numbers(graph: fx.Graph, size: Size, symbols: dict[str, fx.Node]) -> Any:
    """Return `size` as an argument of a node in `graph`, from the sizes of the dynamic axes."""
    total: Any = size.constant
    for name, slope in size.slopes:
        part: Any = symbols[name]
        if slope != 1:
            part = graph.call_function(operator.mul, (part, slope))
        total = part if total == 0 else graph.call_function(operator.add, (part, total))
    return total


_WRITING = {
    _ATEN.select_scatter.default: (2, False),
    _ATEN.slice_scatter.default: (2, True),
}
"""What writes a part of a tensor → the operand that is the axis, and whether the part has it."""


class _Maker:
    def __init__(self, aligned: Aligned, number: int) -> None:
        self._aligned = aligned
        self._loops = aligned.loops[number]
        self._loop = self._loops[0]
        self._gathered = dict(self._find_gathered())
        self._graph = fx.Graph()
        self._placeholders: dict[Any, fx.Node] = {}
        self._shapes: dict[fx.Node, list[Sequence[Any]]] = {}
        self._values: dict[int, fx.Node] = {}
        self._made: dict[Any, fx.Node] = {}

    def body(self, used: Sequence[int]) -> Body:
        """Return the iteration; see `make_body`."""
        ends, gathered = [end for end, _ in self._loop.carried], self._gathered
        taken = {one.carried for one in gathered.values()}
        states = [place for place in range(len(ends)) if place not in taken]
        collected = list(dict.fromkeys([*used, *gathered]))
        results: list[Any] = [ends[state] for state in states]
        results += [
            self._resolved(place, 1) if place in gathered else Inner(place) for place in collected
        ]
        needed = self._needed(results)
        operands_ = [*results, *(one for place in needed for one in self._operands(place))]
        taken_along = [one for one in operands_ if isinstance(one, (Steps, Numbers))]
        sequences = list(dict.fromkeys(taken_along)) or [Numbers(Size(0), 1)]
        constants = [one for one in dict.fromkeys(operands_) if self._is_constant(one)]
        for name, keys in (
            ("x", sequences),
            ("h", [Carried(state) for state in states]),
            ("k", constants),
        ):
            for index, key in enumerate(keys):
                self._placeholders[key] = node = self._graph.placeholder(f"{name}{index}")
                self._shapes[node] = self._sizes_of(key)
        for place in needed:
            self._emit(place)
        self._graph.output(tuple(map(self._argument, results)))
        return Body(
            self._graph,
            tuple(sequences),
            tuple(states),
            tuple(constants),
            gathered,
            tuple(collected),
        )

    def _find_gathered(self) -> Iterator[tuple[int, Gathered]]:
        every = [*(form for one in self._loop.forms for form in one)]
        every += [end for end, _ in self._loop.carried]
        for carried, (end, _) in enumerate(self._loop.carried):
            if isinstance(end, Carried):
                continue
            place = end.place
            node, forms = self._loop.body[place], self._loop.forms[place]
            if every.count(Carried(carried)) != 1 or forms[0] != Carried(carried):
                continue
            if node.target in _WRITING and isinstance(forms[3], Places):
                axis, kept = _WRITING[node.target]
                first = self._first(place, 3)
                yield place, Gathered(carried, forms[axis], first, forms[3].step, kept)
            elif node.target is _ATEN.cat.default and len(node.all_input_nodes) == 2:
                axis = forms[2] if len(forms) > 2 else 0
                yield place, Gathered(carried, axis, None, 1, True)

    def _first(self, place: int, index: int) -> Size:
        return self._aligned.number([loop.forms[place][index].first for loop in self._loops])

    def _needed(self, results: Sequence[Any]) -> list[int]:
        """Return the places of the operators that the results are computed from."""
        needed: set[int] = set()
        pending = [one.place for one in results if isinstance(one, Inner)]
        while pending:
            place = pending.pop()
            if place not in needed:
                needed.add(place)
                pending += [o.place for o in self._operands(place) if isinstance(o, Inner)]
        return sorted(needed)

    def _operands(self, place: int) -> list[Any]:
        """Return the operands of an operator; of one that takes steps, these alone."""
        steps = self._steps(place)
        if steps:
            return [*steps]
        return [self._resolved(place, index) for index in range(len(self._loop.forms[place]))]

    def _steps(self, place: int) -> list[Steps]:
        """Return the steps that an operator takes, if it does nothing else."""
        target, forms = self._loop.body[place].target, self._loop.forms[place]
        if target not in (SELECT, SLICE) or not isinstance(forms[0], Outer):
            return []
        if len(forms) < 3 or not isinstance(forms[2], Places):
            return []
        axis, stride, width = forms[1], forms[2].step, 1
        if target is SLICE:
            if len(forms) != 4 or not isinstance(forms[3], Places) or forms[3].step != stride:
                return []
            width = forms[3].first - forms[2].first
        whole = self._aligned.value([loop.forms[place][0].node for loop in self._loops])
        firsts = []
        for loop in self._loops:
            first = loop.forms[place][2].first
            shape = shape_of(loop.forms[place][0].node)
            firsts.append(first if first >= 0 or shape is None else first + shape[axis])
        start = self._aligned.number(firsts)
        return [Steps(whole, axis, start - Size(-offset), stride) for offset in range(width)]

    def _resolved(self, place: int, index: int) -> Any:
        """Return an operand as it is at any size."""
        forms = [loop.forms[place][index] for loop in self._loops]
        form = forms[0]
        if isinstance(form, Outer):
            return self._aligned.value([one.node for one in forms])
        if isinstance(form, Along):
            return self._along(place, index)
        if isinstance(form, Places):
            target = self._target(place)
            if not _takes_tensor(target, self._loop.body[place], index):
                raise NotRolledError(f"`{target}` takes the number of the iteration")
            return Numbers(self._first(place, index), form.step)
        if isinstance(form, Carried) and form.place in {g.carried for g in self._gathered.values()}:
            raise NotRolledError("a tensor is read while it is written step by step")
        if type(form) is int and len(set(forms)) > 1:
            return self._aligned.number(forms)
        if any(one != form for one in forms):
            raise NotRolledError(f"`{self._loop.body[place].target}` takes {forms}")
        return form

    def _target(self, place: int) -> Any:
        """Return an operator; of one that takes the iteration's number, its form for tensors."""
        target: Any = self._loop.body[place].target
        moving = any(isinstance(form, Places) for form in self._loop.forms[place])
        return getattr(target.overloadpacket, "Tensor", target) if moving else target

    def _along(self, place: int, index: int) -> Steps:
        """Return the results of another loop of which each iteration takes one."""
        found: list[tuple[int, int, int, int]] = []
        for size, loop in enumerate(self._loops):
            taken = [operands(node)[index] for row in loop.rows if (node := row[place]) is not None]
            items = [self._aligned.item(size, node) for node in taken]
            if None in items:
                raise NotRolledError(f"`{taken[0].name}` is another value in each iteration")
            loops, iterations, places = zip(*items, strict=True)
            strides = {b - a for a, b in itertools.pairwise(iterations)}
            if len(set(loops)) > 1 or len(set(places)) > 1 or len(strides) > 1:
                raise NotRolledError(f"`{taken[0].name}` is another value in each iteration")
            found.append((loops[0], places[0], strides.pop(), iterations[0]))
        if len({one[:3] for one in found}) > 1:
            raise NotRolledError("forward takes another way at other sizes")
        number, source, stride, _ = found[0]
        return Steps((number, source), 0, self._aligned.number([one[3] for one in found]), stride)

    def _is_constant(self, key: Any) -> bool:
        if isinstance(key, Item):
            return True
        return isinstance(key, fx.Node) and key.op != "get_attr" and shape_of(key) is not None

    def _sizes_of(self, key: Any) -> list[Sequence[Any]]:
        """Return the shape of a placeholder at each of the sizes, as far as it is known."""
        if isinstance(key, Carried):
            ends = [loop.carried_at(2, key) for loop in self._loops]
        elif isinstance(key, fx.Node):
            ends = list(self._aligned.twins(key))
        elif isinstance(key, Steps) and isinstance(key.whole, fx.Node):
            shapes = [shape_of(node) or () for node in self._aligned.twins(key.whole)]
            return [(*shape[: key.axis], *shape[key.axis + 1 :]) for shape in shapes]
        elif isinstance(key, Steps) and isinstance(key.whole, tuple):
            number, place = key.whole
            ends = [loop.rows[0][place] for loop in self._aligned.loops[number]]
        else:
            return []
        return [(shape_of(node) if node is not None else None) or () for node in ends]

    def _emit(self, place: int) -> None:
        node, steps = self._loop.body[place], self._steps(place)
        if not steps:
            leaves = [self._argument(one) for one in self._operands(place)]
            spec = pytree.tree_structure((node.args, node.kwargs))
            args, kwargs = pytree.tree_unflatten(leaves, spec)
            self._values[place] = self._graph.call_function(self._target(place), args, kwargs)
        elif node.target is SELECT:
            self._values[place] = self._placeholders[steps[0]]
        else:
            parts = [
                self._graph.call_function(
                    _ATEN.unsqueeze.default, (self._placeholders[one], one.axis)
                )
                for one in steps
            ]
            self._values[place] = (
                parts[0]
                if len(parts) == 1
                else self._graph.call_function(_ATEN.cat.default, (parts, steps[0].axis))
            )

    def _argument(self, operand: Any) -> Any:
        """Return an operand as a node of the graph or as it is."""
        if isinstance(operand, Inner):
            return self._values[operand.place]
        if isinstance(operand, Size):
            symbols = {name: self._axis(name) for name, _ in operand.slopes}
            return numbers(self._graph, operand, symbols)
        if not isinstance(operand, (Carried, Steps, Numbers, Item, fx.Node)):
            return operand
        if operand not in self._placeholders and isinstance(operand, fx.Node):
            if operand not in self._made:
                self._made[operand] = self._outer(operand)
            return self._made[operand]
        return self._placeholders[operand]

    def _outer(self, node: fx.Node) -> fx.Node:
        """Return a weight, or a size from outside."""
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", node.target)
        for placeholder, shapes in self._shapes.items():
            for axis, size in enumerate(shapes[0] if shapes else ()):
                if str(size) == str(node.meta["val"]):
                    return self._graph.call_function(SYM_SIZE, (placeholder, axis))
        if node.target is SYM_SIZE:
            raise NotRolledError(f"an iteration takes the size of {node.args}")
        args = fx.map_arg(node.args, self._argument)
        target: Any = node.target
        return self._graph.call_function(target, args)

    def _axis(self, name: str) -> fx.Node:
        """Return the size of a dynamic axis."""
        for placeholder, shapes in self._shapes.items():
            for axis, sizes in enumerate(zip(*shapes, strict=False)):
                if all(isinstance(size, int) for size in sizes) and len(sizes) == len(self._loops):
                    size = self._aligned.number(sizes)
                    if size.slopes == ((name, 1),):
                        found = self._graph.call_function(SYM_SIZE, (placeholder, axis))
                        return self._graph.call_function(operator.sub, (found, size.constant))
        raise NotRolledError(f"an iteration takes the size of `{name}`")


def _takes_tensor(target: Any, node: fx.Node, index: int) -> bool:
    """Return whether an operand, by its place among all, may be a tensor."""
    plain = not any(isinstance(one, (list, tuple)) for one in node.args[: index + 1])
    if index >= len(node.args) or not plain:
        return False
    return isinstance(target._schema.arguments[index].type, torch.TensorType)
