"""The fields of a contract, written to contract.json and read from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from edgernn.contract_rules import DTYPES
from edgernn.errors import ContractError, InputError
from edgernn.json_field import MAX_PORTS, MAX_SIZE, JsonField, unreadable_contract
from edgernn.ports import SEQUENCE, Graph, Port, State
from edgernn.vocabulary import Vocabulary

if TYPE_CHECKING:
    from edgernn.contract import Contract

__all__ = ["fields_in_json", "json_of"]


def json_of(contract: Contract) -> dict[str, Any]:
    """Return the fields of a contract as a JSON object."""
    return {
        "family": contract.family,
        "source": contract.source,
        "carry": contract.carry,
        **({} if contract.divisible else {"divisible": False}),
        "no_step": contract.no_step,
        **_streaming_json(contract),
        "states": [
            {
                "name": state.name,
                "in": state.input,
                "out": state.output,
                "initial": None if state.initial is None else (state.initial * 1).tolist(),
            }
            for state in contract.states
        ],
        "graphs": {
            kind: {
                "file": f"{kind}.onnx",
                "inputs": [
                    _port_to_json(port, "argument") | _bounds_of_steps(contract, kind, port)
                    for port in graph.inputs
                ],
                "outputs": [_port_to_json(port, "result") for port in graph.outputs],
            }
            for kind, graph in contract.graphs.items()
        },
        "vocabulary": contract.vocabulary.to_table() if contract.vocabulary else None,
        "lengths": list(contract.lengths),
        "full_lengths": list(contract.full_lengths),
        "most": dict(contract.most),
        "least": dict(contract.least),
        "summary": contract.parity,
        "notes": list(contract.notes),
    }


def _streaming_json(contract: Contract) -> dict[str, Any]:
    """Return hop, delays, tails, padding and sample rate, where they are given."""
    fields = {
        "hop": contract.hop if contract.hop > 1 else None,
        "delays": dict(contract.delays),
        "tails": dict(contract.tails),
        "padding": dict(contract.padding),
        "sample_rate": contract.sample_rate,
    }
    return {key: value for key, value in fields.items() if value}


def _bounds_of_steps(contract: Contract, kind: str, port: Port) -> dict[str, int]:
    """Return the bounds of the steps of an input that has them."""
    bounds = contract.bounds(kind).items() if SEQUENCE in port.axes else ()
    return {role: sizes[SEQUENCE] for role, sizes in bounds if SEQUENCE in sizes}


def _port_to_json(port: Port, origin: str) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": list(port.shape),
        "axes": list(port.axes),
        "limit": port.limit,
        origin: port.origin,
    }


def fields_in_json(whole: JsonField) -> dict[str, Any]:
    """Return the fields of the contract that an object holds.

    Raises:
        ContractError: A field is missing, or is not of its type or range.
    """
    states = whole["states"].items(MAX_PORTS)
    ends = {state[end].text() for state in states for end in ("in", "out")}
    graphs = {
        kind: _graph_from_json(kind, graph, ends)
        for kind, graph in whole["graphs"].entries().items()
    }
    return {
        "family": whole["family"].text(),
        "source": whole["source"].text(),
        "states": tuple(_state_from_json(state, graphs) for state in states),
        "carry": whole["carry"].flag(),
        "divisible": divisible.flag() if (divisible := whole.get("divisible")) else True,
        "graphs": graphs,
        "no_step": reason.text() if (reason := whole.get("no_step")) else "",
        "vocabulary": whole["vocabulary"].optional(_vocabulary_from_json),
        "lengths": _names_from_json(whole, "lengths"),
        "full_lengths": _names_from_json(whole, "full_lengths"),
        "most": _counts_from_json(whole, "most"),
        "least": _counts_from_json(whole, "least"),
        "parity": whole["summary"].text(),
        "hop": hop.count(1, MAX_SIZE) if (hop := whole.get("hop")) else 1,
        "delays": _counts_from_json(whole, "delays"),
        "tails": _counts_from_json(whole, "tails"),
        "padding": _padding_from_json(whole),
        "sample_rate": rate.real() if (rate := whole.get("sample_rate")) else None,
        "notes": tuple(note.text() for note in whole["notes"].items()),
    }


def _graph_from_json(kind: str, graph: JsonField, states: Collection[str]) -> Graph:
    # For hosts: edgernn itself never opens a file by this name.
    file = graph.get("file")
    if file is not None:
        file.one_of((f"{kind}.onnx",))
    return Graph(
        tuple(
            _port_from_json(port, "argument", states) for port in graph["inputs"].items(MAX_PORTS)
        ),
        tuple(
            _port_from_json(port, "result", states) for port in graph["outputs"].items(MAX_PORTS)
        ),
    )


def _port_from_json(field: JsonField, origin: str, states: Collection[str]) -> Port:
    path, limit, axes = field.get(origin), field.get("limit"), field.get("axes")
    port = Port(
        name=field["name"].text(),
        dtype=field["dtype"].one_of(DTYPES),
        shape=tuple(_size_from_json(size) for size in field["shape"].items()),
        origin=path.optional(JsonField.text) if path else None,
        limit=limit.optional(JsonField.count) if limit else None,
    )
    if axes is None:
        return port.with_default_axes(states)
    names = [name.optional(JsonField.text) for name in axes.items()]
    if len(names) != len(port.shape):
        axes.refuse(f"a name or null for each of {len(port.shape)} axes")
    return port.with_axes(names)


def _size_from_json(size: JsonField) -> int | str:
    return size.text() if isinstance(size.value, str) else size.count(0, MAX_SIZE)


def _state_from_json(state: JsonField, graphs: Mapping[str, Graph]) -> State:
    name, input_, output = (state[key].text() for key in ("name", "in", "out"))
    ports = (port for graph in graphs.values() for port in graph.inputs)
    port = next((port for port in ports if port.name == input_), None)
    initial = state["initial"]
    if initial.value is None or port is None:
        return State(name, input_, output)
    return State(name, input_, output, initial=initial.array(port.dtype))


def _names_from_json(whole: JsonField, role: str) -> tuple[str, ...]:
    names = whole.get(role)
    return tuple(name.text() for name in names.items()) if names else ()


def _counts_from_json(whole: JsonField, role: str) -> dict[str, int]:
    counts = whole.get(role)
    return {name: size.count() for name, size in counts.entries().items()} if counts else {}


def _padding_from_json(whole: JsonField) -> dict[str, float]:
    padding = whole.get("padding")
    entries = padding.entries().items() if padding else ()
    return {name: value.real(-math.inf) for name, value in entries}


def _vocabulary_from_json(table: JsonField) -> Vocabulary:
    try:
        return Vocabulary.from_table(table.value, f"`{table.path}`")
    except (ContractError, InputError) as error:
        raise unreadable_contract(
            table.subject, f"`{table.path}`: {str(error).rstrip('.')}"
        ) from error
