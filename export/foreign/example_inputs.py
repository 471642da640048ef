"""Example inputs for an ONNX file, from what it declares or from what the user gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch

from edgernn.axis_sizes import evaluate_size
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.input_spec import named_sizes, parse_spec, read_example_file, spec_sizes
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import sequence_lens_inputs
from edgernn.export.ir.dataflow import id_limit
from edgernn.option_names import option

__all__ = ["candidate_examples", "declared_specs", "given_example"]

_SIZES = (
    *((2, 5, 3, 7), (5, 2, 3, 7), (2,), (1,)),
    *((2, 576, 2, 7), (2, 288, 2, 7), (2, 640, 3, 7), (2, 64, 64, 7), (1, 576, 1, 7)),
)
"""Sizes to try for the dynamic axes in their order, the last one for all further axes.

576 and 288 are windows of sound that a voice detector takes: 512 samples at 16 kHz with the 64
before them, and half as many at 8 kHz.
"""
_NAMED = {"batch": 2, "sequence": 5}


def candidate_examples(file: OnnxFile) -> Iterator[ExampleCall]:
    """Yield inputs that the file may take, of the shapes that it declares.

    Raises:
        InputError: An input has no declared rank.
        UnsupportedModelError: An input is of text.
    """
    inputs = file.model.graph.inputs
    masks = sequence_lens_inputs(file.model.graph)[1]
    free: dict[object, int] = {}
    for value in inputs:
        for axis, size in enumerate(_declared(file, value)):
            if not isinstance(size, int):
                free.setdefault(size.value or (value.name, axis), len(free))
    for sizes in _SIZES if free else _SIZES[:1]:
        tensors = {}
        for value in inputs:
            shape = [
                size
                if isinstance(size, int)
                else sizes[min(free[size.value or (value.name, axis)], len(sizes) - 1)]
                for axis, size in enumerate(_declared(file, value))
            ]
            drawn = _drawn(value, shape)
            tensors[value.name or ""] = _mask(drawn) if value.name in masks else drawn
        yield ExampleCall(tensors, {})


def declared_specs(file: OnnxFile) -> list[str]:
    """Return specs of the inputs with the axes as the file names them."""
    return [
        f"{value.name}:{value.dtype.numpy().name}[{','.join(map(str, _declared(file, value)))}]"
        for value in file.model.graph.inputs
        if value.dtype is not None
    ]


def given_example(file: OnnxFile, inputs: Any) -> ExampleCall:
    """Return the example that the user gave, as specs, arrays or tensors, in order or by name.

    Raises:
        InputError: A name is not one of the file's inputs, or an input is missing.
    """
    ports = {value.name or "": value for value in file.model.graph.inputs}
    if isinstance(inputs, (str, torch.Tensor)) or hasattr(inputs, "__array__"):
        inputs = (inputs,)
    tensors: dict[str, torch.Tensor] = {}
    shapes: dict[str, tuple[int | str, ...]] = {}
    limits: dict[str, int | str] = {}
    if not isinstance(inputs, Mapping) and all(isinstance(one, str) for one in inputs):
        specs = [parse_spec(one) for one in inputs]
        sizes = named_sizes(specs, _NAMED)
        for spec in specs:
            name = spec.path
            _check_known(file, name, ports)
            if spec.file is not None:
                tensor = read_example_file(spec)
                tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
            else:
                limit = None if spec.limit is None else evaluate_size(spec.limit, sizes)
                tensors[name] = _drawn(ports[name], spec_sizes(spec, sizes), limit).to(spec.dtype)
            shapes[name] = tuple(tensors[name].shape) if spec.dims is None else spec.dims
            if spec.limit is not None:
                limits[name] = spec.limit
        if all(spec.dims is None for spec in specs):
            shapes = {}
    else:
        named = inputs if isinstance(inputs, Mapping) else dict(zip(ports, inputs, strict=False))
        for name, array in named.items():
            _check_known(file, name, ports)
            tensor = torch.as_tensor(array)
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    missing = [name for name in ports if name not in tensors]
    if missing:
        raise InputError(
            f"`{file.path}` has the inputs {_listed(ports)}; {_listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not given. Give all of them or none."
        )
    return ExampleCall({name: tensors[name] for name in ports}, shapes, limits=limits)


def _declared(file: OnnxFile, value: ir.Value) -> Sequence[int | ir.SymbolicDim]:
    if value.dtype is None or value.dtype == ir.DataType.STRING:
        raise UnsupportedModelError(
            f"Input `{value.name}` of `{file.path}` is not a tensor of numbers. Export the part "
            "of the model that comes after it."
        )
    if value.shape is None:
        spec = f"{value.name}:{value.dtype.numpy().name}[batch,sequence,40]"
        raise InputError(
            f"Input `{value.name}` of `{file.path}` has no declared shape. Describe it: "
            f"{option('inputs', [spec])}."
        )
    return tuple(value.shape)


def _drawn(value: ir.Value, shape: Sequence[int], limit: int | None = None) -> torch.Tensor:
    """Return numbers for an input: normal ones, ids of the table they look up, or else ones."""
    assert value.dtype is not None
    generator = torch.Generator().manual_seed(0)
    if value.dtype.is_floating_point():
        return torch.randn(list(shape), generator=generator)
    dtype = torch.from_numpy(value.dtype.numpy().type(0).reshape(1)).dtype
    limit = limit or id_limit(value)
    if limit is None:
        return torch.ones(list(shape), dtype=dtype)
    return torch.randint(limit, list(shape), generator=generator).to(dtype)


def _mask(ones: torch.Tensor) -> torch.Tensor:
    """Return a mask of zeros and ones, of which lengths are counted; the first of an axis is 1."""
    if ones.is_floating_point() or ones.dim() < 2:
        return ones
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(2, ones.shape, generator=generator)
    for axis in range(mask.dim()):
        mask.select(axis, 0).fill_(1)
    return mask.to(ones.dtype)


def _check_known(file: OnnxFile, name: str, ports: Mapping[str, ir.Value]) -> None:
    if name not in ports:
        raise InputError(f"`{name}` is not an input of `{file.path}`, which has {_listed(ports)}.")


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)
