"""The rules for ports and states, the same for contract.json and for metadata."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgernn.axis_sizes import is_size_expression
from edgernn.errors import ContractError
from edgernn.json_field import MAX_SIZE
from edgernn.ports import BATCH, SEQUENCE, Graph, Port, State
from edgernn.untrusted_text import quote
from edgernn.vocabulary import Vocabulary

__all__ = ["DTYPES", "STATE_DTYPES", "check_graph", "violations"]

DTYPES = (
    *("float32", "float16", "float64"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
    "bool",
)
"""The dtypes of ports."""

STATE_DTYPES = ("float32", "float16", "int64", "bool")

_UNNAMED = "?"  # an axis of any size, without a name
_MAX_AXES = 32
_MAX_NAME = 1_000
_MAX_STATE = 2**30


def check_graph(kind: str, graph: Graph, states: Sequence[State]) -> None:
    """Check the rules for every contract, also an unfinished one.

    Raises:
        ContractError: Two ports share a name, or the states do not fit the graph.
    """
    if kind not in ("sequence", "step"):
        raise ContractError(f"`{kind}` is not a kind of graph; known are: sequence, step.")
    for role, ports in (("input", graph.inputs), ("output", graph.outputs)):
        names = [port.name for port in ports]
        for name in names:
            if names.count(name) > 1:
                raise ContractError(f"The {kind} graph has two {role}s named `{name}`.")
    for state in states:
        try:
            before, after = graph.input(state.input), graph.output(state.output)
        except KeyError as error:
            raise ContractError(f"The {kind} graph has no port {error} for a state.") from None
        if (before.shape, before.axes, before.dtype) != (after.shape, after.axes, after.dtype):
            raise ContractError(
                f"State `{state.name}` of the {kind} graph has the input `{before}` and the output "
                f"`{after}`; both must have the same shape and dtype."
            )
        if before.dtype not in STATE_DTYPES:
            *others, last = STATE_DTYPES
            raise ContractError(f"State `{before}` must be of dtype {', '.join(others)} or {last}.")
    by_input = sorted(states, key=lambda state: state.input)
    if by_input != sorted(states, key=lambda state: state.output):
        raise ContractError(
            "The states' inputs and outputs sort by name into different orders: "
            + ", ".join(f"{state.input}:{state.output}" for state in by_input)
        )


def violations(
    graphs: Mapping[str, Graph],
    states: Sequence[State],
    lengths: Sequence[str],
    vocabulary: Vocabulary | None,
) -> Iterator[str]:
    """Yield each rule for a finished contract that is broken, as a clause of a sentence."""
    if not graphs:
        yield "it has no graph"
    for kind, graph in graphs.items():
        for port in (*graph.inputs, *graph.outputs):
            yield from _port_violations(port, kind)
        yield from _state_violations(graph, states, kind)
    yield from _pair_violations(graphs, {*lengths} | {state.input for state in states})
    yield from _length_violations(graphs.get("sequence"), lengths)
    yield from _vocabulary_violations(graphs, vocabulary)


def _port_violations(port: Port, kind: str) -> Iterator[str]:
    where = f"port {quote(port.name)} of the {kind} graph"
    if not _is_name(port.name):
        yield f"{where} has a name that cannot be a file name"
    if port.dtype not in DTYPES:
        yield f"{where} is of dtype {quote(port.dtype)}; known are: {', '.join(DTYPES)}"
    if len(port.shape) > _MAX_AXES:
        yield f"{where} has {len(port.shape)} axes; at most {_MAX_AXES} are read"
    for size, name in zip(port.shape, port.axes, strict=True):
        if isinstance(size, int) and not 0 <= size <= MAX_SIZE:
            yield f"{where} has an axis of size {size}; sizes are from 0 to {MAX_SIZE}"
        for text in {size, name}:
            if isinstance(text, str) and text != _UNNAMED and not is_size_expression(text):
                yield (
                    f"{where} has an axis {quote(text)}, which is neither a name nor an "
                    "expression of names with + - * // and parentheses"
                )
        if isinstance(size, str) and size.isidentifier() and name != size:
            yield f"{where} has the dynamic axis {quote(size)} under another name"
    if port.limit is not None and port.dtype in DTYPES and np.dtype(port.dtype).kind not in "iu":
        yield f"{where} has a limit of ids but is of dtype {port.dtype}"
    if port.limit is not None and port.limit < 1:
        yield f"{where} takes {port.limit} ids; it must take at least 1"


def _state_violations(graph: Graph, states: Sequence[State], kind: str) -> Iterator[str]:
    for names in zip(*((state.name, state.input, state.output) for state in states), strict=True):
        if len({*names}) < len(names):
            yield f"two of its states share a name: {', '.join(names)}"
    for state in states:
        port = graph.input(state.input)
        where = f"state {quote(state.name)} of the {kind} graph"
        if any(isinstance(size, str) and size != BATCH for size in port.shape):
            yield f"{where} is `{port}`; only its axis `{BATCH}` may be dynamic"
            continue
        shape = tuple(1 if size == BATCH else int(size) for size in port.shape)
        if math.prod(shape) > _MAX_STATE:
            yield f"{where} is `{port}`; at most {_MAX_STATE} numbers are read"
        if state.initial is None:
            continue
        fits = state.initial.ndim == len(shape) and all(
            size in (1, whole) for size, whole in zip(state.initial.shape, shape, strict=True)
        )
        if not fits:
            yield f"{where} has an initial value of shape {state.initial.shape}, not {shape}"
        elif not np.isfinite(state.initial).all():
            yield f"{where} has an initial value that is not finite"


def _pair_violations(graphs: Mapping[str, Graph], others: set[str]) -> Iterator[str]:
    """Yield how the ports of the step graph differ from those of the sequence graph."""
    if len(graphs) < 2:
        return
    whole, step = graphs["sequence"], graphs["step"]
    for role, wanted, found in (
        ("inputs", whole.inputs, step.inputs),
        ("outputs", whole.outputs, step.outputs),
    ):
        ranks = {port.name: (port.dtype, len(port.shape)) for port in wanted}
        steps = {port.name: (port.dtype, len(port.shape)) for port in found}
        if ranks.keys() - others != steps.keys() - others or any(
            steps[name][0] != dtype or steps[name][1] not in (rank - 1, rank)
            for name, (dtype, rank) in ranks.items()
            if name in steps
        ):
            yield (
                f"its graphs do not have the same {role}: the sequence graph has "
                f"{', '.join(map(str, wanted))}; the step graph {', '.join(map(str, found))}"
            )


def _length_violations(graph: Graph | None, lengths: Sequence[str]) -> Iterator[str]:
    if graph is None:
        return
    ports = {port.name: port for port in graph.inputs}
    for name in lengths:
        port = ports.get(name)
        if port is None:
            yield f"it has lengths in {quote(name)}, which is not an input of the sequence graph"
        elif len(port.shape) != 1 or np.dtype(port.dtype).kind not in "iu":
            yield f"it has lengths in `{port}`; lengths are integers, one for each sequence"
        elif not any(SEQUENCE in other.axes for other in graph.inputs):
            yield f"it has lengths in `{port}` but no input with an axis `{SEQUENCE}`"


def _vocabulary_violations(
    graphs: Mapping[str, Graph], vocabulary: Vocabulary | None
) -> Iterator[str]:
    for graph in graphs.values():
        limits = [port for port in graph.inputs if port.limit is not None]
        if vocabulary and limits and len(vocabulary) not in [port.limit for port in limits]:
            counts = " and ".join(f"`{port.name}` takes {port.limit} ids" for port in limits)
            yield f"its vocabulary has {len(vocabulary)} symbols, but {counts}"


def _is_name(name: str) -> bool:
    """Say whether a port's name can be a file name, as in the golden run."""
    return (
        name.isprintable()
        and 0 < len(name) <= _MAX_NAME
        and not {*name} & {*"/\\"}
        and name not in (".", "..")
    )
