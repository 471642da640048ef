"""The files that a model may come from: each is written into the current folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

__all__ = ["SOURCES"]

Written = tuple[Any, dict[str, Any]]
Arguments = tuple[torch.Tensor, ...]


def _live(model: nn.Module, _: Arguments) -> Written:
    return model, {}


def _own(model: nn.Module) -> nn.Module:
    """Return torch's own layer or cell inside, whose keys a bare state_dict has."""
    parts = getattr(model, "parts", None)
    return parts[0] if parts is not None else model


def _state_dict(model: nn.Module, _: Arguments) -> Written:
    torch.save(_own(model).state_dict(), "model.pt")
    return "model.pt", {"inputs": None}


def _safetensors(model: nn.Module, _: Arguments) -> Written:
    save_file(_own(model).state_dict(), "model.safetensors")
    return "model.safetensors", {"inputs": None}


def _state_dict_with_code(model: nn.Module, _: Arguments) -> Written:
    torch.save(model.state_dict(), "model.pt")
    kind, style = getattr(model, "kind", ""), type(model).__name__
    Path("code.py").write_text(
        f"from tests.nets import kinds\ndef make():\n    return kinds.{style}({kind!r})\n",
        "utf-8",
    )
    return "model.pt", {"module": "code.py:make"}


def _pickled(model: nn.Module, _: Arguments) -> Written:
    torch.save(model, "model.pt")
    return "model.pt", {"trust": True}


def _traced(model: nn.Module, example: Arguments) -> Written:
    torch.jit.save(torch.jit.trace(model, example), "model.pt")
    return "model.pt", {}


def _archive(model: nn.Module, example: Arguments) -> Written:
    shapes = tuple(
        dict.fromkeys(range(tensor.dim() - 1), torch.export.Dim.AUTO) for tensor in example
    )
    program = torch.export.export(model, example, dynamic_shapes=shapes, strict=False)
    torch.export.save(program, "model.pt2")
    return "model.pt2", {}


def _onnx(model: nn.Module, example: Arguments) -> Written:
    axes = {0: "batch"} if len(example) > 1 else {0: "sequence", 1: "batch"}
    names = ["x", "h", "c"][: len(example)]
    after = [f"next_{name}" for name in names[1:]]
    torch.onnx.export(
        model,
        example,
        "model.onnx",
        dynamo=False,
        input_names=names,
        output_names=["y", *after],
        dynamic_axes=dict.fromkeys(names, axes),
    )
    states = dict(zip(names[1:], after, strict=True))
    return "model.onnx", {"inputs": None, "states": states}


SOURCES: Mapping[str, Callable[[nn.Module, Arguments], Written]] = {
    "live module": _live,
    "state_dict": _state_dict,
    "safetensors": _safetensors,
    "state_dict and `--module`": _state_dict_with_code,
    "pickled module": _pickled,
    "TorchScript": _traced,
    "torch.export": _archive,
    "ONNX file": _onnx,
}
"""Source → what writes it: the file or module, and the options that `export_model` needs."""
