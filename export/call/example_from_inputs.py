"""The example call that the user gave: tensors, or specs such as `tokens:int64[batch,sequence]`."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.argument_names import LENGTH_NAMES, forward_parameters, takes_any_keyword
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.input_spec import (
    InputSpec,
    named_sizes,
    parse_spec,
    read_example_file,
    spec_sizes,
)
from edgernn.export.capture.pytree import map_tensors, packed_paths, tensor_leaves

__all__ = ["example_from"]

_SIZES = {BATCH: 2, SEQUENCE: 5}
_DTYPES = (torch.float32, torch.int64, torch.int32, torch.bool)

_CONVERSION = {
    False: "Give it as one of these, and let forward convert it.",
    True: "Give `torch.view_as_real(z)`, and let forward begin with `torch.view_as_complex`.",
}
"""Whether an example is complex → what to do."""

_Shapes = dict[str, tuple[int | str, ...]]


def example_from(
    module: nn.Module, inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor
) -> ExampleCall:
    """Return the example that the user gave, as tensors or as specs.

    `inputs` are forward's arguments as a tuple or a mapping by name, with tensors, NumPy arrays or
    nested tuples, lists and dicts of them; or specs, see `parse_spec`.

    Raises:
        InputError: A spec is wrong, or an argument is not one of forward's.
    """
    if isinstance(inputs, (str, torch.Tensor, np.ndarray)):
        inputs = (inputs,)
    if not isinstance(inputs, Mapping) and any(isinstance(one, str) for one in inputs):
        return _from_specs(module, [parse_spec(str(one)) for one in inputs])
    names = list(forward_parameters(module))
    given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=False))
    any_name = isinstance(inputs, Mapping) and takes_any_keyword(module)
    if len(given) < len(inputs) or not (any_name or set(given) <= set(names)):
        raise InputError(
            f"`{type(module).__name__}.forward` takes {_listed(names)}; {len(inputs)} inputs were "
            f"given{': ' + _listed(list(given)) if isinstance(inputs, Mapping) else ''}."
        )
    for path in (path for name, value in given.items() for path in packed_paths(value, name)):
        raise InputError(
            f"`{path}` is a PackedSequence, whose rows are sorted by step. Let forward take the "
            "padded sequences and their lengths, and pack them itself."
        )
    given = tree_map_only(np.ndarray, torch.from_numpy, given)
    example = ExampleCall(map_tensors(lambda _, tensor: _cpu_float32(tensor), given), {})
    for leaf in example.tensors:
        if leaf.tensor.dtype not in _DTYPES:
            raise InputError(
                f"`{leaf}` is of a dtype that graphs do not take as an input; they take "
                f"{', '.join(str(one).removeprefix('torch.') for one in _DTYPES)}. "
                + _CONVERSION[leaf.tensor.is_complex()]
            )
        if leaf.tensor.numel() == 0:
            raise InputError(
                f"`{leaf}` is empty. Give an example with at least one sequence of one step."
            )
    return example


def _from_specs(module: nn.Module, specs: Sequence[InputSpec]) -> ExampleCall:
    names = list(forward_parameters(module))
    tables = (part for part in module.modules() if isinstance(part, nn.Embedding))
    high = min((table.num_embeddings for table in tables), default=2)
    sizes = named_sizes(specs, _SIZES)
    generator = torch.Generator().manual_seed(0)
    kwargs: dict[str, Any] = {}
    shapes: _Shapes = {}
    guessed: list[str] = []
    for spec in specs:
        path = spec.path
        name, keys = path.partition("[")[0], re.findall(r"\[(.*?)\]", path)
        if name not in names and not takes_any_keyword(module):
            raise InputError(
                f"`{name}` is not an argument of `{type(module).__name__}.forward`, which takes "
                f"{_listed(names)}."
            )
        if path in shapes:
            raise InputError(f"`{path}` is given twice. Give one spec for each input.")
        if spec.value is not None:
            kwargs[name] = _insert(kwargs.get(name), keys, spec.value)
            continue
        if spec.file is not None:
            tensor = _cpu_float32(read_example_file(spec))
        else:
            size = spec_sizes(spec, sizes)
            assert spec.dtype is not None
            if spec.dtype.is_floating_point:
                tensor = torch.randn(size, generator=generator)
            elif LENGTH_NAMES.match(name) and spec.limit is None:
                tensor = torch.full(size, sizes.get(SEQUENCE, _SIZES[SEQUENCE]), dtype=spec.dtype)
            else:
                below = high if spec.limit is None else evaluate_size(spec.limit, sizes)
                if below is None:
                    raise InputError(
                        f"`{path}` is said to be below `{spec.limit}`, which is not an axis of the "
                        "inputs."
                    )
                tensor = torch.randint(below, size, generator=generator).to(spec.dtype)
                if spec.limit is None and spec.dtype != torch.bool:
                    guessed.append(path)
        kwargs[name] = _insert(kwargs.get(name), keys, tensor)
        shapes[path] = spec.dims if spec.dims is not None else tuple(tensor.shape)
    ordered = {name: kwargs[name] for name in [*names, *kwargs] if name in kwargs}
    if all(spec.dims is None or spec.value is not None for spec in specs):
        shapes = {}
    limits = {spec.path: spec.limit for spec in specs if spec.limit is not None}
    return ExampleCall(
        *_as_annotated(module, ordered, shapes), limits=limits, guessed_ranges=tuple(guessed)
    )


def _insert(tree: Any, keys: Sequence[str], tensor: Any) -> Any:
    """Return `tree` with `tensor` at `keys`: digits index a tuple, anything else a dict."""
    if not keys:
        return tensor
    key, *rest = keys
    if key.isdigit():
        items = list(tree or ())
        items += [None] * (int(key) + 1 - len(items))
        items[int(key)] = _insert(items[int(key)], rest, tensor)
        return tuple(items)
    name = key.strip("\"'")
    return {**(tree or {}), name: _insert((tree or {}).get(name), rest, tensor)}


def _cpu_float32(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no arguments"


def _as_annotated(
    module: nn.Module, kwargs: Mapping[str, Any], shapes: _Shapes
) -> tuple[dict[str, Any], _Shapes]:
    """Return arguments given as nested tuples and dicts in the containers that forward names.

    Those are lists, named tuples and dataclasses. The shapes are returned under the paths that the
    tensors then have.
    """
    try:
        hints = typing.get_type_hints(module.forward)
    except Exception:  # names that only a type checker knows
        hints = {}
    made = {name: _with_type(value, hints.get(name)) for name, value in kwargs.items()}
    renamed = {
        old: new
        for name in kwargs
        for (old, _), (new, _) in zip(
            tensor_leaves(kwargs[name], name), tensor_leaves(made[name], name), strict=True
        )
    }
    return made, {renamed.get(path, path): shape for path, shape in shapes.items()}


def _with_type(value: Any, hint: Any) -> Any:
    """Return `value` as `hint` has it, as far as that is a container of as many values."""
    arguments = [one for one in typing.get_args(hint) if one is not type(None)]
    if type(None) in typing.get_args(hint) and len(arguments) == 1:
        return _with_type(value, arguments[0])  # Optional[…]
    if isinstance(value, dict):
        inner = arguments[1] if len(arguments) == 2 else None
        made = {key: _with_type(one, inner) for key, one in value.items()}
        fields = _fields(hint)
        return hint(**made) if fields and set(made) <= set(fields) else made
    if not isinstance(value, tuple):
        return value
    fields = _fields(hint)
    if fields and len(value) <= len(fields):
        hints = typing.get_type_hints(hint)
        return hint(*(_with_type(one, hints.get(fields[place])) for place, one in enumerate(value)))
    if typing.get_origin(hint) in (list, Sequence) or hint is list:
        return [_with_type(one, arguments[0] if arguments else None) for one in value]
    if Ellipsis in arguments:
        return tuple(_with_type(one, arguments[0]) for one in value)
    known = arguments if len(arguments) == len(value) else [None] * len(value)
    return tuple(map(_with_type, value, known))


def _fields(hint: Any) -> Sequence[str]:
    """Return the fields of a named tuple or a dataclass; nothing of any other type."""
    if dataclasses.is_dataclass(hint):
        return [field.name for field in dataclasses.fields(hint)]
    return getattr(hint, "_fields", ()) if isinstance(hint, type) else ()
