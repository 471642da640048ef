"""Ways to run a model over data: a graph in ONNX Runtime, eager torch; whole or in parts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import EdgernnError, ParityError
from edgernn.export.proof.session import fresh_session
from edgernn.parts import join
from edgernn.sizes import resolve

__all__ = ["Arrays", "Run", "batch_of", "draw", "in_parts", "session_of"]

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
    session = fresh_session(model)
    graph = contract.graphs[kind]
    inputs = [port.name for port in graph.inputs]
    outputs = [*(port.name for port in graph.outputs), *inner]

    def run(data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        feeds = {**data, **{state.input: states[state.name] for state in contract.states}}
        feeds = {name: np.asarray(feeds[name], order="C") for name in inputs}
        sizes = ", ".join(f"`{name}` {array.shape}" for name, array in feeds.items())
        with _named(f"The {kind} graph fails on {sizes}"):
            arrays = map(np.asarray, session.run(outputs, feeds))
        results = dict(zip(outputs, arrays, strict=True))
        finals = {state.name: results.pop(state.output) for state in contract.states}
        return results, finals

    return run


_PREAMBLE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:\s*)?")


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn what ONNX Runtime raises, which has no base class of its own, into a ParityError."""
    try:
        yield
    except EdgernnError:
        raise
    except Exception as error:
        reason = _PREAMBLE.sub("", str(error).strip()).partition("\n")[0].rstrip(".")
        raise ParityError(f"{what} in ONNX Runtime: {reason}.") from error


def in_parts(
    contract: Contract,
    run: Run,
    data: Arrays,
    states: Arrays,
    lengths: Sequence[int],
    stepwise: bool = False,
    length_ports: Collection[str] = (),
) -> tuple[Arrays, Arrays]:
    """Run parts of the data one after the other, each from the state that the last one left.

    Args:
        contract: A contract with a sequence graph; `data` is of its ports' shapes.
        run: What to run.
        data: Data by port name.
        states: The state to start from, by name.
        lengths: The number of steps of each part.
        stepwise: Whether `run` takes single steps without the sequence axis.
        length_ports: Names of the inputs that hold lengths; each part is as long as it is.

    Returns:
        The outputs joined along the sequence axis, the last part's where they have none, and the
        final states.
    """
    axes = {port.name: port.axis(SEQUENCE) for port in contract.data_inputs("sequence")}
    parts: list[Arrays] = []
    place = 0
    for length in lengths:
        span = place if stepwise else range(place, place + length)
        part = {
            name: array if (axis := axes[name]) is None else array.take(span, axis)
            for name, array in data.items()
        }
        for name in length_ports:
            part[name] = np.full_like(data[name], length)
        outputs, states = run(part, states)
        parts.append(outputs)
        place += length
    batch = batch_of(contract, data)
    joined = {
        port.name: join(port, [outputs[port.name] for outputs in parts], batch, stepwise)
        for port in contract.data_outputs("sequence")
    }
    return joined, states


def batch_of(contract: Contract, data: Mapping[str, NDArray[Any]], default: int = 1) -> int:
    """Return the number of sequences in data by the sequence graph's port names."""
    for port in contract.data_inputs("sequence"):
        axis = port.axis(BATCH)
        if axis is not None:
            return int(data[port.name].shape[axis])
    return default


def draw(
    port: Port, symbols: Mapping[str, int], rng: np.random.Generator, example: NDArray[Any]
) -> NDArray[Any]:
    """Return values for a data input of the sizes that `symbols` gives its axes.

    Numbers are standard normal, ids spread over what the port takes; other integers repeat the
    example's.
    """
    shape = resolve(port.shape, symbols)
    assert shape is not None
    if port.limit is not None:
        return rng.integers(port.limit, size=shape).astype(port.dtype)
    if np.issubdtype(np.dtype(port.dtype), np.floating):
        return rng.standard_normal(shape).astype(port.dtype)
    if example.ndim < len(shape):  # an example of one step
        example = np.expand_dims(example, port.shape.index(SEQUENCE))
    for axis, size in enumerate(shape):
        example = example.take(np.arange(size) % example.shape[axis], axis)
    return example.astype(port.dtype)
