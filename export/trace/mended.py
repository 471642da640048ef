"""torch functions that torch's exporter writes wrongly, answered by others that it writes right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["mended"]

Named = dict[str, Any]


def _squeeze(named: Named) -> Any:
    """Leave axes that are not 1: ONNX's Squeeze fails there.

    A dynamic axis is never taken for 1: a model that squeezes one fails the proof at that size.
    """
    x, dim = named["input"], named.get("dim")
    if dim is None:
        return NotImplemented
    axes = {axis % x.dim() for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    # a size that is a symbol must not be compared: the comparison would fix it
    single = {axis for axis in axes if type(x.shape[axis]) is int and x.shape[axis] == 1}
    for axis in sorted(single, reverse=True):
        x = torch.squeeze(x, axis)
    return x


def _clamp(named: Named) -> Any:
    """Give whole bounds of real numbers as real ones: the exporter takes no mixture."""
    bounds: tuple[Any, Any] = (named.get("min"), named.get("max"))
    if not named["input"].is_floating_point() or {type(b) for b in bounds} != {int, float}:
        return NotImplemented
    return torch.clamp(named["input"], *map(float, bounds))


def _max_pool1d(named: Named) -> Any:
    """Pool a single row of an image: of a sequence torch wants the length as a number."""
    width = _only(named["kernel_size"], 1)
    row = torch.max_pool2d(
        named["input"].unsqueeze(-2),
        (1, width),
        (1, _only(named.get("stride"), width)),
        (0, _only(named.get("padding"), 0)),
        (1, _only(named.get("dilation"), 1)),
        bool(named.get("ceil_mode")),
    )
    return row.select(-2, 0)


def _only(value: Any, default: int) -> int:
    """Return a number that may be given as a list of one; `default` where none is given."""
    one = value[0] if isinstance(value, (tuple, list)) and value else value
    return one if isinstance(one, int) else default


_NAMED: Mapping[str, tuple[str, Callable[[Named], Any]]] = {
    "squeeze": ("input dim", _squeeze),
    "clamp": ("input min max", _clamp),
    "max_pool1d": ("input kernel_size stride padding dilation ceil_mode", _max_pool1d),
}


def mended(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a function gives, or NotImplemented where torch's exporter writes it right.

    Args:
        name: The function's.
        args: Of its call.
        kwargs: Of its call.
    """
    if name not in _NAMED:
        return NotImplemented
    names, answer = _NAMED[name]
    named = dict(zip(names.split(), args, strict=False)) | dict(kwargs)
    named.setdefault("input", named.pop("self", None))
    return answer(named) if isinstance(named["input"], torch.Tensor) else NotImplemented
