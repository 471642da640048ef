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
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx.ops import symbolic_multi_out

from edgernn.export.capture.crop import crop
from edgernn.export.ir.operator_kinds import EDGERNN, RUNNING

__all__ = ["exporter_fix", "patch_len"]


def _squeeze(x: torch.Tensor, dim: Any = None) -> Any:
    """Squeeze only axes of 1; a dynamic axis is not one, and the proof fails at that size."""
    if dim is None:
        return NotImplemented
    axes = {axis % x.dim() for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    # a size that is a symbol must not be compared: the comparison would fix it
    single = {axis for axis in axes if type(x.shape[axis]) is int and x.shape[axis] == 1}
    for axis in sorted(single, reverse=True):
        x = torch.squeeze(x, axis)
    return x


def _clamp(x: torch.Tensor, low: Any = None, high: Any = None) -> Any:
    """Make an integer bound of real numbers real."""
    if not x.is_floating_point() or {type(low), type(high)} != {int, float}:
        return NotImplemented
    return torch.clamp(x, float(low), float(high))


def _max_pool1d(
    x: torch.Tensor,
    kernel: Any,
    stride: Any = None,
    padding: Any = None,
    dilation: Any = None,
    ceil_mode: Any = False,
) -> Any:
    """Pool an image of one row."""

    def single(value: Any, default: int) -> int:
        one = value[0] if isinstance(value, (tuple, list)) and value else value
        return one if isinstance(one, int) else default

    width = single(kernel, 1)
    row = torch.max_pool2d(
        x.unsqueeze(-2),
        (1, width),
        (1, single(stride, width)),
        (0, single(padding, 0)),
        (1, single(dilation, 1)),
        bool(ceil_mode),
    )
    return row.select(-2, 0)


def _log_add_exp(a: torch.Tensor, b: torch.Tensor) -> Any:
    """Take the maximum out: log(eᵃ + eᵇ) = max(a, b) + log(1 + e^-|a - b|)."""
    largest, distance = _largest_and_distance(a, b)
    return largest + F.softplus(-distance)


def _log_add_exp2(a: torch.Tensor, b: torch.Tensor) -> Any:
    """Do the same with powers of two."""
    largest, distance = _largest_and_distance(a, b)
    return largest + F.softplus(-distance * math.log(2)) / math.log(2)


def _largest_and_distance(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    largest = torch.maximum(a, b)
    return largest, (a - b).abs().masked_fill(largest.abs() == math.inf, 0)


def _log1p(x: torch.Tensor) -> Any:
    """Make up for what 1 + x loses of a small x: log(1 + x) · x / ((1 + x) - 1)."""
    if not x.is_floating_point():
        return NotImplemented
    moved = 1 + x
    lost = moved - 1
    small = (x.abs() < 1) & (lost != 0)
    ratio = torch.where(small, x / torch.where(small, lost, 1), 1)
    return torch.where(lost == 0, x, moved.log() * ratio)


def _expm1(x: torch.Tensor) -> Any:
    """Write eˣ - 1 of a small x as 2 · tanh(x/2) / (1 - tanh(x/2)), which loses nothing."""
    if not x.is_floating_point():
        return NotImplemented
    half = torch.tanh(x.clamp(-1, 1) / 2)
    return torch.where(x.abs() < 1, 2 * half / (1 - half), x.exp() - 1)


def _running(kind: str, x: torch.Tensor, axis: int, dtype: torch.dtype | None = None) -> Any:
    """Write one node, which `write_running` lowers."""
    x = x if dtype is None else x.to(dtype)
    if x.dim() == 0:
        return x
    return symbolic_multi_out(
        f"{EDGERNN}::{RUNNING}",
        (x,),
        {"kind": kind, "axis": axis % x.dim()},
        dtypes=[x.dtype],
        shapes=[x.shape],
        version=1,
    )[0]


def _running_place(kind: str, x: torch.Tensor, axis: int) -> Any:
    """Write the same for results that come with their indices, of equal values the last."""
    if x.dim() == 0:
        return NotImplemented
    values = _running(kind, x, axis)
    shape = [1] * x.dim()
    shape[axis] = -1
    places = torch.arange(x.shape[axis]).reshape(shape).expand(x.shape)
    indices = _running("cummax", torch.where(x == values, places, 0), axis)
    return torch.return_types.cummax((values, indices))


_FIXES: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "squeeze": ("input dim", _squeeze),
    "logaddexp": ("input other", _log_add_exp),
    "logaddexp2": ("input other", _log_add_exp2),
    "logsigmoid": ("input", lambda x: -F.softplus(-x)),
    "log_sigmoid": ("input", lambda x: -F.softplus(-x)),
    # what a decomposition makes, with a buffer for gradients
    "log_sigmoid_forward": ("input", lambda x: (-F.softplus(-x), x.new_zeros(0))),
    "log1p": ("input", _log1p),
    "special_log1p": ("input", _log1p),
    "expm1": ("input", _expm1),
    "special_expm1": ("input", _expm1),
    "logcumsumexp": ("input dim", partial(_running, "logcumsumexp")),
    "cumprod": ("input dim dtype", partial(_running, "cumprod")),
    "cummax": ("input dim", partial(_running_place, "cummax")),
    "cummin": ("input dim", partial(_running_place, "cummin")),
    "clamp": ("input min max", _clamp),
    "max_pool1d": ("input kernel_size stride padding dilation ceil_mode", _max_pool1d),
}
"""Name of a torch function → its parameters that matter, in order, and what is traced instead."""


def exporter_fix(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a torch function gives, or NotImplemented where torch's exporter is right."""
    if name == "__getitem__" and isinstance(args[0], torch.Tensor):
        return crop(args[0], args[1])
    if name not in _FIXES:
        return NotImplemented
    names, fix = _FIXES[name]
    named = {**dict(zip(names.split(), args, strict=False)), **kwargs}
    named.setdefault("input", named.get("self"))
    if not isinstance(named["input"], torch.Tensor):
        return NotImplemented
    return fix(*(named.get(one) for one in names.split()))


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
