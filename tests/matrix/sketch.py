"""Small ONNX graphs written by hand: nodes and weights one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

__all__ = ["Sketch", "drawn", "gates_first"]

_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


class Sketch:
    """A graph in the making; every method that adds something returns the name of its value."""

    def __init__(self, prefix: str = "v") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    def weight(self, array: Any) -> str:
        name = self.name()
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def add(self, op: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        return self.many(op, *inputs, to=[to or self.name()], **attributes)[0]

    def many(self, op: str, *inputs: str, to: Sequence[str], **attributes: Any) -> list[str]:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, to, name, **attributes))
        return list(to)

    def squeeze(self, value: str, axis: int, to: str | None = None) -> str:
        return self.add("Squeeze", value, self.weight(np.array([axis])), to=to)

    def unsqueeze(self, value: str, axis: int, to: str | None = None) -> str:
        return self.add("Unsqueeze", value, self.weight(np.array([axis])), to=to)

    def split(self, value: str, parts: int, size: int, axis: int) -> list[str]:
        if parts == 1:
            return [value]
        sizes = self.weight(np.full(parts, size))
        return self.many("Split", value, sizes, to=[self.name() for _ in range(parts)], axis=axis)

    def model(
        self,
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, tuple[int, Sequence[int | str]]],
        opset: int = 18,
        ir_version: int = 8,
    ) -> onnx.ModelProto:
        def ports(shapes: Mapping[str, tuple[int, Sequence[int | str]]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(name, dtype, list(shape))
                for name, (dtype, shape) in shapes.items()
            ]

        graph = helper.make_graph(self.nodes, "main", ports(inputs), ports(outputs), self.weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
        )
        model.ir_version = ir_version
        return model


def drawn(layer: nn.RNNBase) -> nn.RNNBase:
    """Give `layer` the same random weights in whatever order layers are made."""
    generator = torch.Generator().manual_seed(0)
    for weight in layer.parameters():
        nn.init.uniform_(weight, -0.5, 0.5, generator)
    return layer.eval()


def gates_first(layer: nn.RNNBase, suffix: str, kind: str) -> tuple[Any, Any, Any]:
    """Return W (gates · hidden, input), R (gates · hidden, hidden) and B in ONNX's gate order."""

    def ordered(weight: torch.Tensor) -> torch.Tensor:
        parts = weight.detach().chunk(len(_GATES[kind]))
        return torch.cat([parts[place] for place in _GATES[kind]])

    w, r, b, c = (
        ordered(getattr(layer, f"{name}_{suffix}"))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return w.numpy(), r.numpy(), torch.cat([b, c]).numpy()
