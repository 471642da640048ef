"""The rules for hop, delays, tails and padding, and the names of the axes that hold a hop."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgernn.axis_sizes import evaluate_size
from edgernn.errors import ContractError
from edgernn.json_field import MAX_SIZE
from edgernn.ports import BATCH, HOP, SEQUENCE, Graph, Port
from edgernn.untrusted_text import quote

if TYPE_CHECKING:
    from edgernn.contract import Contract

__all__ = ["check_streaming", "name_hop_axes", "over_chunks", "steps_axis", "steps_per_hop"]

_MAX_PADDING = 2**30
_HOPS_TRIED = (1, 2, 3, 1_000_003)  # the last shows a small excess: sequence//160 at a hop of 161


def steps_axis(port: Port) -> int | None:
    """Return the index of the axis that counts steps, of a sequence graph or of one hop."""
    places = (place for place, name in enumerate(port.axes) if _counts_steps(name))
    return next(places, port.axis(HOP))


def steps_per_hop(port: Port, hop: int) -> int | None:
    """Return how many of its own steps a port has for each hop of the input.

    Args:
        port: A port of the sequence graph, or of the step graph.
        hop: The steps of the input in one hop.

    Returns:
        None where that depends on more than the number of hops. A port without an axis of steps has
        one step per hop.
    """
    axis = steps_axis(port)
    if axis is None:
        return 1
    size, name = port.shape[axis], port.axes[axis]
    if name == HOP:
        return size if isinstance(size, int) else None
    sizes = [evaluate_size(name or "", {BATCH: 1, SEQUENCE: hop * n}) for n in _HOPS_TRIED]
    first = sizes[0]
    proportional = first is not None and first > 0 and sizes == [first * n for n in _HOPS_TRIED]
    return first if proportional else None


def over_chunks(port: Port, hop: int, is_output: bool = False) -> Port:
    """Return a port of the step graph as a chunk of any number of whole hops has it.

    The axis of steps takes the place of the axis `hop`. A port without that has it in front, except
    for inputs that do not change from step to step, where a hop has several.
    """
    axis = port.axis(HOP)
    if axis is None:
        if hop == 1:
            return port.with_steps()
        return port.with_leading_axis(f"{SEQUENCE}//{hop}") if is_output else port
    steps, whole = port.shape[axis], SEQUENCE if hop == 1 else f"({SEQUENCE}//{hop})"
    size = SEQUENCE if steps == hop else f"{steps}*{whole}"
    shape, axes = list(port.shape), list(port.axes)
    shape[axis] = axes[axis] = size
    return replace(port, shape=tuple(shape), axis_names=None).with_axes(axes)


def name_hop_axes(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
    """Return the graphs with the name `hop` for the axis of the step graph's ports that has a hop.

    It is in the place of the sequence graph's axis of steps. A port of one step per hop has none.
    """
    if "sequence" not in graphs or "step" not in graphs:
        return dict(graphs)
    whole, step = graphs["sequence"], graphs["step"]
    named = Graph(
        tuple(_with_hop_axis(port, whole.inputs) for port in step.inputs),
        tuple(_with_hop_axis(port, whole.outputs) for port in step.outputs),
    )
    return {**graphs, "step": named}


def check_streaming(contract: Contract) -> None:
    """Check hop, delays, tails, padding and the sample rate of a contract.

    Raises:
        ContractError: One of them is out of range, or does not fit the ports.
    """
    if not 1 <= contract.hop <= MAX_SIZE:
        raise ContractError(f"The hop is {contract.hop}; it must be from 1 to {MAX_SIZE}.")
    rate = contract.sample_rate
    if rate is not None and not 0 < rate < math.inf:
        raise ContractError(f"The sample rate is {rate}; it must be a finite number above 0.")
    if not contract.in_hops and not contract.padding:
        return
    if not (contract.carry and contract.divisible):
        raise ContractError(
            "It has a hop, a delay, a tail or padding, but its state is not carried over any "
            "division into chunks."
        )
    for kind, graph in contract.graphs.items():
        _check_outputs(contract, kind)
        _check_padding(contract, kind)
        if contract.hop > 1:
            _check_hop(contract, kind, graph)
    if contract.hop > 1 and len(contract.graphs) == 2:
        _check_pairs(contract)


def _check_outputs(contract: Contract, kind: str) -> None:
    outputs = {port.name: port for port in contract.data_outputs(kind)}
    for role, counts in (("delay", contract.delays), ("tail", contract.tails)):
        for name, count in counts.items():
            if name not in outputs:
                raise ContractError(
                    f"It has a {role} of {quote(name)}, which is not a data output of the {kind} "
                    "graph."
                )
            if not 1 <= count <= MAX_SIZE:
                raise ContractError(
                    f"The {role} of {quote(name)} is {count}; where it is given, it is from 1 to "
                    f"{MAX_SIZE}."
                )
    drained = max(
        (-(-count // contract.steps_per_hop(name)) for name, count in contract.tails.items()),
        default=0,
    )
    if drained * contract.hop > _MAX_PADDING:
        raise ContractError(
            f"Its tails take {drained * contract.hop} steps of padding; at most {_MAX_PADDING} are "
            "read."
        )
    for name in outputs if contract.hop > 1 else contract.delays.keys() | contract.tails.keys():
        port = outputs[name]
        if steps_axis(port) is None and contract.tails.get(name, drained) != drained:
            raise ContractError(
                f"Output `{port}` of the {kind} graph has only its last step, and a tail of "
                f"{contract.tails[name]}; the longest tail is {drained}, and both must be equal."
            )
        if steps_per_hop(port, contract.hop) is None:
            raise ContractError(
                f"Output `{port}` of the {kind} graph has an axis that is not a number of steps "
                f"for each {'hop' if contract.hop > 1 else 'step'} of the input."
            )


def _check_padding(contract: Contract, kind: str) -> None:
    inputs = {port.name: port for port in contract.data_inputs(kind)}
    for name, port in inputs.items():
        if contract.padding and SEQUENCE in port.axes and name not in contract.padding:
            raise ContractError(
                f"It has padding of {', '.join(map(quote, contract.padding))}, and none of "
                f"`{port}`; either all inputs with an axis of steps have it or none."
            )
    for name, value in contract.padding.items():
        padded = inputs.get(name)
        if padded is None or (kind == "sequence" and SEQUENCE not in padded.axes):
            raise ContractError(
                f"It has padding of {quote(name)}, which is not a data input with an axis of steps."
            )
        is_float = np.dtype(padded.dtype).kind == "f"
        if not math.isfinite(value) or not (is_float or value == int(value)):
            raise ContractError(f"The padding of `{padded}` is {value}; expected a finite number.")
        if padded.limit is not None and not 0 <= value < padded.limit:
            raise ContractError(
                f"The padding of `{padded}` is {value}; it must be an id from 0 to "
                f"{padded.limit - 1}."
            )


def _check_hop(contract: Contract, kind: str, graph: Graph) -> None:
    hop, inputs = contract.hop, contract.data_inputs(kind)
    name = SEQUENCE if kind == "sequence" else HOP
    if not any(name in port.axes for port in inputs):
        raise ContractError(
            f"The hop is {hop}, but no data input of the {kind} graph has an axis `{name}`."
        )
    for port in (*graph.inputs, *graph.outputs):
        if port.axes.count(HOP) > (kind == "step"):
            raise ContractError(
                f"`{port}` of the {kind} graph has an axis `{HOP}`, which is the name of one axis "
                "of the step graph's ports where a hop has more than one step."
            )
    for port in inputs:
        axis = port.axis(name)
        size = None if axis is None else port.shape[axis]
        if axis is not None and kind == "step" and size != hop:
            raise ContractError(
                f"Input `{port}` of the step graph has {size} steps; expected {hop}."
            )
        if isinstance(size, int) and size % hop:
            raise ContractError(
                f"Input `{port}` of the sequence graph has {size} steps; expected a multiple of "
                f"the hop, {hop}."
            )


def _check_pairs(contract: Contract) -> None:
    """Check that each port of the step graph has the steps of one hop."""
    whole, step = contract.graphs["sequence"], contract.graphs["step"]
    ends = {end for state in contract.states for end in (state.input, state.output)}
    for ports, others in ((whole.inputs, step.inputs), (whole.outputs, step.outputs)):
        by_name = {port.name: port for port in others}
        for port in ports:
            axis, found = steps_axis(port), by_name.get(port.name)
            if axis is None or found is None or port.name in ends:
                continue
            count = steps_per_hop(port, contract.hop)
            expected = port.without_axis(axis).shape
            if count != 1:
                expected = (*expected[:axis], count or "?", *expected[axis:])
            if len(found.shape) != len(expected) or (
                count != 1 and found.shape[axis] != expected[axis]
            ):
                shape = ", ".join(map(str, expected))
                raise ContractError(
                    f"`{found}` of the step graph does not hold one hop of `{port}` of the "
                    f"sequence graph; expected [{shape}]."
                )


def _with_hop_axis(port: Port, whole: tuple[Port, ...]) -> Port:
    """Return a port of the step graph with its axis named that is the steps of `whole`'s port."""
    axis = next((steps_axis(other) for other in whole if other.name == port.name), None)
    ranks = [len(other.shape) for other in whole if other.name == port.name]
    if axis is None or ranks != [len(port.shape)] or HOP in port.axes:
        return port
    return port.with_axes([HOP if place == axis else name for place, name in enumerate(port.axes)])


def _counts_steps(name: str | None) -> bool:
    return SEQUENCE in re.findall(r"\w+", name or "")
