"""A graph in ONNX Runtime as a function of data and states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgernn.contract import BATCH, Contract
from edgernn.errors import EdgernnError, ParityError
from edgernn.export.ir.onnx_session import Arrays, OnnxSession, failure_reason
from edgernn.export.proof.reference import RunResult

__all__ = ["GraphFunction", "batch_of", "feature_ports", "graph_function"]

GraphFunction = Callable[[Arrays, Arrays], RunResult]
"""From data by port name and states by name to data outputs by port name and final states."""


def graph_function(
    kind: str, contract: Contract, model: ir.Model | str, inner: Sequence[str] = ()
) -> GraphFunction:
    """Return graph `kind` as a function, in a new ONNX Runtime session on one thread.

    What ONNX Runtime raises has no base class of its own; the function raises ParityError for it.

    Args:
        kind: `sequence` or `step`.
        contract: The contract of the graph.
        model: The graph, or the path of its file.
        inner: Outputs of the graph besides those of its contract.
    """
    to_bytes = ir.serde.serialize_model
    session = OnnxSession(model if isinstance(model, str) else to_bytes(model).SerializeToString())
    graph = contract.graphs[kind]
    outputs = [*(port.name for port in graph.outputs), *inner]

    def run(data: Arrays, states: Arrays) -> RunResult:
        feeds = {**data, **{state.input: states[state.name] for state in contract.states}}
        feeds = {port.name: feeds[port.name] for port in graph.inputs}
        try:
            results = session(feeds, outputs)
        except EdgernnError:
            raise
        except Exception as error:
            sizes = ", ".join(f"`{name}` {array.shape}" for name, array in feeds.items())
            raise ParityError(
                f"The {kind} graph fails on {sizes} in ONNX Runtime: {failure_reason(error)}."
            ) from error
        final_states = {state.name: results.pop(state.output) for state in contract.states}
        return RunResult(results, final_states)

    return run


def batch_of(contract: Contract, data: Arrays, default: int = 1) -> int:
    """Return the number of sequences in data by the sequence graph's port names."""
    for port in contract.data_inputs("sequence"):
        axis = port.axis(BATCH)
        if axis is not None:
            return int(data[port.name].shape[axis])
    return default


def feature_ports(contract: Contract) -> frozenset[str]:
    """Return the outputs and states whose last axis is one of features: a constant in the contract.

    Outputs are given by the names of their ports, states by their own.
    """
    graph = contract.graphs["sequence"]
    ports = {port.name: port for port in contract.data_outputs("sequence")}
    ports |= {state.name: graph.output(state.output) for state in contract.states}
    return frozenset(
        name for name, port in ports.items() if port.shape and isinstance(port.shape[-1], int)
    )
