"""TorchScript operators that are plain Python here: numbers, lists, tuples, checks.

Sizes stay Python numbers, so that under torch.export they stay symbols. What is not in these
tables runs as `torch.ops`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["DTYPES", "PYTHON_FUNCTIONS", "SCALAR_FUNCTIONS"]

# The dtypes in the order of c10::ScalarType, whose integers TorchScript has for them.
_SCALAR_TYPES = str.split(
    "uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool"
)
DTYPES: dict[int, torch.dtype] = {
    **{code: getattr(torch, name) for code, name in enumerate(_SCALAR_TYPES)},
    15: torch.bfloat16,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def _integer(value: Any) -> Any:
    value = _number(value)
    return value if isinstance(value, torch.SymInt) else int(value)


def _real(value: Any) -> Any:
    value = _number(value)
    # SymInt.__float__ would fix the size; a true division leaves it open.
    return value / 1 if isinstance(value, (torch.SymInt, torch.SymFloat)) else float(value)


def _set_item(values: Any, key: Any, value: Any) -> Any:
    values[key] = value
    return values


def _divide(a: Any, b: Any, rounding: str | None = None) -> Any:
    if rounding == "floor":
        return a // b
    return a / b if rounding is None else math.trunc(a / b)


def _range_length(start: int, stop: int, step: int) -> int:
    return len(range(start, stop, step)) if step != 1 or start else max(stop, 0)


def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a + b if alpha == 1 else a + alpha * b


def _subtract(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a - b if alpha == 1 else a - alpha * b


def _to(tensor: torch.Tensor, *targets: Any) -> torch.Tensor:
    """Convert to the dtype among `targets`; devices do not count, everything runs on the CPU."""
    dtype = next((target for target in targets if isinstance(target, torch.dtype)), None)
    return tensor if dtype is None else tensor.to(dtype)


def _nothing(*_: Any) -> None:
    return None


def _same(value: Any, *_: Any) -> Any:
    return value


# Operators of these names, whatever the arguments are.
PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "aten::Bool": lambda value: bool(_number(value)),
    "aten::Float": _real,
    "aten::FloatImplicit": _real,
    "aten::Int": _integer,
    "aten::IntImplicit": _integer,
    "aten::ScalarImplicit": _number,
    "aten::__contains__": lambda values, value: value in values,
    "aten::__derive_index": lambda index, start, step: start + index * step,
    "aten::__getitem__": operator.getitem,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::__range_length": _range_length,
    "aten::_set_item": _set_item,
    "aten::append": lambda values, value: list.__iadd__(values, [value]),
    "aten::cpu": _same,
    "aten::cuda": _same,
    "aten::dict": dict,
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::format": str.format,
    "aten::is_floating_point": torch.is_floating_point,
    "aten::item": _number,
    "aten::items": lambda table: list(table.items()),
    "aten::keys": lambda table: list(table.keys()),
    "aten::len": len,
    "aten::list": list,
    "aten::numel": lambda tensor: tensor.numel(),
    "aten::size": lambda tensor, axis=None: (
        list(tensor.size()) if axis is None else tensor.size(axis)
    ),
    "aten::str": str,
    "aten::tensor": lambda data, dtype, *_: torch.tensor(data, dtype=dtype),
    "aten::to.prim_Device": _to,
    "aten::to.prim_dtype": _to,
    "aten::to.prim_other": _to,
    "aten::values": lambda table: list(table.values()),
    "aten::warn": _nothing,
    "aten::_unwrap_optional": _same,
    "prim::DictConstruct": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "prim::ListConstruct": lambda *values: list(values),
    "prim::ListUnpack": _same,
    "prim::NumToTensor": _same,
    "prim::Print": _nothing,
    "prim::TupleConstruct": lambda *values: values,
    "prim::TupleIndex": operator.getitem,
    "prim::TupleUnpack": _same,
    "prim::Uninitialized": _nothing,
    "prim::data": lambda tensor: tensor.detach(),
    "prim::device": lambda tensor: tensor.device,
    "prim::dtype": lambda tensor: _CODES[tensor.dtype],
    "prim::is_cuda": lambda tensor: tensor.is_cuda,
    "prim::layout": lambda tensor: 0,
    "prim::max": lambda *values: max(*values),
    "prim::min": lambda *values: min(*values),
    "prim::unchecked_cast": _same,
    "prim::unchecked_unwrap_optional": _same,
}

_OPERATORS = ("eq", "floordiv", "ge", "gt", "le", "lt", "mul", "ne", "neg", "pow")

# Operators of these names where no argument is a tensor.
SCALAR_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"aten::{name}": getattr(operator, name) for name in _OPERATORS},
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::abs": abs,
    "aten::add": _add,
    "aten::add_": _add,
    "aten::ceil": math.ceil,
    "aten::div": _divide,
    "aten::floor": math.floor,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::rsub": lambda a, b, alpha=1: _subtract(b, a, alpha),
    "aten::slice": lambda values, start, end, step=1: values[start:end:step],
    "aten::sqrt": math.sqrt,
    "aten::sub": _subtract,
}
