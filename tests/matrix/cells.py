"""One cell of torch in plain operators: as a step graph, and over time by Scan or Loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from edgernn.export.quantize.integer_rounding import PAIR_LIMIT
from tests.matrix.layers import HIDDEN, INPUT, SYMBOLS
from tests.matrix.sketch import Sketch, drawn, gates_first

__all__ = ["Cell"]


@dataclass(frozen=True)
class Cell:
    """One LSTM, GRU or RNN cell.

    Attributes:
        kind: `LSTM`, `GRU` or `RNN`.
        over: None for a step graph; the operator that lifts it over time, `Scan` or `Loop`.
        embedding: Whether ids go in, through a table.
        int8: Whether the products run in int8 by ONNX Runtime's own operator.
    """

    kind: str
    over: str | None = None
    embedding: bool = False
    int8: bool = False

    @property
    def letters(self) -> str:
        return "hc" if self.kind == "LSTM" else "h"

    def module(self) -> nn.RNNBase:
        return drawn(getattr(nn, self.kind)(INPUT, HIDDEN))

    def table(self) -> Any:
        return np.random.default_rng(1).standard_normal((SYMBOLS, INPUT)).astype(np.float32)

    def graph(self) -> onnx.ModelProto:
        sketch = Sketch()
        x = sketch.add("Gather", sketch.weight(self.table()), "x") if self.embedding else "x"
        before = [sketch.squeeze(f"{letter}_in", 0) for letter in self.letters]
        lift = {None: self._step, "Scan": self._scan, "Loop": self._loop}[self.over]
        after, output = lift(sketch, x, before)
        for letter, value in zip(self.letters, after, strict=True):
            sketch.unsqueeze(value, 0, to=f"{letter}_out")
        sketch.add("Identity", output, to="output")
        axes: list[int | str] = ["sequence", "batch"] if self.over else ["batch"]
        number: int = TensorProto.FLOAT
        state: tuple[int, list[int | str]] = (number, [1, "batch", HIDDEN])
        data = (TensorProto.INT64, axes) if self.embedding else (number, [*axes, INPUT])
        return sketch.model(
            {"x": data} | {f"{letter}_in": state for letter in self.letters},
            {"output": (number, [*axes, HIDDEN])}
            | {f"{letter}_out": state for letter in self.letters},
        )

    def _step(self, sketch: Sketch, x: str, before: list[str]) -> tuple[list[str], str]:
        w, r, b = gates_first(self.module(), "l0", self.kind)
        both, recurrent = np.split(b, 2)
        if self.kind == "GRU":
            after = self._gru(sketch, x, before[0], (w, r), (both, recurrent))
        else:
            joined = sketch.add("Concat", x, before[0], axis=1)
            gates = self._product(sketch, joined, np.hstack([w, r]), both + recurrent)
            after = [sketch.add("Tanh", gates)]
            if self.kind == "LSTM":
                after = self._lstm(sketch, gates, before[1])
        return after, after[0]

    def _product(self, sketch: Sketch, x: str, weight: Any, bias: Any) -> str:
        if not self.int8:
            return sketch.add("Gemm", x, sketch.weight(weight), sketch.weight(bias), transB=1)
        scale = np.float32(np.abs(weight).max() / (PAIR_LIMIT // 2))  # saturates on no CPU
        whole = np.round(weight.T / scale).astype(np.int8)
        inputs = [sketch.weight(part) for part in (whole, scale, np.int8(0), bias)]
        return sketch.add("DynamicQuantizeMatMul", x, *inputs, domain="com.microsoft")

    def _lstm(self, sketch: Sketch, gates: str, c: str) -> list[str]:
        i, o, f, g = sketch.split(gates, 4, HIDDEN, 1)
        i, o, f = (sketch.add("Sigmoid", gate) for gate in (i, o, f))
        kept, new = sketch.add("Mul", f, c), sketch.add("Mul", i, sketch.add("Tanh", g))
        c = sketch.add("Add", kept, new)
        return [sketch.add("Mul", o, sketch.add("Tanh", c)), c]

    def _gru(self, sketch: Sketch, x: str, h: str, weights: Any, biases: Any) -> list[str]:
        products = [
            self._product(sketch, value, weight, bias)
            for value, weight, bias in zip((x, h), weights, biases, strict=True)
        ]
        (z, r_, n), (zh, rh, nh) = (sketch.split(value, 3, HIDDEN, 1) for value in products)
        z = sketch.add("Sigmoid", sketch.add("Add", z, zh))
        reset = sketch.add("Mul", sketch.add("Sigmoid", sketch.add("Add", r_, rh)), nh)
        n = sketch.add("Tanh", sketch.add("Add", n, reset))
        return [sketch.add("Add", n, sketch.add("Mul", z, sketch.add("Sub", h, n)))]

    def _body(self, sketch: Sketch) -> tuple[list[str], list[str], str]:
        """Start a body graph in `sketch`: names of states in, states out and output."""
        states = [f"{letter}_before" for letter in self.letters]
        after, output = self._step(sketch, "x_t", states)
        return states, after, sketch.add("Identity", output)

    def _scan(self, sketch: Sketch, x: str, before: list[str]) -> tuple[list[str], str]:
        body = Sketch("b")
        states, after, output = self._body(body)
        ports = [_port(name, ["batch", HIDDEN]) for name in states]
        graph = helper.make_graph(
            body.nodes,
            "body",
            [*ports, _port("x_t", ["batch", INPUT])],
            [_port(name, ["batch", HIDDEN]) for name in (*after, output)],
            body.weights,
        )
        to = [sketch.name() for _ in range(len(before) + 1)]
        *final, y = sketch.many("Scan", *before, x, to=to, body=graph, num_scan_inputs=1)
        return final, y

    def _loop(self, sketch: Sketch, x: str, before: list[str]) -> tuple[list[str], str]:
        body = Sketch("b")
        body.add("Gather", x, "t", to="x_t")
        states, after, output = self._body(body)
        go_on = body.add("Identity", "go_on")
        graph = helper.make_graph(
            body.nodes,
            "body",
            [
                _port("t", [], TensorProto.INT64),
                _port("go_on", [], TensorProto.BOOL),
                *(_port(name, ["batch", HIDDEN]) for name in states),
            ],
            [
                _port(go_on, [], TensorProto.BOOL),
                *(_port(name, ["batch", HIDDEN]) for name in (*after, output)),
            ],
            body.weights,
        )
        steps = sketch.squeeze(sketch.add("Shape", x, start=0, end=1), 0)
        true = sketch.weight(np.array(True))
        to = [sketch.name() for _ in range(len(before) + 1)]
        *final, y = sketch.many("Loop", steps, true, *before, to=to, body=graph)
        return final, y

    @torch.no_grad()
    def reference(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return what torch makes of the inputs of the graph."""
        inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
        x = torch.from_numpy(self.table())[inputs["x"]] if self.embedding else inputs["x"]
        x = x if self.over else x[None]
        states = [inputs[f"{letter}_in"] for letter in self.letters]
        y, after = self.module()(x, tuple(states) if self.kind == "LSTM" else states[0])
        after = after if self.kind == "LSTM" else (after,)
        named = {f"{letter}_out": value for letter, value in zip(self.letters, after, strict=True)}
        results = {"output": y if self.over else y[0], **named}
        return {name: result.numpy() for name, result in results.items()}


def _port(name: str, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)
