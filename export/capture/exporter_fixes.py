"""What torch's exporter writes wrongly or not at all, and what is traced in its place.

    x.squeeze(1)          ONNX's Squeeze fails where the axis is not 1 (pytorch/pytorch#36796):
                          axes that are not 1 are left out
    x.clamp(0, 0.5)       an integer and a real bound are refused: both become real
    max_pool1d(x, 2)      fixes the length of the sequence: written as max_pool2d of one row
    logaddexp, logaddexp2 exp overflows: the maximum is taken out first
    logsigmoid            the logarithm of a sigmoid underflows: written as -softplus(-x)
    log1p, expm1          lose the digits of a small x: written so that they do not
    cumprod, logcumsumexp, cummax, cummin
                          are not written: one node each, which `write_running` lowers
    x[:, -20:]            fixes the size of the axis (pytorch/pytorch#161705): see `crop`
    len(x)                Python makes it a number: `patch_len` returns the size of the axis

Other modules help where not one function is at fault: `length_values` with the values of lengths,
`packed_sequences` with packing, `ir/gelu` with the order of GELU's products.
"""

from __future__ import annotations

import builtins
import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx.ops import symbolic_multi_out

from edgernn.export.capture.crop import crop
from edgernn.export.ir.operator_kinds import EDGERNN, RUNNING

__all__ = ["exporter_fix", "patch_len"]

Arguments = dict[str, Any]


def _squeeze(named: Arguments) -> Any:
    """Squeeze only axes of 1; a dynamic axis is not one, and the proof fails at that size."""
    x, dim = named["input"], named.get("dim")
    if dim is None:
        return NotImplemented
    axes = {axis % x.dim() for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    # a size that is a symbol must not be compared: the comparison would fix it
    single = {axis for axis in axes if type(x.shape[axis]) is int and x.shape[axis] == 1}
    for axis in sorted(single, reverse=True):
        x = torch.squeeze(x, axis)
    return x


def _clamp(named: Arguments) -> Any:
    """Make an integer bound of real numbers real."""
    bounds: tuple[Any, Any] = (named.get("min"), named.get("max"))
    if not named["input"].is_floating_point() or {type(b) for b in bounds} != {int, float}:
        return NotImplemented
    return torch.clamp(named["input"], *map(float, bounds))


def _max_pool1d(named: Arguments) -> Any:
    """Pool an image of one row."""
    width = _single(named["kernel_size"], 1)
    row = torch.max_pool2d(
        named["input"].unsqueeze(-2),
        (1, width),
        (1, _single(named.get("stride"), width)),
        (0, _single(named.get("padding"), 0)),
        (1, _single(named.get("dilation"), 1)),
        bool(named.get("ceil_mode")),
    )
    return row.select(-2, 0)


def _log_add_exp(named: Arguments) -> Any:
    """Take the maximum out: log(eᵃ + eᵇ) = max(a, b) + log(1 + e^-|a - b|)."""
    largest, distance = _largest_and_distance(named)
    return largest + F.softplus(-distance)


def _log_add_exp2(named: Arguments) -> Any:
    """Do the same with powers of two."""
    largest, distance = _largest_and_distance(named)
    return largest + F.softplus(-distance * math.log(2)) / math.log(2)


def _largest_and_distance(named: Arguments) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = named["input"], named["other"]
    largest = torch.maximum(a, b)
    return largest, (a - b).abs().masked_fill(largest.abs() == math.inf, 0)


def _log_sigmoid(named: Arguments) -> Any:
    """Write it as -softplus(-x)."""
    return -F.softplus(-named["input"])


def _log_sigmoid_forward(named: Arguments) -> Any:
    """Do the same for the form with a buffer for gradients, which a decomposition makes."""
    return _log_sigmoid(named), named["input"].new_zeros(0)


def _log1p(named: Arguments) -> Any:
    """Make up for what 1 + x loses of a small x: log(1 + x) · x / ((1 + x) - 1)."""
    x = named["input"]
    if not x.is_floating_point():
        return NotImplemented
    moved = 1 + x
    lost = moved - 1
    small = (x.abs() < 1) & (lost != 0)
    ratio = torch.where(small, x / torch.where(small, lost, 1), 1)
    return torch.where(lost == 0, x, moved.log() * ratio)


def _expm1(named: Arguments) -> Any:
    """Write eˣ - 1 of a small x as 2 · tanh(x/2) / (1 - tanh(x/2)), which loses nothing."""
    x = named["input"]
    if not x.is_floating_point():
        return NotImplemented
    half = torch.tanh(x.clamp(-1, 1) / 2)
    return torch.where(x.abs() < 1, 2 * half / (1 - half), x.exp() - 1)


def _running(kind: str) -> Callable[[Arguments], Any]:
    """Write one node, which `write_running` lowers."""

    def answer(named: Arguments) -> Any:
        x, axis, dtype = named["input"], named["dim"], named.get("dtype")
        x = x if dtype is None else x.to(dtype)
        return x if x.dim() == 0 else _running_node(kind, x, axis)

    return answer


def _running_place(kind: str) -> Callable[[Arguments], Any]:
    """Write the same for results that come with their indices, of equal values the last."""

    def answer(named: Arguments) -> Any:
        x, axis = named["input"], named["dim"]
        if x.dim() == 0:
            return NotImplemented
        values = _running_node(kind, x, axis)
        shape = [1] * x.dim()
        shape[axis] = -1
        places = torch.arange(x.shape[axis]).reshape(shape).expand(x.shape)
        indices = _running_node("cummax", torch.where(x == values, places, 0), axis)
        return torch.return_types.cummax((values, indices))

    return answer


def _running_node(kind: str, x: torch.Tensor, axis: int) -> torch.Tensor:
    results = symbolic_multi_out(
        f"{EDGERNN}::{RUNNING}",
        (x,),
        {"kind": kind, "axis": axis % x.dim()},
        dtypes=[x.dtype],
        shapes=[x.shape],
        version=1,
    )
    return results[0]


def _single(value: Any, default: int) -> int:
    """Return an integer that may be given as a list of one; `default` where none is given."""
    one = value[0] if isinstance(value, (tuple, list)) and value else value
    return one if isinstance(one, int) else default


_FIXES: Mapping[str, tuple[str, Callable[[Arguments], Any]]] = {
    "squeeze": ("input dim", _squeeze),
    "logaddexp": ("input other", _log_add_exp),
    "logaddexp2": ("input other", _log_add_exp2),
    "logsigmoid": ("input", _log_sigmoid),
    "log_sigmoid": ("input", _log_sigmoid),
    "log_sigmoid_forward": ("input", _log_sigmoid_forward),
    "log1p": ("input", _log1p),
    "special_log1p": ("input", _log1p),
    "expm1": ("input", _expm1),
    "special_expm1": ("input", _expm1),
    "logcumsumexp": ("input dim", _running("logcumsumexp")),
    "cumprod": ("input dim", _running("cumprod")),
    "cummax": ("input dim", _running_place("cummax")),
    "cummin": ("input dim", _running_place("cummin")),
    "clamp": ("input min max", _clamp),
    "max_pool1d": ("input kernel_size stride padding dilation ceil_mode", _max_pool1d),
}


def exporter_fix(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a torch function gives, or NotImplemented where torch's exporter is right."""
    if name == "__getitem__" and isinstance(args[0], torch.Tensor):
        return crop(args[0], args[1])
    if name not in _FIXES:
        return NotImplemented
    names, answer = _FIXES[name]
    named = dict(zip(names.split(), args, strict=False)) | dict(kwargs)
    named.setdefault("input", named.pop("self", None))
    return answer(named) if isinstance(named["input"], torch.Tensor) else NotImplemented


@contextlib.contextmanager
def patch_len(module: nn.Module) -> Iterator[None]:
    """Let `len` in the code of `module` and its parts return a size that may be any."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")]
    forwards = [vars(kind).get("forward") for kind in own]
    places = [getattr(forward, "__globals__", {}) for forward in forwards]
    with contextlib.ExitStack() as stack:
        for names in places:
            if "len" not in names:
                stack.enter_context(mock.patch.dict(names, {"len": _length}))
        yield


def _length(value: Any) -> Any:
    sized = isinstance(value, torch.Tensor) and value.dim() > 0
    return value.shape[0] if sized else builtins.len(value)
