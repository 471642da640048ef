"""ONNX files as other people write them, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HIDDEN = 3
WIDTH = 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}

Arrays = dict[str, NDArray[Any]]


def port(name: str, shape: Sequence[int | str] | None, dtype: int = TensorProto.FLOAT) -> Any:
    """Return an input or output of a graph."""
    return helper.make_tensor_value_info(name, dtype, shape)


X = port("x", ["T", "B", WIDTH])


def weights(
    op: str, directions: int = 1, *, suffix: str = "", hidden: int = HIDDEN, width: int = WIDTH
) -> Arrays:
    """Return random weights W, R and B of a recurrent operator by name."""
    rng = np.random.default_rng(len(op) + len(suffix))
    rows = GATES[op] * hidden
    shapes = {
        "W": (directions, rows, width),
        "R": (directions, rows, hidden),
        "B": (directions, 2 * rows),
    }
    return {
        f"{letter}{suffix}": (rng.standard_normal(shape) / 2).astype(np.float32)
        for letter, shape in shapes.items()
    }


def recurrent(
    op: str,
    inputs: Sequence[str] = ("x", "W", "R", "B"),
    outputs: Sequence[str] = ("y",),
    **how: Any,
) -> Any:
    """Return a recurrent node called `rec`."""
    return helper.make_node(op, inputs, outputs, **{"hidden_size": HIDDEN, "name": "rec", **how})


def write(
    path: Path,
    nodes: Sequence[Any],
    constants: Mapping[str, NDArray[Any]],
    inputs: Sequence[Any] = (X,),
    outputs: Sequence[Any] = (),
    *,
    opset: int = 18,
    ir_version: int = 8,
) -> Path:
    """Write a file; by default its outputs are those of the last node, of unknown shape."""
    results = list(outputs) or [port(name, None) for name in nodes[-1].output if name]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    listed = [port(k, v.shape) for k, v in constants.items()] if ir_version < 4 else []
    graph = helper.make_graph(nodes, "g", [*inputs, *listed], results, initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    onnx.save(model, path)
    return path


def detector(path: Path, primitive: bool) -> Path:
    """Write a voice detector: convolution in front of one LSTM step, h and c in one tensor.

    Takes x (batch, 64) and state (2, batch, 4), gives output (batch, 1) and stateN.
    """
    rng = np.random.default_rng(5)
    cell = weights("LSTM", hidden=4, width=6)
    constants: Arrays = {
        "kernel": rng.standard_normal((6, 1, 16)).astype(np.float32),
        "head": rng.standard_normal((4, 1)).astype(np.float32),
        **{f"axis{axis}": np.array([axis]) for axis in range(3)},
    }
    op = helper.make_node
    nodes = [
        op("Unsqueeze", ["x", "axis1"], ["wave"]),
        op("Conv", ["wave", "kernel"], ["frames"], strides=[8]),
        op("Relu", ["frames"], ["heard"]),
        op("ReduceMean", ["heard", "axis2"], ["features"], keepdims=0),
        op("Split", ["state"], ["h", "c"], axis=0, num_outputs=2),
    ]
    if primitive:
        constants |= {"W": cell["W"][0], "R": cell["R"][0], "b": cell["B"][0, :16]}
        nodes += [
            op("Squeeze", ["h", "axis0"], ["h0"]),
            op("Squeeze", ["c", "axis0"], ["c0"]),
            op("Gemm", ["features", "W", "b"], ["from_x"], transB=1),
            op("Gemm", ["h0", "R"], ["from_h"], transB=1),
            op("Add", ["from_x", "from_h"], ["gates"]),
            op("Split", ["gates"], ["i", "o", "f", "g"], axis=1, num_outputs=4),
            *(op("Sigmoid", [gate], [f"{gate}_on"]) for gate in "iof"),
            op("Tanh", ["g"], ["g_on"]),
            op("Mul", ["f_on", "c0"], ["kept"]),
            op("Mul", ["i_on", "g_on"], ["written"]),
            op("Add", ["kept", "written"], ["c1"]),
            op("Tanh", ["c1"], ["c1_on"]),
            op("Mul", ["o_on", "c1_on"], ["h1"]),
            op("Unsqueeze", ["h1", "axis0"], ["hn"]),
            op("Unsqueeze", ["c1", "axis0"], ["cn"]),
        ]
    else:
        constants |= cell
        inputs = ["one", "W", "R", "B", "", "h", "c"]
        nodes += [
            op("Unsqueeze", ["features", "axis0"], ["one"]),
            op("LSTM", inputs, ["y", "hn", "cn"], hidden_size=4),
            op("Squeeze", ["hn", "axis0"], ["h1"]),
        ]
    nodes += [
        op("Concat", ["hn", "cn"], ["stateN"], axis=0),
        op("Gemm", ["h1", "head"], ["score"]),
        op("Sigmoid", ["score"], ["output"]),
    ]
    return write(
        path,
        nodes,
        constants,
        [port("x", ["B", 64]), port("state", [2, "B", 4])],
        [port("output", ["B", 1]), port("stateN", [2, "B", 4])],
    )
