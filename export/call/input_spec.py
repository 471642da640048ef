"""What the user says of one input: `tokens:int64[batch,sequence]<11`, `rate:int64[]=16000`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from edgernn.axis_sizes import evaluate_size, is_size_expression
from edgernn.errors import InputError
from edgernn.export.ir.symbolic_dims import canonical_size
from edgernn.numpy_files import NotArraysError, load_npy
from edgernn.regular_files import regular_file_size

__all__ = ["InputSpec", "named_sizes", "parse_spec", "read_example_file", "spec_sizes"]

_SPEC = re.compile(
    r"(?P<path>[^:=]+):(?P<dtype>\w+)\[(?P<dims>[^\]]*)\](<(?P<limit>\w+))?(=(?P<value>.+))?"
)
_FILE = re.compile(r"(?P<path>[^:=]+)=(?P<file>.+\.npy)")
_DTYPES = ("float32", "float16", "float64", "int64", "int32", "bool")


class InputSpec(NamedTuple):
    """What the user says of one input.

    Attributes:
        path: Its path in the arguments.
        dtype: Its dtype; None for that of the file.
        dims: Per axis a size, the name of a dynamic axis, or an expression of such names, as
            `4*sequence`; None for what the file has.
        value: The number that it always is; None for an input of the graph.
        limit: The number that its integers are below, or the name of the axis whose size they are
            below.
        file: A .npy file with an example of it.
    """

    path: str
    dtype: torch.dtype | None
    dims: tuple[int | str, ...] | None
    value: bool | int | float | None = None
    limit: int | str | None = None
    file: str | None = None


def parse_spec(spec: str) -> InputSpec:
    """Read what the user says of one input.

    `path:dtype[dims]`, where a dim is a size, the name of an axis, or an expression of names with
    + - * // and parentheses; after it `<limit` for integers, and `=value` for an input that is
    always the same, or `=file.npy` for an example. `path=file.npy` is such an example alone.

    >>> parse_spec("tokens:int64[batch,sequence]<11")[:3]
    ('tokens', torch.int64, ('batch', 'sequence'))
    >>> parse_spec("frames:float32[batch,4*sequence]").dims
    ('batch', '4*sequence')
    >>> parse_spec("rate:int64[]=16000").value
    16000

    Raises:
        InputError: The spec is not of that form.
    """
    plain = spec.strip()
    if alone := _FILE.fullmatch(plain):
        return InputSpec(alone["path"].strip(), None, None, file=alone["file"].strip())
    match = _SPEC.fullmatch(re.sub(r"\s*([:,\[\]=<])\s*", r"\1", plain))
    dims = [dim for dim in match["dims"].split(",") if dim] if match else []
    shape = tuple(map(_dim, dims))
    if match is None or match["dtype"] not in _DTYPES or None in shape:
        raise InputError(
            f"`{spec}` is not an input spec. Expected NAME:DTYPE[DIMS], such as "
            f"tokens:int64[batch,sequence] or x:float32[1,sequence,40], with a dtype of "
            f"{', '.join(_DTYPES)}."
        )
    known = tuple(dim for dim in shape if dim is not None)
    dtype = getattr(torch, match["dtype"])
    limit = None if match["limit"] is None else _limit(spec, match["limit"], dtype)
    value, file = match["value"], None
    if value is not None and value.endswith(".npy"):
        value, file = None, value
    number = None if value is None else _number(spec, value, dtype, known)
    return InputSpec(match["path"], dtype, known, value=number, limit=limit, file=file)


def named_sizes(specs: Iterable[InputSpec], defaults: Mapping[str, int]) -> dict[str, int]:
    """Return a size for each axis that specs name: that of a file's, else a default or 3.

    Raises:
        InputError: A file has other axes, two files disagree, or an axis follows from none.
    """
    sizes: dict[str, int] = {}
    found: dict[str, str] = {}
    for spec in specs:
        if spec.file is None or spec.dims is None:
            continue
        shape = read_example_file(spec).shape
        for dim, size in zip(spec.dims, shape, strict=True):
            if isinstance(dim, str) and dim.isidentifier():
                if sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"`{dim}` is {size} in `{spec.file}`, but {sizes[dim]} in `{found[dim]}`."
                    )
                found.setdefault(dim, str(spec.file))
    dims = [(spec.path, dim) for spec in specs for dim in spec.dims or () if isinstance(dim, str)]
    sizes = {dim: defaults.get(dim, 3) for _, dim in dims if dim.isidentifier()} | sizes
    for path, dim in dims:
        for name in re.findall(r"[A-Za-z_]\w*", dim):
            if name not in sizes:
                raise InputError(
                    f"`{dim}` of `{path}` follows from `{name}`, which is not an axis of any "
                    "input. Name the axis itself in the spec of another input, or give a number."
                )
    return sizes


def spec_sizes(spec: InputSpec, sizes: Mapping[str, int]) -> list[int]:
    """Return the sizes of an input where its named axes have `sizes`.

    Raises:
        InputError: One of them is less than 1.
    """
    found = [evaluate_size(dim, sizes) or 0 for dim in spec.dims or ()]
    for dim, size in zip(spec.dims or (), found, strict=True):
        if size < 1:
            raise InputError(f"`{dim}` of `{spec.path}` is {size}; it must be at least 1.")
    return found


def read_example_file(spec: InputSpec) -> torch.Tensor:
    """Return the example in the file of a spec.

    Raises:
        InputError: It cannot be read, or is not of the axes that the spec gives.
    """
    path = Path(str(spec.file))
    subject = f"`{path}`, the example for `{spec.path}`,"
    try:
        array = load_npy(path, regular_file_size(path, subject, InputError))
    except (NotArraysError, OSError) as error:
        raise InputError(f"{subject} cannot be read: {error}.") from error
    dims = array.shape if spec.dims is None else spec.dims
    fits = len(dims) == array.ndim and all(
        isinstance(dim, str) or dim == size for dim, size in zip(dims, array.shape, strict=True)
    )
    if not fits or not array.size:
        expected = (
            f"[{','.join(map(str, dims))}] was expected" if not fits else "it must not be empty"
        )
        raise InputError(f"{subject} is of shape {array.shape}; {expected}.")
    tensor = torch.from_numpy(array.copy())
    return tensor if spec.dtype is None else tensor.to(spec.dtype)


def _dim(text: str) -> int | str | None:
    """Read one size; None for what is none."""
    if text.isdecimal():
        return int(text) or None
    names = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", text), 60)
    tried = evaluate_size(text, names) if names and is_size_expression(text) else None
    return canonical_size(text) if tried is not None and tried > 0 else None


def _limit(spec: str, text: str, dtype: torch.dtype) -> int | str:
    """Read what integers are below."""
    limit = int(text) if text.isdecimal() else text
    if dtype.is_floating_point or dtype == torch.bool or not limit or text[0] == "0":
        raise InputError(
            f"`{spec}` does not give a range: after `<` comes the number, or the axis whose size, "
            "the integers are below, such as tokens:int64[batch,sequence]<11."
        )
    if not text.isdecimal() and not text.isidentifier():
        raise InputError(f"`{spec}` gives the range `<{text}`, neither a number nor an axis.")
    return limit


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
            f"`{spec}` does not give a constant: one number of the dtype was expected after `=`, "
            "and nothing in the brackets, such as rate:int64[]=16000."
        ) from None
