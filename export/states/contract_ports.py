"""The names of a graph's ports, their order, and the contract that follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE, Graph, Port, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.dataflow import id_limit
from edgernn.export.ir.graph_names import port_of, result_name, result_path
from edgernn.export.states.state_port import StatePort

__all__ = ["Origins", "contract_states", "graph_ports", "name_ports", "order_notes"]


@dataclass(frozen=True)
class Origins:
    """Where the ports of a graph come from in torch's call.

    Attributes:
        inputs: Name of an input → its path; None for one that torch's call does not have.
        outputs: Name of an output → its path, likewise.
        unused: The paths of the arguments that no output depends on.
        limits: Name of an input → the number that its integers are below: as the user says, or of
            a position the hops that a stream may have.
    """

    inputs: Mapping[str, str | None]
    outputs: Mapping[str, str | None]
    unused: tuple[str, ...]
    limits: Mapping[str, int] = field(default_factory=dict)

    def with_contexts(self, states: Iterable[StatePort]) -> Origins:
        """Return the same with ports of contexts, which torch's call does not have."""
        contexts = [state for state in states if state.context]
        limits = {one.input: one.limit for one in contexts if one.limit is not None}
        return replace(
            self,
            inputs={**self.inputs, **dict.fromkeys(state.input for state in contexts)},
            outputs={**self.outputs, **dict.fromkeys(state.output for state in contexts)},
            limits={**self.limits, **limits},
        )


def name_ports(
    model: ir.Model,
    states: Sequence[StatePort],
    limits: Mapping[str, int | str] = MappingProxyType({}),
) -> Origins:
    """Give data ports their names and bring all ports into the contract's order, in place.

    Data inputs keep the names of forward's arguments; an only data output is `output`, several are
    named by their fields or places. States follow, by layer, h before c. Where forward returns
    nothing but states, as a bare cell does, the first of them is the output too.

    `limits` are by the path of an input what the user says its integers are below, or a symbol.
    """
    graph = model.graph
    if len(graph.outputs) == len(states):
        shown = (state for state in states if state.result != state.argument)
        _add_output(graph, next(shown, states[0]))
    state_inputs = {state.input: state for state in states}
    state_outputs = {state.output: state for state in states}
    ports = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    data_in = [value for value in graph.inputs if value.name not in state_inputs]
    data_out = [value for value in graph.outputs if value.name not in state_outputs]
    unused = tuple(value.name or "" for value in data_in if not value.uses())
    data_in = [value for value in data_in if value.uses()]
    if not data_in:
        raise UnsupportedModelError("forward does not look at any of its inputs.")
    inputs: dict[str, str | None] = {}
    for value in data_in:
        path = value.name or ""
        value.name = _unique(_identifier(path), {*inputs, *state_inputs})
        inputs[value.name] = path
    outputs: dict[str, str | None] = {}
    for value in data_out:
        path = result_path(value) or ""
        name = _identifier(path)
        name = name if name[0].isalpha() else f"output_{name}"
        name = "output" if len(data_out) == 1 and not re.search("[A-Za-z]", path) else name
        value.name = _unique(name, {*inputs, *outputs, *state_inputs, *state_outputs})
        outputs[value.name] = path
    graph.inputs[:] = [*data_in, *(ports[name] for name in state_inputs)]
    graph.outputs[:] = [*data_out, *(ports[name] for name in state_outputs)]
    inputs |= {n: None if one.memory else one.argument for n, one in state_inputs.items()}
    outputs |= {n: None if one.memory else one.result for n, one in state_outputs.items()}
    known = {name: limits.get(path or "") for name, path in inputs.items()}
    known_limits = {name: limit for name, limit in known.items() if isinstance(limit, int)}
    return Origins(inputs=inputs, outputs=outputs, unused=unused, limits=known_limits)


def graph_ports(model: ir.Model, origins: Origins) -> Graph:
    """Return the ports of a graph as the contract states them."""
    limits = origins.limits
    return Graph(
        tuple(
            _port(value, origins.inputs, id_limit(value), limits.get(value.name or ""))
            for value in model.graph.inputs
        ),
        tuple(_port(value, origins.outputs) for value in model.graph.outputs),
    )


def order_notes(graph: Graph) -> Iterator[str]:
    """Note where a port has its batch and sequence axes in another order than the first port."""
    both = [
        (port, port.shape.index(SEQUENCE) < port.shape.index(BATCH))
        for port in (*graph.inputs, *graph.outputs)
        if SEQUENCE in port.shape and BATCH in port.shape
    ]
    for port, time_major in both[1:]:
        first, other = both[0]
        if time_major != other:
            yield (
                f"`{port}` has its axes in another order than `{first}`, as forward "
                f"{'takes' if port in graph.inputs else 'returns'} it."
            )


def contract_states(states: Sequence[StatePort]) -> tuple[State, ...]:
    """Return the states as the contract states them."""
    return tuple(State(s.name, s.input, s.output, s.initial) for s in states)


def _port(value: ir.Value, origins: Mapping[str, str | None], *limits: int | None) -> Port:
    """Return a port whose integers are below `limits`, by the tables they look up and the user."""
    if value.shape is None or value.dtype is None:
        raise UnsupportedModelError(f"The shape of `{value.name}` is not known after the trace.")
    port = port_of(value)
    known = [limit for limit in limits if limit is not None and value.dtype.is_integer()]
    return replace(port, origin=origins[port.name], limit=min(known, default=None))


def _add_output(graph: ir.Graph, state: StatePort) -> None:
    value = next(value for value in graph.outputs if value.name == state.output)
    copy = ir.node("Identity", [value])
    graph.append(copy)
    output = copy.outputs[0]
    output.name = result_name(state.result or "")
    output.type, output.shape = value.type, value.shape
    graph.outputs.append(output)


def _identifier(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_") or "output"


def _unique(name: str, used: set[str]) -> str:
    return name if name not in used else _unique(f"{name}_", used)
