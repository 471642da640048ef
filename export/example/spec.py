"""What the user says of one input: `tokens:int64[batch,sequence]`, `rate:int64[]=16000`."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from edgernn.errors import InputError

__all__ = ["Spec", "parse_spec"]

_SPEC = re.compile(r"(?P<path>[^:]+):(?P<dtype>\w+)\[(?P<dims>[^\]]*)\](=(?P<value>\S+))?")
_DTYPES = ("float32", "float16", "float64", "int64", "int32", "bool")


class Spec(NamedTuple):
    """What the user says of one input.

    Attributes:
        path: Its path in the arguments.
        dtype: Its dtype.
        dims: Per axis a size or the name of a dynamic axis.
        value: The number that it always is; None for an input of the graph.
    """

    path: str
    dtype: torch.dtype
    dims: tuple[int | str, ...]
    value: bool | int | float | None = None


def parse_spec(spec: str) -> Spec:
    """Read `path:dtype[dims]` or `path:dtype[]=value`; a dim is a size or the name of an axis.

    >>> parse_spec("tokens:int64[batch,sequence]")
    Spec(path='tokens', dtype=torch.int64, dims=('batch', 'sequence'), value=None)
    >>> parse_spec("rate:int64[]=16000")
    Spec(path='rate', dtype=torch.int64, dims=(), value=16000)

    Raises:
        InputError: The spec is not of that form.
    """
    match = _SPEC.fullmatch(re.sub(r"\s*([:,\[\]=])\s*", r"\1", spec.strip()))
    dims = [dim for dim in match["dims"].split(",") if dim] if match else []
    proper = all((dim.isdigit() and int(dim) > 0) or dim.isidentifier() for dim in dims)
    if match is None or match["dtype"] not in _DTYPES or not proper:
        raise InputError(
            f"`{spec}` is not an input spec. Expected NAME:DTYPE[DIMS], such as "
            f"tokens:int64[batch,sequence] or x:float32[1,sequence,40], with a dtype of "
            f"{', '.join(_DTYPES)}."
        )
    shape = tuple(int(dim) if dim.isdigit() else dim for dim in dims)
    dtype = getattr(torch, match["dtype"])
    value = None
    if match["value"] is not None:
        value = _number(spec, match["value"], dtype, shape)
    return Spec(match["path"], dtype, shape, value)


def _number(
    spec: str, text: str, dtype: torch.dtype, dims: tuple[int | str, ...]
) -> bool | int | float:
    """Read the number that an input always is, in its dtype."""
    truths = {"true": True, "1": True, "false": False, "0": False}
    try:
        if dims:
            raise ValueError(text)
        if dtype == torch.bool:
            return truths[text.lower()]
        return float(text) if dtype.is_floating_point else int(text)
    except (KeyError, ValueError):
        raise InputError(
            f"`{spec}` does not give a constant: one number of the dtype was expected behind `=`, "
            "and nothing in the brackets, such as rate:int64[]=16000."
        ) from None
