"""A graph in ONNX Runtime as a function of data and states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract
from edgernn.errors import EdgernnError, ParityError
from edgernn.export.ir.onnx_session import OnnxSession, failure_reason

__all__ = ["Arrays", "Run", "batch_of", "features_of", "session_of"]

Arrays = dict[str, NDArray[Any]]

Run = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]
"""From data by port name and states by name to data outputs and final states likewise."""


def session_of(kind: str, contract: Contract, model: bytes | str, inner: Sequence[str] = ()) -> Run:
    """Return graph `kind` as a function, in a fresh ONNX Runtime session on one thread.

    Args:
        kind: `sequence` or `step`.
        contract: What the graph promises.
        model: The serialized graph, or the path of its file.
        inner: Names of outputs that the graph has beside those of its contract.
    """
    session = OnnxSession(model)
    graph = contract.graphs[kind]
    inputs = [port.name for port in graph.inputs]
    outputs = [*(port.name for port in graph.outputs), *inner]

    def run(data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        feeds = {**data, **{state.input: states[state.name] for state in contract.states}}
        feeds = {name: feeds[name] for name in inputs}
        sizes = ", ".join(f"`{name}` {array.shape}" for name, array in feeds.items())
        with _named(f"The {kind} graph fails on {sizes}"):
            results = session(feeds, outputs)
        finals = {state.name: results.pop(state.output) for state in contract.states}
        return results, finals

    return run


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn what ONNX Runtime raises, which has no base class of its own, into a ParityError."""
    try:
        yield
    except EdgernnError:
        raise
    except Exception as error:
        raise ParityError(f"{what} in ONNX Runtime: {failure_reason(error)}.") from error


def batch_of(contract: Contract, data: Mapping[str, NDArray[Any]], default: int = 1) -> int:
    """Return the number of sequences in data by the sequence graph's port names."""
    for port in contract.data_inputs("sequence"):
        axis = port.axis(BATCH)
        if axis is not None:
            return int(data[port.name].shape[axis])
    return default


def features_of(contract: Contract) -> frozenset[str]:
    """Return the outputs and states whose last axis is one of features: a number in the contract.

    Outputs have the names of their ports, states their own.
    """
    graph = contract.graphs["sequence"]
    ports = {port.name: port for port in contract.data_outputs("sequence")}
    ports |= {state.name: graph.output(state.output) for state in contract.states}
    return frozenset(
        name for name, port in ports.items() if port.shape and isinstance(port.shape[-1], int)
    )
