"""Which result of forward goes back into which argument.

A state that forward takes is found again in what it returns: moved there from the final state of
the same call, or computed from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.argument_names import holds_data, holds_state
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.ir.dataflow import (
    ancestors,
    input_dependencies,
    is_elementwise_change,
    movement_sources,
)
from edgernn.export.ir.results import result_path
from edgernn.export.states.slots import Slot, StatePort, chain_end, chain_length

__all__ = [
    "Next",
    "Pairs",
    "check_pair",
    "check_state_axes",
    "is_data_start",
    "leaves_unreturned",
    "next_value",
    "pairing_notes",
    "reached",
    "recognised_states",
]


def recognised_states(example: ExampleCall, run: ForwardRun) -> dict[str, str]:
    """Pair arguments and results of a step without recurrent calls, where names and shapes tell.

    An argument that is called like data is none, whatever comes back in its shape. One that is
    called like a state is one where a single result fits it and no argument of another name fits
    any. Without such names, the only argument that fits is one, unless it comes first or its result
    does: that is data going through, such as a spectrum that comes back denoised.

    Returns:
        Path of an argument → path of the result that goes back in there.
    """
    every = {
        leaf.path: [path for path, one in run.results.items() if one.shape == leaf.tensor.shape]
        for leaf in example.tensors
        if leaf.tensor.is_floating_point()
    }
    every = {path: found for path, found in every.items() if found}
    fits = {path: found for path, found in every.items() if not holds_data(path)}
    single = all(len(found) == 1 for found in fits.values())
    distinct = len({found[0] for found in fits.values()}) == len(fits) < len(example.tensors)
    if single and distinct and all(map(holds_state, fits)):
        return {path: found[0] for path, found in fits.items()}
    if single and distinct and len(fits) == 1:
        ((path, (result,)),) = fits.items()
        alone = len(every) == 1 and not _passes_through(example, run, path, result)
        return {path: result} if alone else {}
    return _same_structure(example, run)


def _passes_through(example: ExampleCall, run: ForwardRun, path: str, result: str) -> bool:
    """Return whether an argument is the first one, or its result the first."""
    return path == example.tensors[0].path or result == next(iter(run.results))


def _same_structure(example: ExampleCall, run: ForwardRun) -> dict[str, str]:
    """Pair an argument of several tensors with the one part of the result that is built alike."""
    pairs: dict[str, str] = {}
    for name, argument in example.kwargs.items():
        shapes = {path: tensor.shape for path, tensor in tensor_leaves(argument)}
        if len(shapes) < 2 or holds_data(name):
            continue
        parts = {path[: -len(end)] for path in run.results for end in shapes if path.endswith(end)}
        alike = [
            part
            for part in parts
            if shapes
            == {
                path.removeprefix(part): tensor.shape
                for path, tensor in run.results.items()
                if path.startswith(part)
            }
        ]
        if len(alike) == 1:
            pairs |= {name + path: alike[0] + path for path in shapes}
    return pairs


@dataclass(frozen=True)
class Pairs:
    """Which results of forward go back into which arguments, path by path.

    Attributes:
        named: What the user says; where there is any, nothing is guessed beside it.
        written: Arguments that forward writes into; where nothing is named.
        recognised: Those that names and shapes tell, likewise.
        known: Those that numbers prove.
        telling_names: Whether names of arguments tell data from states, as those in code do.
    """

    named: Mapping[str, str | int] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    recognised: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    telling_names: bool = True

    @property
    def all(self) -> dict[str, str | int]:
        """All of them."""
        return {**self.recognised, **self.written, **self.known, **self.named}

    def told_by(self, path: str) -> str | None:
        """Return what tells a pair, if that is neither the user nor a proof."""
        if path in self.named or path in self.known:
            return None
        return "forward writes into it" if path in self.written else "name and shape tell"


@dataclass(frozen=True)
class Next:
    """The next value of a state that forward takes.

    Attributes:
        value: The result that holds it.
        fed: The recurrent states that the argument feeds.
        told_by: See `StatePort`.
    """

    value: ir.Value
    fed: tuple[Slot, ...]
    told_by: str | None = None


def next_value(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot], pairs: Pairs
) -> Next | None:
    """Return the result that goes back into argument `port`, or None where none does.

    Raises:
        InputError: The user named a result that there is not.
        UnsupportedModelError: Several results may be it.
    """
    path = port.name or ""
    moved = tuple(slot for slot in fed if port in movement_sources(slot.before))
    if path in pairs.all:
        return Next(_result_at(graph, pairs.all[path]), moved, pairs.told_by(path))
    if not fed or port.dtype is None or not port.dtype.is_floating_point():
        return None
    exact = _returned(graph, port, fed, slots)
    if exact is not None and moved:
        return Next(exact, tuple(fed))
    if pairs.named or not (moved or holds_state(path)):
        return None
    if exact is not None:
        return Next(exact, tuple(fed))
    changed = _changed_value(graph, port, fed, slots)
    return Next(changed, tuple(fed), "shapes alone tell") if changed is not None else None


def is_data_start(port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot], pairs: Pairs) -> bool:
    """Return whether an argument that feeds a recurrent state is data all the same.

    So are the features of a network's nodes, which several rounds of messages change in one call.
    Names tell; in code, so does how often the layer runs from there, and that a cell starts from
    the first argument.
    """
    if not fed or port.graph is None:
        return False
    path = port.name or ""
    cell = any(slot.node.op_type.endswith("_cell") for slot in fed)
    several = any(chain_length(slot, slots) > 1 for slot in fed)
    first = port is port.graph.inputs[0]
    if holds_state(path):
        return pairs.telling_names and several and first and len(port.graph.outputs) == 1
    return (cell and holds_data(path)) or (pairs.telling_names and (several or (cell and first)))


def leaves_unreturned(port: ir.Value, last: Slot, pairs: Pairs) -> bool:
    """Return whether a layer's state is one although forward does not return its next value.

    A cell's is data there, and so is what is not called a state.
    """
    if last.node.op_type.endswith("_cell"):
        return False
    return not pairs.telling_names or holds_state(port.name or "")


def _returned(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that holds the next value of the states that argument `port` feeds."""
    wanted = {chain_end(slot, slots).after for slot in fed}
    finals = {slot.after for slot in slots}
    found = [
        result
        for result in graph.outputs
        if set(movement_sources(result)) & finals == wanted and result.shape == port.shape
    ]
    return found[-1] if found else None


def _changed_value(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that is computed from the next values of the states that `port` feeds.

    Such a state is changed after its cell, by zoneout, a gate or a norm. What a product by weights
    gives of it, or the sum with another input, is a quantity of its own. An only result is the
    output, whatever its shape.

    Raises:
        UnsupportedModelError: Several results may be it.
    """
    finals = {slot.after for slot in slots}
    nexts = {chain_end(slot, slots).after for slot in fed}
    found = [
        result
        for result in graph.outputs
        if result.shape == port.shape
        and not finals & set(movement_sources(result))
        and nexts & ancestors(result)
        and is_elementwise_change(result, {*nexts, port})
    ]
    if len(found) > 1:
        results = ", ".join(f"`{result_path(result)}`" for result in found)
        raise UnsupportedModelError(
            f"The next value of `{port.name}` may be each of {results} in what forward returns. "
            f"Say which: --state {port.name}=OUTPUT."
        )
    return found[0] if found and len(graph.outputs) > 1 else None


def reached(port: ir.Value, slots: Sequence[Slot]) -> list[Slot]:
    """Return the states that are computed from argument `port` and no other of their width.

    So is a state that a mask wipes where an episode ends.
    """
    found: list[Slot] = []
    for slot in slots:
        width = _width(slot.after)
        wide = [read for read in input_dependencies(slot.before) if _width(read) >= width]
        if width and wide == [port]:
            found.append(slot)
    return found


def _width(value: ir.Value) -> int:
    """Return the product of the sizes that are numbers; 0 where the shape is not known."""
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    return math.prod(sizes) if value.shape is not None else 0


def pairing_notes(states: Sequence[StatePort]) -> Iterator[str]:
    """Say of every state that was recognised without a layer of torch's what it was taken for."""
    for state in states:
        if state.told_by is not None:
            yield (
                f"`{state.argument}` is a state whose next value is "
                f"{_spoken(state)}: {state.told_by}. Where that is wrong, name the states: --state "
                "INPUT=OUTPUT."
            )


def _spoken(state: StatePort) -> str:
    if state.result == state.argument:
        return "what it holds after the call"
    return f"`{state.result}` of the result" if state.result else "the result"


def _result_at(graph: ir.Graph, place: str | int) -> ir.Value:
    paths = [result_path(result) or "" for result in graph.outputs]
    wanted = f"[{place}]" if str(place).isdigit() else str(place)
    for path, result in zip(paths, graph.outputs, strict=True):
        if (
            (wanted, paths) == ("[0]", [""])
            or place == path
            or wanted
            in (
                path,
                path.lstrip("."),
                path.strip('[]"'),
            )
        ):
            return result
    known = ", ".join(f"`{path}`" for path in paths if path) or "one tensor, `0`"
    raise InputError(f"`{place}` is not in what forward returns; it returns {known}.")


def check_pair(before: ir.Value, after: ir.Value) -> None:
    """Raise UnsupportedModelError where a state comes back in another shape or dtype."""
    if before.shape != after.shape or before.dtype != after.dtype:
        raise UnsupportedModelError(
            f"State `{before.name}` goes in as {before.dtype}{before.shape} and comes out as "
            f"{after.dtype}{after.shape}; the next step needs the shape it had."
        )


def check_state_axes(graph: ir.Graph, states: Sequence[StatePort]) -> None:
    """Raise UnsupportedModelError where a state has a dynamic axis besides the batch."""
    names = {state.input for state in states}
    for port in graph.inputs:
        sizes = [str(size) for size in port.shape or () if not isinstance(size, int)]
        others = [size for size in dict.fromkeys(sizes) if size != BATCH]
        if port.name in names and others:
            listed = " and ".join(f"`{one}`" for one in others)
            raise UnsupportedModelError(
                f"State `{port.name}` grows with {listed}; of its axes only the batch may be "
                "dynamic. Give the others as numbers in --input specs, such as "
                '"x:float32[batch,3,64,64]".'
            )
