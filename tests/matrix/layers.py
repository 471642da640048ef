"""One layer of torch as a sequence graph around the LSTM, GRU or RNN operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from tests.matrix.scalar import cell
from tests.matrix.sketch import Sketch, drawn, gates_first

__all__ = ["HIDDEN", "INPUT", "SYMBOLS", "Layer"]

INPUT, HIDDEN, SYMBOLS = 3, 4, 7
Feeds = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """What one sequence graph has in it; the defaults are what edgernn emits.

    Attributes:
        kind: `LSTM`, `GRU` or `RNN`.
        layers: How many are stacked.
        bidirectional: Whether each runs both ways.
        relu: Whether an RNN has relu instead of tanh.
        embedding: Whether ids go in, through a table.
        bias: Whether B is an input of the operator.
        states: Whether the initial states are inputs of the graph; zero otherwise.
        lengths: Whether `sequence_lens` is an input of the graph.
        reverse: Whether a single direction runs backwards.
        batch_first: Whether `layout=1` is used.
        dtype: What it computes in.
        attributes: Further attributes of the operator, which torch has no word for.
        frozen: The fixed (steps, batch), or None where both have a name.
        ir_version: The version of the file format.
        input_size: Torch's.
        hidden_size: Torch's.
    """

    kind: str
    layers: int = 1
    bidirectional: bool = False
    relu: bool = False
    embedding: bool = False
    bias: bool = True
    states: bool = True
    lengths: bool = False
    reverse: bool = False
    batch_first: bool = False
    dtype: str = "float32"
    attributes: tuple[tuple[str, Any], ...] = ()
    frozen: tuple[int, int] | None = None
    ir_version: int = 8
    input_size: int = INPUT
    hidden_size: int = HIDDEN

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def letters(self) -> str:
        return "hc" if self.kind == "LSTM" else "h"

    def module(self) -> nn.RNNBase:
        options: dict[str, Any] = {"nonlinearity": "relu"} if self.relu else {}
        layer = drawn(
            getattr(nn, self.kind)(
                self.input_size,
                self.hidden_size,
                self.layers,
                bidirectional=self.bidirectional,
                **options,
            )
        )
        if not self.bias:
            for name, weight in layer.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(weight)
        return layer.to(getattr(torch, self.dtype))

    def table(self) -> Any:
        return (
            np.random.default_rng(1).standard_normal((SYMBOLS, self.input_size)).astype(np.float32)
        )

    def graph(self) -> onnx.ModelProto:
        sketch, module = Sketch(), self.module()
        x = sketch.add("Gather", sketch.weight(self.table()), "x") if self.embedding else "x"
        states = {
            letter: sketch.split(f"{letter}_in", self.layers, self.directions, 0)
            for letter in (self.letters if self.states else "")
        }
        finals: dict[str, list[str]] = {letter: [] for letter in self.letters}
        for place in range(self.layers):
            before = [values[place] for values in states.values()]
            x, after = self._operator(sketch, module, place, x, before)
            for letter, value in zip(self.letters, after, strict=True):
                finals[letter].append(value)
        for letter, values in finals.items():
            sketch.add("Concat", *values, to=f"{letter}_out", axis=0)
        sketch.add("Identity", x, to="output")
        return sketch.model(*self._ports(), ir_version=self.ir_version)

    def _operator(
        self, sketch: Sketch, module: nn.RNNBase, place: int, x: str, before: list[str]
    ) -> tuple[str, list[str]]:
        suffixes = [f"l{place}{back}" for back in ("", "_reverse")[: self.directions]]
        parts = [gates_first(module, suffix, self.kind) for suffix in suffixes]
        w, r, b = (sketch.weight(np.stack(part)) for part in zip(*parts, strict=True))
        inputs = [x, w, r, b if self.bias else "", "lengths" if self.lengths else "", *before]
        while not inputs[-1]:
            inputs.pop()
        to = [sketch.name() for _ in range(1 + len(self.letters))]
        y, *after = sketch.many(self.kind, *inputs, to=to, **self._attributes())
        if self.batch_first:
            return sketch.squeeze(y, 2), after
        if not self.bidirectional:
            return sketch.squeeze(y, 1), after
        turned = sketch.add("Transpose", y, perm=[0, 2, 1, 3])
        return sketch.add("Reshape", turned, sketch.weight(np.array([0, 0, -1]))), after

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {"hidden_size": self.hidden_size}
        if self.kind == "GRU":
            attributes["linear_before_reset"] = 1
        if self.relu:
            attributes["activations"] = ["Relu"] * self.directions
        if self.reverse or self.bidirectional:
            attributes["direction"] = "reverse" if self.reverse else "bidirectional"
        if self.batch_first:
            attributes["layout"] = 1
        return attributes | dict(self.attributes)

    def _ports(self) -> tuple[dict[str, Any], dict[str, Any]]:
        number = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        rows = self.layers * self.directions
        sequence, batch = self.frozen or ("sequence", "batch")
        axes = [batch, sequence] if self.batch_first else [sequence, batch]
        state = (
            [batch, rows, self.hidden_size] if self.batch_first else [rows, batch, self.hidden_size]
        )
        inputs: dict[str, Any] = {"x": (number, [*axes, self.input_size])}
        if self.embedding:
            inputs["x"] = (TensorProto.INT64, axes)
        if self.lengths:
            inputs["lengths"] = (TensorProto.INT32, [batch])
        if self.states:
            inputs |= {f"{letter}_in": (number, state) for letter in self.letters}
        outputs = {"output": (number, [*axes, self.hidden_size * self.directions])}
        return inputs, outputs | {f"{letter}_out": (number, state) for letter in self.letters}

    def reference(self, feeds: Feeds) -> dict[str, Any]:
        """Return what must come out: eager torch's, or the equations' where torch has no word."""
        return self._equations(feeds) if self.attributes else self.eager(feeds)

    def _equations(self, feeds: Feeds) -> dict[str, Any]:
        step = cell(self.kind, gates_first(self.module(), "l0", self.kind), dict(self.attributes))
        states = [feeds[f"{letter}_in"][0] for letter in self.letters]
        rows = []
        for x in feeds["x"]:
            states = step(x, states)
            rows.append(states[0])
        finals = {
            f"{name}_out": state[None] for name, state in zip(self.letters, states, strict=True)
        }
        return {"output": np.stack(rows), **finals}

    @torch.no_grad()
    def eager(self, feeds: Feeds) -> dict[str, Any]:
        inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
        x, turn = inputs["x"], self.batch_first
        if self.embedding:
            x = torch.from_numpy(self.table())[x]
        x = x.transpose(0, 1) if turn else x
        x = x.flip(0) if self.reverse else x
        states = [inputs[f"{letter}_in"] for letter in self.letters] if self.states else []
        states = [state.transpose(0, 1).contiguous() if turn else state for state in states]
        y, after = self._call(x, states, inputs.get("lengths"))
        y = y.flip(0) if self.reverse else y
        results = [y, *(after if isinstance(after, tuple) else (after,))]
        names = ["output", *(f"{letter}_out" for letter in self.letters)]
        return {
            name: (result.transpose(0, 1) if turn else result).numpy()
            for name, result in zip(names, results, strict=True)
        }

    def _call(self, x: Any, states: list[Any], lengths: Any) -> tuple[Any, Any]:
        module = self.module()
        before = None if not states else tuple(states) if self.kind == "LSTM" else states[0]
        if lengths is None:
            return module(x, before)  # type: ignore[no-any-return]
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, after = module(packed, before)
        return nn.utils.rnn.pad_packed_sequence(y, total_length=len(x))[0], after
