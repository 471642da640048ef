"""GELU by itself, in the two orders in which its half can be multiplied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto

from tests.matrix.layers import HIDDEN
from tests.matrix.sketch import Sketch

__all__ = ["Gelu"]


@dataclass(frozen=True)
class Gelu:
    """GELU in plain operators.

    Attributes:
        halved_first: Whether 1 + erf(…) is halved before it is multiplied with x.
    """

    halved_first: bool

    def graph(self) -> onnx.ModelProto:
        sketch = Sketch()
        half, one, root = (sketch.weight(np.float32(n)) for n in (0.5, 1, np.sqrt(2)))
        both = sketch.add("Add", sketch.add("Erf", sketch.add("Div", "x", root)), one)
        if self.halved_first:
            sketch.add("Mul", "x", sketch.add("Mul", half, both), to="y")
        else:
            sketch.add("Mul", sketch.add("Mul", "x", both), half, to="y")
        port: tuple[int, list[int | str]] = (TensorProto.FLOAT, ["batch", HIDDEN])
        return sketch.model({"x": port}, {"y": port})

    def reference(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return what torch makes of x."""
        return {"y": torch.nn.functional.gelu(torch.from_numpy(feeds["x"])).numpy()}
