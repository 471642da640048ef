"""TorchScript operators as calls: of plain Python for numbers, lists, tuples and checks.

Sizes stay Python numbers, so that under torch.export they stay symbols. What is not in these
tables is a call of `torch.ops`, which a TorchFunctionMode sees and torch.export traces.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, TRAINING_FLAGS

__all__ = [
    "PYTHON_FUNCTIONS",
    "SCALAR_FUNCTIONS",
    "Compute",
    "SchemaArgument",
    "call_operator",
    "call_python",
]

# The dtypes in the order of c10::ScalarType, whose integers TorchScript has for them.
_SCALAR_TYPES = str.split(
    "uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool"
)
_DTYPES = {i: getattr(torch, name) for i, name in enumerate(_SCALAR_TYPES)} | {15: torch.bfloat16}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}

_MEMORY_FORMATS = {
    0: torch.contiguous_format,
    1: torch.preserve_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}


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


# Operators that return their first input as it is.
_UNCHANGED = str.split(
    "aten::_unwrap_optional aten::cpu aten::cuda prim::ListUnpack prim::NumToTensor "
    "prim::TupleUnpack prim::unchecked_cast prim::unchecked_unwrap_optional"
)

# Operators of these names, whatever the arguments are.
PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_UNCHANGED, lambda value, *_: value),
    **dict.fromkeys(("aten::warn", "prim::Print", "prim::Uninitialized"), lambda *_: None),
    **dict.fromkeys(("aten::Float", "aten::FloatImplicit"), _real),
    **dict.fromkeys(("aten::Int", "aten::IntImplicit"), _integer),
    **dict.fromkeys(("aten::ScalarImplicit", "aten::item"), _number),
    **{f"aten::to.prim_{target}": _to for target in ("Device", "dtype", "other")},
    **{f"aten::{function.__name__}": function for function in (dict, len, list, str)},
    **{f"prim::{name}": operator.attrgetter(name) for name in ("device", "is_cuda")},
    "aten::Bool": lambda value: bool(_number(value)),
    "aten::__contains__": lambda values, value: value in values,
    "aten::__derive_index": lambda index, start, step: start + index * step,
    "aten::__getitem__": operator.getitem,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::__range_length": _range_length,
    "aten::_set_item": _set_item,
    "aten::append": lambda values, value: list.__iadd__(values, [value]),
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::format": str.format,
    "aten::is_floating_point": torch.is_floating_point,
    "aten::items": lambda table: list(table.items()),
    "aten::keys": lambda table: list(table.keys()),
    "aten::numel": lambda tensor: tensor.numel(),
    "aten::size": lambda tensor, axis=None: (
        list(tensor.size()) if axis is None else tensor.size(axis)
    ),
    "aten::tensor": lambda data, dtype, *_: torch.tensor(data, dtype=dtype),
    "aten::values": lambda table: list(table.values()),
    "prim::DictConstruct": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "prim::ListConstruct": lambda *values: list(values),
    "prim::TupleConstruct": lambda *values: values,
    "prim::TupleIndex": operator.getitem,
    "prim::data": lambda tensor: tensor.detach(),
    "prim::dtype": lambda tensor: _CODES[tensor.dtype],
    "prim::layout": lambda tensor: 0,
    "prim::max": lambda *values: max(*values),
    "prim::min": lambda *values: min(*values),
}

_OPERATORS = str.split("__and__ __or__ eq floordiv ge gt le lt mul ne neg pow")

# Operators of these names where no argument is a tensor.
SCALAR_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"aten::{name}": getattr(operator, name) for name in _OPERATORS},
    **{f"aten::{name}": getattr(math, name) for name in ("ceil", "floor", "sqrt")},
    "aten::abs": abs,
    "aten::add": _add,
    "aten::add_": _add,
    "aten::div": _divide,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::rsub": lambda a, b, alpha=1: _subtract(b, a, alpha),
    "aten::slice": lambda values, start, end, step=1: values[start:end:step],
    "aten::sub": _subtract,
}

Compute = Callable[[Any, list[Any]], Sequence[Any]]
"""Computes the outputs of a node from the environment of a run and its inputs."""


class SchemaArgument(NamedTuple):
    """What an operator's schema says of one argument; `narrowed` models run in float32."""

    name: str
    keyword: bool
    tensor: bool
    narrowed: bool

    def prepare(self, value: Any) -> Any:
        """Return `value` as `torch.ops` takes it on the CPU, in eval mode."""
        match self.name, value:
            case "dtype", int():
                dtype = _DTYPES[value]
                return torch.float32 if self.narrowed and dtype in CONVERTED_DTYPES else dtype
            case "layout", int():
                return torch.strided
            case "memory_format", int():
                return _MEMORY_FORMATS[value]
            case "device", str() | torch.device():
                return torch.device("cpu")
            case name, True if name in TRAINING_FLAGS:
                return False
            case _, bool() | int() | float() | torch.SymInt() | torch.SymFloat() if self.tensor:
                number: Any = value
                dtype = torch.int64 if isinstance(value, (int, torch.SymInt)) else torch.float32
                dtype = torch.bool if isinstance(value, bool) else dtype
                return torch.scalar_tensor(number, dtype=dtype)
        return value


def call_python(
    function: Callable[..., Any], arguments: Sequence[SchemaArgument], spread: bool
) -> Compute:
    """Call a Python function; `spread` makes each item of its result an output."""

    def compute(_: object, values: list[Any]) -> Sequence[Any]:
        for place, argument in enumerate(arguments):
            if argument.name == "dtype":
                values[place] = argument.prepare(values[place])
        result = function(*values)
        return result if spread else (result,)

    return compute


def call_operator(
    overload: Callable[..., Any] | None,
    scalar: Callable[..., Any] | None,
    arguments: Sequence[SchemaArgument],
    results: int,
    refusal: str,
) -> Compute:
    """Call an operator of `torch.ops`, or `scalar` where no argument is a tensor.

    Where the operator cannot run, `overload` is None and `refusal` says why.
    """

    def compute(_: object, values: list[Any]) -> Sequence[Any]:
        if scalar and not any(isinstance(value, torch.Tensor) for value in values):
            result = scalar(*values)
        elif overload is None:
            raise UnsupportedModelError(refusal)
        else:
            given = [
                (argument, argument.prepare(value))
                for argument, value in zip(arguments, values, strict=True)
            ]
            result = overload(
                *(value for argument, value in given if not argument.keyword),
                **{argument.name: value for argument, value in given if argument.keyword},
            )
        return result if results > 1 else (result,)

    return compute
