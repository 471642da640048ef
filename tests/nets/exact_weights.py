"""Weights whose sums and products come out the same in any order, on every CPU."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

__all__ = ["exact", "exact_file"]

_PARTS = 64

Module = TypeVar("Module", bound=nn.Module)


def exact(module: Module) -> Module:
    """Give a module weights that are whole parts of 64, the same ones every time."""
    drawn = random.Random(0)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.from_numpy(_numbers(drawn, tuple(tensor.shape))))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                numbers = torch.from_numpy(_numbers(drawn, tuple(buffer.shape)))
                buffer.copy_(numbers if name.endswith("mean") else 1 + numbers.abs())
    return module


def exact_file(path: Path) -> Path:
    """Write such numbers into the matrices of an ONNX file, in place."""
    drawn = random.Random(0)
    model = onnx.load(path)
    for one in model.graph.initializer:
        array = numpy_helper.to_array(one)
        if array.dtype.kind == "f" and array.ndim > 1:
            numbers = _numbers(drawn, array.shape).astype(array.dtype)
            one.CopyFrom(numpy_helper.from_array(numbers, one.name))
    onnx.save(model, path)
    return path


def _numbers(drawn: random.Random, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return numbers from -1/2 to 1/2; what `random` draws is the same in every Python."""
    numbers = [int(_PARTS * drawn.random()) - _PARTS // 2 for _ in range(int(np.prod(shape)))]
    return np.array(numbers, np.float32).reshape(shape) / np.float32(_PARTS)
