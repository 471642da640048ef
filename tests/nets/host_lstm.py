"""A small LSTM's artifact, written by hand: what the hosts run where torch is not wanted.

The sequence graph holds the LSTM operator, the step graph the same weights as one Gemm, and the
golden run is computed by neither, but by the equations of the ONNX operator in NumPy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgernn.artifact import Artifact
from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port, State
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from edgernn.report import Check, Cost, ParityReport

__all__ = ["write_lstm"]

Array = NDArray[np.float32]

INPUT, HIDDEN = 3, 4
FAMILY = "5ca1ab1e" * 2
STATE = (1, BATCH, HIDDEN)


def write_lstm(path: Path, batch: int = 2, steps: int = 7) -> Artifact:
    """Write the artifact of an LSTM(3 → 4) with a golden run of `batch` sequences of `steps`.

    The graphs take `x` (batch, sequence, 3) and give `output` (batch, sequence, 4), and `last`
    (batch, 4), which has no sequence axis. The step graph's ports lack that axis.
    """
    weights = _weights(np.random.default_rng(0))
    with atomic_folder(path) as folder:
        graphs = {
            "sequence": _graph((BATCH, SEQUENCE, INPUT), (BATCH, SEQUENCE, HIDDEN)),
            "step": _graph((BATCH, INPUT), (BATCH, HIDDEN)),
        }
        contract = Contract(
            family=FAMILY,
            source="LSTM(3 → 4), written by hand",
            states=(State("h", "h_in", "h_out"), State("c", "c_in", "c_out")),
            carry=True,
            graphs=graphs,
        )
        for kind, nodes, tensors in (
            ("sequence", _sequence_nodes(), _sequence_tensors(weights)),
            ("step", _step_nodes(), _step_tensors(weights)),
        ):
            onnx.save(_model(contract, kind, nodes, tensors), str(folder / f"{kind}.onnx"))
        (folder / "golden").mkdir()
        for name, array in _golden(weights, batch, steps).items():
            np.save(folder / "golden" / f"{name}.npy", array)
        artifact = Artifact(
            path=path,
            contract=contract,
            parity=ParityReport(
                "the equations", 1e-5, (Check("whole", "sequence", batch, steps, "random", 0.0),)
            ),
            cost=Cost(parameters=144, multiply_adds=112, weight_bytes=576, state_bytes=32),
            digests={
                file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in sorted(folder.glob("*.onnx"))
            },
        )
        (folder / "contract.json").write_text(json.dumps(artifact.to_json(), indent=2), "utf-8")
    return artifact


def _weights(random: np.random.Generator) -> dict[str, Array]:
    """Return W (1, 16, 3), R (1, 16, 4) and B (1, 32) in the gate order i o f c."""
    shapes = {
        "W": (1, 4 * HIDDEN, INPUT),
        "R": (1, 4 * HIDDEN, HIDDEN),
        "B": (1, 8 * HIDDEN),
    }
    return {name: random.normal(0, 0.5, shape).astype("f4") for name, shape in shapes.items()}


def _graph(x: tuple[int | str, ...], output: tuple[int | str, ...]) -> Graph:
    states = [Port(f"{name}_in", "float32", STATE) for name in "hc"]
    return Graph(
        (Port("x", "float32", x, "x"), *states),
        (
            Port("output", "float32", output, "[0]"),
            Port("last", "float32", (BATCH, HIDDEN), "[1]"),
            *(Port(f"{name}_out", "float32", STATE) for name in "hc"),
        ),
    )


def _model(
    contract: Contract, kind: str, nodes: Sequence[onnx.NodeProto], tensors: dict[str, Any]
) -> onnx.ModelProto:
    graph = contract.graphs[kind]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            kind,
            [_value(port) for port in graph.inputs],
            [_value(port) for port in graph.outputs],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    helper.set_model_props(model, contract.metadata(kind))
    onnx.checker.check_model(model, full_check=True)
    return model


def _value(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape)


def _sequence_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Transpose", ["x"], ["x_t"], perm=[1, 0, 2]),
        node(
            "LSTM",
            ["x_t", "W", "R", "B", "", "h_in", "c_in"],
            ["y", "h_out", "c_out"],
            hidden_size=HIDDEN,
        ),
        node("Squeeze", ["y", "one"], ["y_t"]),
        node("Transpose", ["y_t"], ["output"], perm=[1, 0, 2]),
        node("Squeeze", ["h_out", "zero"], ["last"]),
    ]


def _sequence_tensors(weights: dict[str, Array]) -> dict[str, Any]:
    return {**weights, "zero": np.array([0]), "one": np.array([1])}


def _step_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Squeeze", ["h_in", "zero"], ["h"]),
        node("Squeeze", ["c_in", "zero"], ["c"]),
        node("Concat", ["x", "h"], ["xh"], axis=1),
        node("Gemm", ["xh", "WR", "b"], ["gates"], transB=1),
        node("Split", ["gates"], ["i", "o", "f", "g"], axis=1, num_outputs=4),
        *(node("Sigmoid", [gate], [f"{gate}_s"]) for gate in "iof"),
        node("Tanh", ["g"], ["g_t"]),
        node("Mul", ["f_s", "c"], ["kept"]),
        node("Mul", ["i_s", "g_t"], ["added"]),
        node("Add", ["kept", "added"], ["c_new"]),
        node("Tanh", ["c_new"], ["c_t"]),
        node("Mul", ["o_s", "c_t"], ["output"]),
        node("Identity", ["output"], ["last"]),
        node("Unsqueeze", ["output", "zero"], ["h_out"]),
        node("Unsqueeze", ["c_new", "zero"], ["c_out"]),
    ]


def _step_tensors(weights: dict[str, Array]) -> dict[str, Any]:
    return {
        "WR": np.concatenate([weights["W"][0], weights["R"][0]], axis=1),
        "b": weights["B"][0, : 4 * HIDDEN] + weights["B"][0, 4 * HIDDEN :],
        "zero": np.array([0]),
    }


def _golden(weights: dict[str, Array], batch: int, steps: int) -> dict[str, Array]:
    """Return one array per port of the sequence graph, by the operator's own equations."""
    random = np.random.default_rng(1)
    tensors = _step_tensors(weights)
    x = random.normal(size=(batch, steps, INPUT)).astype("f4")
    h = before_h = random.normal(0, 0.5, (batch, HIDDEN)).astype("f4")
    c = before_c = random.normal(0, 0.5, (batch, HIDDEN)).astype("f4")
    outputs = []
    for t in range(steps):
        gates = np.concatenate([x[:, t], h], axis=1) @ tensors["WR"].T + tensors["b"]
        i, o, f, g = np.split(gates, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
    states = {"h_in": before_h[None], "c_in": before_c[None], "h_out": h[None], "c_out": c[None]}
    return {"x": x, "output": np.stack(outputs, axis=1), "last": h, **states}


def _sigmoid(x: Array) -> Array:
    return (1 / (1 + np.exp(-x))).astype(np.float32)
