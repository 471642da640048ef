"""The fields of a contract, written to the metadata of a graph and read from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgernn.errors import ContractError
from edgernn.json_field import MAX_PORTS, unreadable_contract
from edgernn.metadata_fields import MetadataFields
from edgernn.ports import BATCH, Graph, Port, State
from edgernn.vocabulary import Vocabulary

if TYPE_CHECKING:
    from edgernn.contract import Contract

__all__ = ["fields_in_metadata", "metadata_of", "streaming_texts"]


def metadata_of(contract: Contract, kind: str) -> dict[str, str]:
    """Return the fields of a contract for graph `kind`: key without its prefix → text.

    Learned initial values are decimal numbers in row-major order with one space between them; nine
    digits give a float32 back exactly.
    """
    graph = contract.graphs[kind]
    texts = {
        "graph": kind,
        "states": ",".join(f"{state.input}:{state.output}" for state in contract.states),
        "carry": "yes" if contract.carry else "no",
        "family": contract.family,
        "source": contract.source,
        "parity": contract.parity,
    }
    if not contract.divisible:
        texts["divisible"] = "no"
    if contract.lengths:
        texts["lengths"] = ",".join(contract.lengths)
    if contract.full_lengths:
        texts["lengths.full"] = ",".join(contract.full_lengths)
    for role, sizes in contract.bounds(kind).items():
        texts |= {f"{role}.{axis}": str(size) for axis, size in sizes.items()}
    texts |= streaming_texts(contract)
    for state in contract.states:
        if state.initial is not None:
            is_float = state.initial.dtype.kind == "f"
            numbers = state.initial.astype(np.float32 if is_float else np.int64).ravel()
            texts[f"initial.{state.name}"] = " ".join(
                f"{number:.9g}" if is_float else str(number) for number in numbers
            )
    for port in graph.inputs:
        if port.limit is not None:
            texts[f"limit.{port.name}"] = str(port.limit)
    for port in (*graph.inputs, *graph.outputs):
        if port.axis_names is not None:
            texts[f"axes.{port.name}"] = ",".join(name or "" for name in port.axis_names)
    if contract.vocabulary:
        texts["vocabulary"] = contract.vocabulary.to_lines()
        for role in ("unknown", "padding"):
            special = getattr(contract.vocabulary, role)
            if special is not None:
                texts[f"vocabulary.{role}"] = str(special)
    return texts


def streaming_texts(contract: Contract) -> dict[str, str]:
    """Return hop, delays, tails, padding and sample rate, where they are given."""
    texts = {"hop": str(contract.hop)} if contract.hop > 1 else {}
    for role, counts in (("delay", contract.delays), ("tail", contract.tails)):
        texts |= {f"{role}.{name}": str(count) for name, count in counts.items()}
    texts |= {f"padding.{name}": f"{value:.9g}" for name, value in contract.padding.items()}
    if contract.sample_rate is not None:
        texts["sample_rate"] = f"{contract.sample_rate:.9g}"
    return texts


def fields_in_metadata(
    fields: MetadataFields, inputs: Sequence[Port], outputs: Sequence[Port]
) -> dict[str, Any]:
    """Return the fields of the contract of one graph.

    Args:
        fields: The graph's metadata.
        inputs: Its inputs as the ONNX file declares them.
        outputs: Its outputs as the ONNX file declares them.

    Raises:
        ContractError: A field is missing, is not of its type or range, or does not fit the ports.
    """
    pairs = fields.pairs("states")
    most = max(len(pairs), len(inputs), len(outputs))
    if most > MAX_PORTS:
        raise unreadable_contract(
            fields.subject, f"it has {most:,} ports of a kind; at most {MAX_PORTS} are read"
        )
    ends = {name for pair in pairs for name in pair}
    graph = Graph(
        tuple(_port_from_metadata(port, fields, ends) for port in inputs),
        tuple(_port_from_metadata(port, fields, ends) for port in outputs),
    )
    return {
        "family": fields.text("family"),
        "source": fields.get("source") or "",
        "states": tuple(_state_from_metadata(*pair, graph, fields) for pair in pairs),
        "carry": fields.one_of("carry", ("yes", "no")) == "yes",
        "graphs": {fields.one_of("graph", ("sequence", "step")): graph},
        "vocabulary": _vocabulary_from_metadata(fields),
        "lengths": _names_from_metadata(fields, "lengths"),
        "full_lengths": _names_from_metadata(fields, "lengths.full"),
        "most": fields.counts("most."),
        "least": fields.counts("least."),
        "parity": fields.get("parity") or "",
        "hop": 1 if (hop := fields.count("hop")) is None else hop,
        "delays": fields.counts("delay."),
        "tails": fields.counts("tail."),
        "padding": fields.reals("padding."),
        "sample_rate": fields.real("sample_rate"),
        "divisible": fields.get("divisible") is None
        or fields.one_of("divisible", ("yes", "no")) == "yes",
    }


def _names_from_metadata(fields: MetadataFields, key: str) -> tuple[str, ...]:
    return tuple(filter(None, (fields.get(key) or "").split(",")))


def _state_from_metadata(input_: str, output: str, graph: Graph, fields: MetadataFields) -> State:
    name = input_.removesuffix("_in")
    port = next((port for port in graph.inputs if port.name == input_), None)
    is_integer = port is not None and np.dtype(port.dtype).kind in "iu"
    values = fields.numbers(f"initial.{name}", "int64" if is_integer else "float32")
    if values is None or port is None:
        return State(name, input_, output)
    full = tuple(1 if isinstance(size, str) else size for size in port.shape)
    for_all = tuple(
        1 if name == BATCH else size for size, name in zip(full, port.axes, strict=True)
    )
    for shape in (for_all, full):
        if values.size == math.prod(shape):
            initial = values.reshape(shape).astype(port.dtype)
            return State(name, input_, output, initial=initial)
    raise unreadable_contract(
        fields.subject,
        f"`initial.{name}` has {values.size} numbers; `{port}` starts from {math.prod(for_all)}",
    )


def _port_from_metadata(port: Port, fields: MetadataFields, states: Collection[str]) -> Port:
    axes = fields.get(f"axes.{port.name}")
    port = replace(port, limit=fields.count(f"limit.{port.name}"))
    if axes is None:
        return port.with_default_axes(states)
    names = [name or None for name in axes.split(",")]
    if len(names) != len(port.shape):
        raise unreadable_contract(
            fields.subject, f"`axes.{port.name}` names {len(names)} axes of `{port}`"
        )
    return port.with_axes(names)


def _vocabulary_from_metadata(fields: MetadataFields) -> Vocabulary | None:
    lines = fields.get("vocabulary")
    if lines is None:
        return None
    unknown, padding = (fields.count(f"vocabulary.{role}") for role in ("unknown", "padding"))
    try:
        return Vocabulary.from_lines(lines, unknown, padding)
    except ContractError as error:
        raise unreadable_contract(
            fields.subject, f"`vocabulary`: {str(error).rstrip('.')}"
        ) from error
