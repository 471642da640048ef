"""Small graphs with a contract, written by hand: what an export would write, and what it might."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgernn.artifact import Artifact
from edgernn.contract import Contract, Graph, Port, State
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from edgernn.report import Cost

SYMBOLS, SIZE, HIDDEN = 5, 3, 4
STATES = (State("h", "h_in", "h_out"), State("c", "c_in", "c_out"))

_rng = np.random.default_rng(7)
WEIGHTS: dict[str, NDArray[Any]] = {
    "E": _rng.normal(size=(SYMBOLS, SIZE)).astype(np.float32),
    "W": _rng.normal(size=(1, 4 * HIDDEN, SIZE)).astype(np.float32),
    "R": _rng.normal(size=(1, 4 * HIDDEN, HIDDEN)).astype(np.float32),
    "B": _rng.normal(size=(1, 8 * HIDDEN)).astype(np.float32),
}


def states(batch: int | str) -> tuple[Port, ...]:
    """Return the input ports of h and c, shape (1, batch, HIDDEN)."""
    return tuple(Port(f"{name}_in", "float32", (1, batch, HIDDEN)).with_batch() for name in "hc")


def outs(ports: Sequence[Port]) -> tuple[Port, ...]:
    """Return the output ports that belong to input ports of states."""
    return tuple(replace(port, name=port.name.replace("_in", "_out")) for port in ports)


def sequence_ports(batch: int | str = "batch", sequence: int | str = "sequence") -> Graph:
    """Return the ports of the sequence graph: tokens in, output (sequence, batch, HIDDEN)."""
    axes = ("sequence", "batch")
    tokens = Port("tokens", "int64", (sequence, batch), "tokens", SYMBOLS).with_axes(axes)
    output = Port("output", "float32", (sequence, batch, HIDDEN), "[0]")
    return Graph(
        (tokens, *states(batch)),
        (output.with_axes((*axes, None)), *outs(states(batch))),
    )


def step_ports(batch: int | str = "batch") -> Graph:
    """Return the ports of the step graph: tokens (batch,) in, output (batch, HIDDEN)."""
    return Graph(
        (
            Port("tokens", "int64", (batch,), "tokens", SYMBOLS).with_axes(("batch",)),
            *states(batch),
        ),
        (
            Port("output", "float32", (batch, HIDDEN), "[0]").with_axes(("batch", None)),
            *outs(states(batch)),
        ),
    )


def contract(
    batch: int | str = "batch",
    kinds: Sequence[str] = ("sequence", "step"),
    sequence: int | str = "sequence",
    **changes: Any,
) -> Contract:
    """Return the contract of the embedded LSTM."""
    graphs = {"sequence": sequence_ports(batch, sequence), "step": step_ports(batch)}
    whole = Contract("f00d", "demo", STATES, True, {kind: graphs[kind] for kind in kinds})
    return replace(whole, **changes)


def sequence_nodes() -> list[onnx.NodeProto]:
    """Return Gather → LSTM → Squeeze."""
    return [
        helper.make_node("Gather", ["E", "tokens"], ["x"]),
        helper.make_node(
            "LSTM",
            ["x", "W", "R", "B", "", "h_in", "c_in"],
            ["y", "h_out", "c_out"],
            hidden_size=HIDDEN,
        ),
        helper.make_node("Squeeze", ["y", "one"], ["output"]),
    ]


def step_nodes() -> list[onnx.NodeProto]:
    """Return the same step with one Gemm; the gates stand in ONNX's order i o f c."""
    node = helper.make_node
    return [
        node("Gather", ["E", "tokens"], ["x"]),
        node("Squeeze", ["h_in", "zero"], ["h"]),
        node("Squeeze", ["c_in", "zero"], ["c"]),
        node("Concat", ["x", "h"], ["xh"], axis=1),
        node("Gemm", ["xh", "WR", "b"], ["gates"]),
        node("Split", ["gates"], ["i", "o", "f", "g"], axis=1, num_outputs=4),
        *(node("Sigmoid", [gate], [f"s{gate}"]) for gate in "iof"),
        node("Tanh", ["g"], ["tg"]),
        node("Mul", ["sf", "c"], ["kept"]),
        node("Mul", ["si", "tg"], ["added"]),
        node("Add", ["kept", "added"], ["c2"]),
        node("Tanh", ["c2"], ["tc"]),
        node("Mul", ["so", "tc"], ["output"]),
        node("Unsqueeze", ["output", "zero"], ["h_out"]),
        node("Unsqueeze", ["c2", "zero"], ["c_out"]),
    ]


def constants() -> dict[str, NDArray[Any]]:
    """Return the initializers of both graphs."""
    both = np.concatenate([WEIGHTS["W"][0], WEIGHTS["R"][0]], 1).T
    return {
        **WEIGHTS,
        "WR": np.ascontiguousarray(both),
        "b": WEIGHTS["B"][0].reshape(2, -1).sum(0),
        "zero": np.array([0]),
        "one": np.array([1]),
    }


def model(
    nodes: Sequence[onnx.NodeProto],
    promise: Contract,
    kind: str,
    initializers: Mapping[str, NDArray[Any]],
) -> onnx.ModelProto:
    """Return a checked ONNX model of the nodes with the contract in its metadata."""

    def info(port: Port) -> onnx.ValueInfoProto:
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
        return helper.make_tensor_value_info(port.name, dtype, port.shape)

    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        list(nodes),
        kind,
        [info(port) for port in promise.graphs[kind].inputs],
        [info(port) for port in promise.graphs[kind].outputs],
        [numpy_helper.from_array(v, name) for name, v in initializers.items() if name in used],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(proto, promise.metadata(kind))
    onnx.checker.check_model(proto)
    return proto


def lstm(promise: Contract, kind: str) -> onnx.ModelProto:
    """Return the embedded LSTM as graph `kind`."""
    nodes = {"sequence": sequence_nodes, "step": step_nodes}[kind]()
    return model(nodes, promise, kind, constants())


def write(path: Path, promise: Contract, graphs: Mapping[str, onnx.ModelProto]) -> Path:
    """Write an artifact as the export does, without a golden run."""
    with atomic_folder(path) as folder:
        digests = {}
        for kind, proto in graphs.items():
            data = proto.SerializeToString()
            (folder / f"{kind}.onnx").write_bytes(data)
            digests[f"{kind}.onnx"] = hashlib.sha256(data).hexdigest()
        artifact = Artifact(path, promise, None, Cost(0, 0, 0, 0), {}, digests)
        (folder / "contract.json").write_text(json.dumps(artifact.to_json()), "utf-8")
    return path


def write_lstm(path: Path, promise: Contract) -> Path:
    """Write the embedded LSTM as an artifact."""
    return write(path, promise, {kind: lstm(promise, kind) for kind in promise.graphs})


def reference(
    tokens: NDArray[Any], h: NDArray[Any] | None = None, c: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Run the LSTM in NumPy: tokens (sequence, batch) to output, h and c."""
    zeros = np.zeros((1, tokens.shape[1], HIDDEN))
    hidden, cell = (zeros[0] if state is None else state[0] for state in (h, c))
    table, rows = constants(), []
    for ids in tokens:
        gates = np.concatenate([table["E"][ids], hidden], 1) @ table["WR"] + table["b"]
        i, o, f, g = np.split(gates, 4, 1)
        i, o, f = (1 / (1 + np.exp(-gate)) for gate in (i, o, f))
        cell = f * cell + i * np.tanh(g)
        hidden = o * np.tanh(cell)
        rows.append(hidden)
    return np.stack(rows), hidden[None], cell[None]


def two_inputs(path: Path) -> Path:
    """Write a leaky sum with two real inputs, two outputs and a learned initial state.

    s' = s / 2 + x · scale; outputs `level` (s') and `double` (2 s'), both (batch, 2); step only.
    """
    initial = np.array([[[3.0, -1.0]]], np.float32)
    state = Port("s_in", "float32", (1, "batch", 2))
    ports = Graph(
        (Port("x", "float32", ("batch", 2)), Port("scale", "float32", ("batch", 1)), state),
        (
            Port("level", "float32", ("batch", 2)),
            Port("double", "float32", ("batch", 2)),
            *outs([state]),
        ),
    )
    promise = Contract(
        "beef", "leaky sum", (State("s", "s_in", "s_out", initial),), True, {"step": ports}
    )
    node = helper.make_node
    nodes = [
        node("Mul", ["s_in", "half"], ["kept"]),
        node("Mul", ["x", "scale"], ["scaled"]),
        node("Add", ["kept", "scaled"], ["s_out"]),
        node("Squeeze", ["s_out", "zero"], ["level"]),
        node("Add", ["level", "level"], ["double"]),
    ]
    weights = {"half": np.array(0.5, np.float32), "zero": np.array([0])}
    return write(path, promise, {"step": model(nodes, promise, "step", weights)})


def free_axis(path: Path) -> Path:
    """Write a step whose input has a dynamic axis of its own: output is x plus s, s' = s + 1.

    x is (batch, width), output (batch, width), s (1, batch, 1).
    """
    state = Port("s_in", "float32", (1, "batch", 1))
    ports = Graph(
        (Port("x", "float32", ("batch", "width")), state),
        (Port("output", "float32", ("batch", "width")), *outs([state])),
    )
    promise = Contract("cafe", "free", (State("s", "s_in", "s_out"),), True, {"step": ports})
    node = helper.make_node
    nodes = [
        node("Squeeze", ["s_in", "zero"], ["s"]),
        node("Add", ["x", "s"], ["output"]),
        node("Add", ["s_in", "unit"], ["s_out"]),
    ]
    weights = {"unit": np.array(1, np.float32), "zero": np.array([0])}
    return write(path, promise, {"step": model(nodes, promise, "step", weights)})
