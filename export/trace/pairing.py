"""Which result of forward goes back into which argument.

A state that forward takes is found again in what it returns: moved there from the final state of
the same call, or computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.example.call import Example, Run
from edgernn.export.example.names import is_data, is_state
from edgernn.export.example.tree import leaves
from edgernn.export.trace.dataflow import (
    moved_from,
    read_from,
    values_behind,
)
from edgernn.export.trace.slots import Slot, StatePort, chain_end
from edgernn.export.trace.trace import result_path

__all__ = [
    "changed_value",
    "check_pair",
    "check_state_axes",
    "next_value",
    "reached",
    "recognised_states",
]


def recognised_states(example: Example, run: Run) -> dict[str, str]:
    """Pair arguments and results of a step without recurrent calls, where shapes leave one choice.

    Where an argument is called like a state, one that is called like data is none.

    Returns:
        Path of an argument → path of the result that goes back in there.
    """
    given = [leaf for leaf in example.leaves if leaf.tensor.is_floating_point()]
    if any(is_state(_argument(leaf.path)) for leaf in given):
        given = [leaf for leaf in given if not is_data(_argument(leaf.path))]
    floats = {leaf.path: leaf.tensor.shape for leaf in given}
    fits = {
        path: [result for result, tensor in run.results.items() if tensor.shape == shape]
        for path, shape in floats.items()
    }
    pairs = {path: found[0] for path, found in fits.items() if len(found) == 1}
    alone = len(set(pairs.values())) == len(pairs) < len(example.leaves)
    if alone and all(len(found) < 2 for found in fits.values()):
        return pairs
    return _same_structure(example, run)


def _argument(path: str) -> str:
    return path.partition("[")[0]


def _same_structure(example: Example, run: Run) -> dict[str, str]:
    """Pair an argument of several tensors with the one part of the result that is built alike."""
    pairs: dict[str, str] = {}
    for name, argument in example.kwargs.items():
        shapes = {path: tensor.shape for path, tensor in leaves(argument)}
        if len(shapes) < 2:
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


def next_value(
    graph: ir.Graph,
    port: ir.Value,
    fed: Sequence[Slot],
    slots: Sequence[Slot],
    pairs: Mapping[str, str | int],
) -> ir.Value | None:
    """Return the result that goes back into argument `port`, or None where none does."""
    if port.name in pairs:
        return _result_at(graph, pairs[port.name or ""])
    if not fed or port.dtype is None or not port.dtype.is_floating_point():
        return None
    return _returned(graph, port, fed, slots)


def _returned(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that holds the next value of the states that argument `port` feeds."""
    wanted = {chain_end(slot, slots).after for slot in fed}
    finals = {slot.after for slot in slots}
    found = [
        result
        for result in graph.outputs
        if set(moved_from(result)) & finals == wanted and result.shape == port.shape
    ]
    return found[-1] if found else None


def changed_value(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that is computed from the next values of the states that `port` feeds.

    Such a state is changed behind its cell, by zoneout or a norm. A result that stands alone is the
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
        and not finals & set(moved_from(result))
        and nexts & values_behind(result)
    ]
    if len(found) > 1:
        results = ", ".join(f"`{result_path(result)}`" for result in found)
        raise UnsupportedModelError(
            f"The next value of `{port.name}` may be each of {results} in what forward returns. "
            f"Say which: --state {port.name}=OUTPUT."
        )
    return found[0] if found and len(graph.outputs) > 1 else None


def reached(graph: ir.Graph, port: ir.Value, slots: Sequence[Slot]) -> list[Slot]:
    """Return the states that are computed from argument `port` and no other of their shape.

    So is a state that a mask wipes where an episode ends.
    """
    return [
        slot
        for slot in slots
        if port.shape is not None
        and port.shape == slot.after.shape
        and [read for read in read_from(slot.before) if read.shape == port.shape] == [port]
    ]


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
