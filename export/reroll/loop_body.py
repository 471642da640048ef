"""One iteration of a loop as a graph, and what the loop is called with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.reroll.detect_loops import Along, Carried, Inner, Outer, Places
from edgernn.export.reroll.iteration_steps import (
    READ_TOO_EARLY,
    Gathered,
    Numbers,
    Steps,
    results_taken,
    step_taken,
    tensors_gathered,
)
from edgernn.export.reroll.normalize import SELECT, SYM_SIZE, shape_of
from edgernn.export.reroll.size_expressions import Size, size_node
from edgernn.export.reroll.size_variants import Aligned, Item, NotRolledError

__all__ = ["Body", "make_body"]

_UNSQUEEZE, _CAT = torch.ops.aten.unsqueeze.default, torch.ops.aten.cat.default


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


class _Maker:
    """See `make_body`."""

    def __init__(self, aligned: Aligned, number: int) -> None:
        self._aligned = aligned
        self._number = number
        self._loops = aligned.loops[number]
        self._loop = self._loops[0]
        self._gathered = tensors_gathered(aligned, number)
        self._graph = fx.Graph()
        self._placeholders: dict[Any, fx.Node] = {}
        self._shapes: dict[fx.Node, list[Sequence[Any]]] = {}
        self._values: dict[int, fx.Node] = {}
        self._made: dict[fx.Node, fx.Node] = {}

    def body(self, used: Sequence[int]) -> Body:
        """Return the iteration."""
        states = self._states()
        collected = list(dict.fromkeys([*used, *self._gathered]))
        results: list[Any] = [self._loop.carried[state][0] for state in states]
        results += [
            self._resolved(place, 1) if place in self._gathered else Inner(place)
            for place in collected
        ]
        needed = self._needed(results)
        values = [*results, *(one for place in needed for one in self._operands(place))]
        steps = [one for one in values if isinstance(one, (Steps, Numbers))]
        sequences = list(dict.fromkeys(steps)) or [Numbers(Size(0), 1)]
        constants = [one for one in dict.fromkeys(values) if _is_constant(one)]
        self._take("x", sequences)
        self._take("h", [Carried(state) for state in states])
        self._take("k", constants)
        for place in needed:
            self._values[place] = self._written(place)
        self._graph.output(tuple(map(self._argument, results)))
        return Body(
            self._graph,
            tuple(sequences),
            tuple(states),
            tuple(constants),
            self._gathered,
            tuple(collected),
        )

    def _states(self) -> list[int]:
        """Return the places of the carried values that all iterations find alike."""
        gathered = {one.carried for one in self._gathered.values()}
        states = [place for place in range(len(self._loop.carried)) if place not in gathered]
        last = len(self._loop.rows) - 1
        for state in states:
            before, after = (
                self._loop.carried_at(iteration, Carried(state)) for iteration in (last - 1, last)
            )
            if str(before and shape_of(before)) != str(after and shape_of(after)):
                raise NotRolledError("what an iteration hands on grows from one to the next")
        return states

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
        steps = step_taken(self._aligned, self._number, place)
        if steps is not None:
            return [*steps.single]
        return [self._resolved(place, index) for index in range(len(self._loop.forms[place]))]

    def _resolved(self, place: int, index: int) -> Any:
        """Return an operand as it is at any size."""
        forms = [loop.forms[place][index] for loop in self._loops]
        form, node = forms[0], self._loop.body[place]
        if all(isinstance(one, Outer) for one in forms):
            return self._aligned.value([one.node for one in forms])
        if isinstance(form, Along):
            return results_taken(self._aligned, self._number, place, index)
        if all(isinstance(one, Places) for one in forms):
            if not _takes_tensor(self._target(place), node, index):
                raise NotRolledError(f"`{node.target}` takes the number of the iteration")
            return Numbers(self._aligned.number([one.first for one in forms]), form.step)
        if isinstance(form, Carried) and form.place in {g.carried for g in self._gathered.values()}:
            raise NotRolledError(READ_TOO_EARLY)
        if len(set(forms)) > 1 and all(type(one) is int for one in forms):
            return self._aligned.number(forms)
        if any(one != form for one in forms):
            listed = " or ".join(dict.fromkeys(map(str, forms)))
            raise NotRolledError(f"an iteration gives `{node.target}` {listed} at other sizes")
        return form

    def _take(self, letter: str, keys: Sequence[Any]) -> None:
        """Give the graph an argument for each of `keys`."""
        for index, key in enumerate(keys):
            self._placeholders[key] = node = self._graph.placeholder(f"{letter}{index}")
            self._shapes[node] = self._shapes_of(key)

    def _shapes_of(self, key: Any) -> list[Sequence[Any]]:
        """Return the shape of an argument at each of the sizes, as far as it is known."""
        if isinstance(key, Carried):
            nodes = [loop.carried_at(2, key) for loop in self._loops]
        elif isinstance(key, fx.Node):
            nodes = list(self._aligned.twins(key))
        elif isinstance(key, Steps) and isinstance(key.whole, fx.Node):
            shapes = [shape_of(node) or () for node in self._aligned.twins(key.whole)]
            return [(*shape[: key.axis], *shape[key.axis + 1 :]) for shape in shapes]
        elif isinstance(key, Steps) and isinstance(key.whole, tuple):
            number, place = key.whole
            nodes = [loop.rows[0][place] for loop in self._aligned.loops[number]]
        else:
            return []
        return [(shape_of(node) if node is not None else None) or () for node in nodes]

    def _written(self, place: int) -> fx.Node:
        """Write an operator."""
        node = self._loop.body[place]
        steps = step_taken(self._aligned, self._number, place)
        if steps is not None:
            taken = [self._placeholders[one] for one in steps.single]
            if node.target is SELECT:
                return taken[0]
            parts = [self._graph.call_function(_UNSQUEEZE, (one, steps.axis)) for one in taken]
            if len(parts) == 1:
                return parts[0]
            return self._graph.call_function(_CAT, (parts, steps.axis))
        leaves = [self._argument(one) for one in self._operands(place)]
        spec = pytree.tree_structure((node.args, node.kwargs))
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return self._graph.call_function(self._target(place), args, kwargs)

    def _target(self, place: int) -> Any:
        """Return an operator; of one that takes the iteration's number, its form for tensors."""
        target: Any = self._loop.body[place].target
        moving = any(isinstance(form, Places) for form in self._loop.forms[place])
        return (
            getattr(getattr(target, "overloadpacket", None), "Tensor", target) if moving else target
        )

    def _argument(self, operand: Any) -> Any:
        """Return an operand as a node of the graph or as it is."""
        if isinstance(operand, Inner):
            return self._values[operand.place]
        if isinstance(operand, Size):
            symbols = {name: self._axis(name) for name, _ in operand.slopes}
            return size_node(self._graph, operand, symbols)
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
            raise NotRolledError(
                f"an iteration takes the size of axis {node.args[1]} of `{node.args[0]}`"
            )
        args = fx.map_arg(node.args, self._argument)
        target: Any = node.target
        return self._graph.call_function(target, args)

    def _axis(self, name: str) -> fx.Node:
        """Return the size of a dynamic axis."""
        for placeholder, shapes in self._shapes.items():
            for axis, sizes in enumerate(zip(*shapes, strict=False)):
                if all(isinstance(size, int) for size in sizes):
                    size = self._aligned.number(sizes)
                    if size.slopes == ((name, 1),):
                        found = self._graph.call_function(SYM_SIZE, (placeholder, axis))
                        return self._graph.call_function(operator.sub, (found, size.constant))
        raise NotRolledError(f"an iteration takes the size of `{name}`")


def _is_constant(value: Any) -> bool:
    """Return whether an operand is a tensor that all iterations take alike, and no weight."""
    if isinstance(value, Item):
        return True
    return isinstance(value, fx.Node) and value.op != "get_attr" and shape_of(value) is not None


def _takes_tensor(target: Any, node: fx.Node, index: int) -> bool:
    """Return whether the operand of `node` at `index`, see `operands`, may be a tensor.

    Args:
        target: The operator that is called instead of that of `node`.
        node: A call.
        index: The place of the operand.
    """
    schema = getattr(target, "_schema", None)
    if schema is None:
        return False
    owners = [
        argument
        for argument, value in zip(schema.arguments, node.args, strict=False)
        for _ in pytree.tree_leaves(value)
    ]
    return index < len(owners) and isinstance(owners[index].type, torch.TensorType)
