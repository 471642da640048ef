"""One-step graphs in text, and ways to run them step by step and lifted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]

SIZES = ((7, 3), (1, 1), (4, 1), (1, 5))
"""Steps and batch of the runs that are compared."""
SYMBOLS = 5

H_STATES = [("h_in", "h_out")]
LSTM_STATES = [("h_in", "h_out"), ("c_in", "c_out")]


@dataclass(frozen=True)
class OneStepModel:
    """A one-step graph in ONNX's text form.

    Attributes:
        text: The graph, from its name on.
        weights: The shape of each of its weights.
        states: Its state inputs and outputs.
        integers: Its integer constants.
    """

    text: str
    weights: Mapping[str, tuple[int, ...]]
    states: Sequence[tuple[str, str]]
    integers: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def model(self, seed: int = 0) -> ir.Model:
        """Return the graph with random weights."""
        random = np.random.default_rng(seed)
        proto = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": 18, "edgernn": 1]> {self.text}'
        )
        arrays = {
            name: (random.standard_normal(shape) * 0.4).astype(np.float32)
            for name, shape in self.weights.items()
        }
        arrays |= {name: np.array(value, np.int64) for name, value in self.integers.items()}
        proto.graph.initializer.extend(
            onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
        )
        onnx.checker.check_model(proto)
        return ir.from_proto(proto)


def session(model: ir.Model) -> onnxruntime.InferenceSession:
    """Return a session on one thread, after ONNX's own check of the model."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers)


def run(session: onnxruntime.InferenceSession, feeds: Mapping[str, Array]) -> list[Array]:
    """Return all outputs of a session."""
    outputs: Any = session.run(None, dict(feeds))
    return list(outputs)


def largest_difference(
    one: ir.Model,
    lifted: ir.Model,
    states: Sequence[tuple[str, str]],
    reference: Callable[[dict[str, Array]], dict[str, Array]] | None = None,
) -> float:
    """Compare a lifted graph with its one-step graph, run step by step, at every size of `SIZES`.

    Checks on the way that the shapes that come out are those that the lifted graph declares.

    Args:
        one: The one-step graph.
        lifted: The sequence graph.
        states: State inputs and outputs.
        reference: What to run as one step in the place of `one`.
    """
    step, whole = session(one), session(lifted)
    names = [port.name for port in step.get_outputs()]
    one_step = reference or (lambda feeds: dict(zip(names, run(step, feeds), strict=True)))
    worst = 0.0
    for steps, batch in SIZES:
        random = np.random.default_rng(steps)
        first = {
            port.name: _draw(random, port, {"batch": batch})
            for port in step.get_inputs()
            if port.name in dict(states)
        }
        inputs, outputs = [], []
        carried = first
        for _ in range(steps):
            data = {
                port.name: _draw(random, port, {"batch": batch})
                for port in step.get_inputs()
                if port.name not in carried
            }
            inputs.append(data)
            outputs.append(one_step({**data, **carried}))
            carried = {before: outputs[-1][after] for before, after in states}
        feeds = dict(first)
        for port in whole.get_inputs():
            if port.name not in first:
                axis = port.shape.index("sequence")
                feeds[port.name] = np.stack([data[port.name] for data in inputs], axis)
        for port, got in zip(whole.get_outputs(), run(whole, feeds), strict=True):
            expected = outputs[-1][port.name]
            if port.name not in dict(states).values():
                axis = port.shape.index("sequence")
                expected = np.stack([output[port.name] for output in outputs], axis)
            sizes = {"batch": batch, "sequence": steps}
            assert got.shape == tuple(sizes.get(size, size) for size in port.shape), port.name
            assert got.shape == expected.shape, port.name
            worst = max(worst, float(np.abs(got - expected).max()))
    return worst


def _draw(random: np.random.Generator, port: Any, sizes: Mapping[str, int]) -> Array:
    shape = [sizes.get(size, size) for size in port.shape]
    if "int" in port.type:
        return random.integers(0, SYMBOLS, shape)
    return random.standard_normal(shape).astype(np.float32)


def body(model: ir.Model) -> list[str]:
    """Return the operators in the body of the Scan of `model`."""
    (scan,) = (node for node in model.graph if node.op_type == "Scan")
    return [node.op_type for node in scan.attributes["body"].as_graph()]


def operators(model: ir.Model) -> list[str]:
    """Return the operators of `model`."""
    return [node.op_type for node in model.graph]
