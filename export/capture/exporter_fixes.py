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
    scaled_dot_product_attention
                          is refused without an axis of heads: one of 1 is added
    x[:, place] = y       reads the integer in `place`: `element_index` writes all of the axis
    x[:, -20:]            fixes the size of the axis (pytorch/pytorch#161705): written as Slice
    len(x)                Python makes it a number: `patch_len` returns the size of the axis

Other modules help where not one function is at fault: `length_values` with the values of lengths,
`packed_sequences` with packing, `spectral_fixes` with stft and istft, `ir/gelu` with the order of
GELU's products.
"""

from __future__ import annotations

import builtins
import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from unittest import mock

import onnx_ir as ir
import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx.ops import symbolic, symbolic_multi_out

from edgernn.export.capture.element_index import read_element, write_element
from edgernn.export.capture.spectral_fixes import centered_stft, istft_of_length
from edgernn.export.ir.operator_kinds import EDGERNN, RUNNING, TORCH

__all__ = ["exporter_fix", "lower_crops", "patch_len"]

_CROP = "crop"
"""The node that crops, in the domain of torch's calls: x, and an axis from `start` to `end`."""

_LAST = (1 << 63) - 1


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


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any = None, *rest: Any
) -> Any:
    """Give queries, keys and values without heads an axis of one head."""
    if query.dim() != 3 or key.dim() != 3 or value.dim() != 3:
        return NotImplemented
    if mask is not None and mask.dim() == 3:
        mask = mask.unsqueeze(1)
    names = ("dropout_p", "is_causal", "scale", "enable_gqa")
    given = {name: one for name, one in zip(names, rest, strict=True) if one is not None}
    parts = (query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1))
    return F.scaled_dot_product_attention(*parts, attn_mask=mask, **given)[:, 0]


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
    attributes: dict[str, Any] = {"kind": kind, "axis": axis % x.dim()}
    return symbolic_multi_out(
        f"{EDGERNN}::{RUNNING}", (x,), attributes, dtypes=[x.dtype], shapes=[x.shape], version=1
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


def _crop(x: torch.Tensor, index: Any) -> Any:
    """Return `x[index]`, or NotImplemented where torch.export is right.

    torch.export follows what a slice of the first or last entries is at the example's size: all of
    the axis, or always as many. ONNX's Slice is right at every size.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(isinstance(one, (slice, int)) or one in (None, Ellipsis) for one in parts):
        return NotImplemented
    found = list(_crops(x, parts))
    for place, axis, start, end in found:
        most = end if start == 0 else -start
        shape = [*x.shape]
        shape[axis] = torch.sym_min(shape[axis], most)  # type: ignore[no-untyped-call]
        bounds: dict[str, Any] = {"axis": axis, "start": start, "end": end}
        x = symbolic(f"{TORCH}::{_CROP}", (x,), bounds, dtype=x.dtype, shape=shape, version=1)
        parts[place] = slice(None)
    return x[tuple(parts)] if found else NotImplemented


def _crops(x: torch.Tensor, parts: list[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yield place and axis of each index that takes the first or last of a dynamic axis."""
    axis = 0
    indexed = sum(one is not None and one is not Ellipsis for one in parts)
    for place, one in enumerate(parts):
        if one is None:
            continue
        if one is Ellipsis:
            axis += x.dim() - indexed
            continue
        if isinstance(one, slice) and axis < x.dim() and type(x.shape[axis]) is not int:
            start, stop = (end if type(end) is int else 0 for end in (one.start, one.stop))
            first = one.start in (None, 0) and stop > 1
            last = one.stop is None and start < -1
            most = stop if first else -start if last else 0
            if one.step in (None, 1) and most > max(0, _fewest(x.shape[axis])):
                yield (place, axis, 0, stop) if first else (place, axis, start, _LAST)
        axis += 1


def _fewest(size: Any) -> int:
    """Return how large a size is where every dynamic axis is 1, and larger where they are."""
    expression = size.node.expr
    fewest = expression.subs(dict.fromkeys(expression.free_symbols, 1))
    return int(fewest) if fewest.is_Integer else 0


def lower_crops(model: ir.Model) -> None:
    """Write crops as ONNX's Slice, in place."""
    for node in [one for one in model.graph if (one.domain, one.op_type) == (TORCH, _CROP)]:
        tape = ir.tape.Tape()
        bounds = [
            tape.op("Constant", [], {"value_ints": [node.attributes[name].as_int()]})
            for name in ("start", "end", "axis")
        ]
        out = tape.op("Slice", [node.inputs[0], *bounds])
        out.shape, out.type = node.outputs[0].shape, node.outputs[0].type
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], tape.nodes, node.outputs, [out]
        )


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
    "stft": (
        "input n_fft hop_length win_length window center pad_mode normalized onesided "
        "return_complex",
        centered_stft,
    ),
    "istft": (
        "input n_fft hop_length win_length window center normalized onesided length return_complex",
        istft_of_length,
    ),
    "scaled_dot_product_attention": (
        "input key value attn_mask dropout_p is_causal scale enable_gqa",
        _attention,
    ),
    "max_pool1d": ("input kernel_size stride padding dilation ceil_mode", _max_pool1d),
}
"""Name of a torch function → its parameters that matter, in order, and what is traced instead."""


def exporter_fix(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a torch function gives, or NotImplemented where torch's exporter is right."""
    if name == "__getitem__" and isinstance(args[0], torch.Tensor):
        element = read_element(args[0], args[1])
        return _crop(args[0], args[1]) if element is NotImplemented else element
    if name == "__setitem__" and isinstance(args[0], torch.Tensor):
        return write_element(*args)
    if name not in _FIXES:
        return NotImplemented
    names, fix = _FIXES[name]
    named = {**dict(zip(names.split(), args, strict=False)), **kwargs}
    named.setdefault("input", named.get("self", named.get("query")))
    if not isinstance(named["input"], torch.Tensor):
        return NotImplemented
    return fix(*(named.get(one) for one in names.split()))


@contextlib.contextmanager
def patch_len(module: nn.Module) -> Iterator[None]:
    """Let `len` in the code of `module` and its parts return a size that may be any."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")]
    with contextlib.ExitStack() as stack:
        for kind in own:
            names = getattr(vars(kind).get("forward"), "__globals__", {})
            if "len" not in names:
                stack.enter_context(mock.patch.dict(names, {"len": _length}))
        yield


def _length(value: Any) -> Any:
    sized = isinstance(value, torch.Tensor) and value.dim() > 0
    return value.shape[0] if sized else builtins.len(value)
