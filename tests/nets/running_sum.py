"""A model that adds up what it is given: as a reference, as a contract, as graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgernn.contract import Contract, Graph, Port, State
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.proof.reference import RunResult
from edgernn.report import ParityReport

Arrays = dict[str, Any]

WIDTH = 2
X = ("batch", "sequence", WIDTH)
H = ("batch", WIDTH)
TRACED = (2, 4)


def running_sum(x: Any, h: Any) -> tuple[Any, Any]:
    """The model: each output is the state before and all inputs so far; the last is the state."""
    y = h[:, None] + np.cumsum(x, 1, dtype=x.dtype)
    return y, y[:, -1]


@dataclass
class Reference:
    """A function of x and h as a reference; notes the inputs that it was given."""

    function: Callable[[Any, Any], tuple[Any, Any]] = running_sum
    exact: bool = False
    name = "the sum"
    arguments = ()

    def __post_init__(self) -> None:
        self.inputs: list[Arrays] = []

    def double(self) -> Reference:
        return Reference(self.function, exact=True)

    def layers(self, inputs: Mapping[str, Any], states: Mapping[str, Any]) -> list[Any]:
        return []

    def __call__(self, inputs: Mapping[str, Any], states: Mapping[str, Any]) -> RunResult:
        self.inputs.append(dict(inputs))
        x = inputs["x"]
        h = states.get("h", np.zeros((len(x), WIDTH), x.dtype))
        if self.exact:
            x, h = x.astype(np.float64), h.astype(np.float64)
        y, h = self.function(x, h)
        return RunResult({"": y}, {"h": h})


def contract(
    x: tuple[int | str, ...] = X, y: tuple[int | str, ...] = X, **options: Any
) -> Contract:
    """Return the contract of the sum, with other shapes of x and its output if they are given."""
    h = options.pop("h", H if "batch" in x else (1, WIDTH))
    states = Port("h_in", "float32", h), Port("h_out", "float32", h)
    graph = Graph(
        (Port("x", "float32", x, "x"), *options.pop("inputs", ()), states[0]),
        (Port("output", "float32", y, ""), states[1]),
    )
    options = {"carry": True, "states": (State("h", "h_in", "h_out"),), **options}
    return Contract("f" * 16, "a sum", graphs={"sequence": graph}, **options)


def sampler(
    function: Any = running_sum, ports: Contract | None = None, **options: Any
) -> InputSampler:
    """Return what draws inputs for a function of x and h."""
    ports = ports or contract()
    data = ports.data_inputs("sequence")
    options = {
        "examples": {port.name: np.ones([2] * len(port.shape), port.dtype) for port in data},
        "traced_sizes": {"batch": TRACED[0], "sequence": TRACED[1]},
        "free_states": ("h",),
        **options,
    }
    return InputSampler(ports, Reference(function), **options)


def prover(function: Any = running_sum, ports: Contract | None = None, **options: Any) -> Prover:
    """Return what proves graphs against a function of x and h."""
    return Prover(sampler(function, ports, **options))


SUMS = """
    long = CumSum(x, one)
    start = Unsqueeze(h_in, one)
    output = Add(start, long)
    end = Gather<axis=1>(output, last)
    h_out = Squeeze(end, one)"""


def both(ports: Contract) -> Contract:
    """Return the contract of both graphs."""

    def without(port: Port) -> Port:
        return replace(port, shape=tuple(size for size in port.shape if size != "sequence"))

    graph = ports.graphs["sequence"]
    step = Graph(tuple(map(without, graph.inputs)), tuple(map(without, graph.outputs)))
    return replace(ports, graphs={"sequence": graph, "step": step})


def write(folder: Path, ports: Contract, body: str = SUMS, kind: str = "sequence") -> str:
    """Write a graph of the contract's ports, or of one step; return its file."""
    graph = both(ports).graphs[kind]
    inputs, outputs = (
        ", ".join(f"float[{', '.join(map(str, port.shape))}] {port.name}" for port in side)
        for side in (graph.inputs, graph.outputs)
    )
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g ({inputs}) => ({outputs}) '
        f"<int64[1] one = {{1}}, int64[1] last = {{-1}}> {{ {body} }}"
    )
    file = folder / f"{kind}.onnx"
    onnx.save(model, str(file))
    return str(file)


STEP = "output = Add(x, h_in) h_out = Identity(output)"


def report(folder: Path, prover: Prover, step: str | None = STEP) -> ParityReport:
    """Run all checks on the graphs of the sum."""
    graphs = {"sequence": write(folder, prover.contract)}
    written = prover.contract
    if step is not None:
        graphs["step"] = write(folder, prover.contract, step, "step")
        written = both(prover.contract)
    return prover.report(graphs, PortAdapter(prover.contract, written))
