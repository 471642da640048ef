"""Calls that forward might take, judged by the model's weights and forward's signature.

What layers take is read from the names and shapes of their weights, so that an archive, whose
layers have lost their classes, is read like a live module.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from edgernn.export.call.argument_names import LENGTH_NAMES, forward_parameters, is_state
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.ir.recurrent_operators import LSTM

__all__ = ["candidate_examples", "first_spec", "guess_step_sizes", "state_shapes"]

_WIDTHS = ("input_size", "in_features", "input_dim", "n_inputs", "n_features", "in_channels")
_LEADING = ((2, 5), (1, 5), (5, 1), (2,), (5,), (1,))

_Shape = tuple[int, ...]


def candidate_examples(module: nn.Module) -> Iterator[ExampleCall]:
    """Yield calls that forward might take, likely ones first."""
    parameters = forward_parameters(module)
    required = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty]
    first, *others = required or list(parameters)[:1] or [""]
    optional = [name for name in parameters if name not in required and name != first]
    states = [name for name in optional if is_state(name)]
    for tensor in _first_inputs(module):
        for extra in ([*others, *states], others) if states else (others,):
            for guessed in _extra_inputs(module, tensor, extra):
                yield ExampleCall({first: tensor, **guessed}, {})


def first_spec(module: nn.Module) -> str:
    """Return dtype and shape of what the first layer might take, as a spec has them."""
    for name, weight in module.named_parameters():
        # in an archive only its name distinguishes a table from a matrix
        table = isinstance(_owner(module, name), nn.Embedding) or "emb" in name.lower()
        for rows, shape in _input_shapes(module, name, weight):
            if rows is not None and table:
                return "int64[batch,sequence]"
            if rows is not None:
                continue
            if weight.dim() < 3:
                return f"float32[batch,sequence,{shape[-1]}]"
            channels = ",".join(map(str, shape[1:-1]))
            return f"float32[batch,{channels},sequence]"
    return "float32[batch,sequence,40]"


def _first_inputs(module: nn.Module) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = (_input_shapes(module, *named) for named in module.named_parameters())
    for rows, shape in dict.fromkeys(itertools.chain(*weights, _declared_shapes(module))):
        if rows is None:
            yield torch.randn(shape, generator=generator)
        else:
            yield torch.randint(rows, shape, generator=generator)


def _input_shapes(
    module: nn.Module, name: str, weight: torch.Tensor
) -> Iterator[tuple[int | None, _Shape]]:
    """Yield the number of ids or None, and the shape, of what a layer with this weight takes."""
    owner = _owner(module, name)
    embedding = isinstance(owner, nn.Embedding)
    if weight.dim() == 2 and (embedding or type(owner) is nn.Module):
        yield from ((weight.shape[0], one) for one in ((2, 5), (1, 5), (5, 1), (5,), (2,), (1,)))
    if (weight.dim() == 1 and not hasattr(owner, "num_features")) or embedding:
        return
    width = weight.shape[1 if weight.dim() > 1 else 0]
    if weight.dim() == 3:
        yield from ((None, (2, width, 64)), (None, (1, width, 64)), (None, (2, 64, width)))
        if width == 1:
            yield from ((None, (2, 640)), (None, (1, 640)))
    if weight.dim() == 4:
        yield from ((None, (2, width, *image)) for image in ((5, 64), (64, 64), (32, 100)))
        yield None, (2, 64, 64)
    yield from ((None, (*batch, width)) for batch in _LEADING)


def _declared_shapes(module: nn.Module) -> Iterator[tuple[None, _Shape]]:
    """Yield shapes of the input width that the model has as an attribute."""
    for width in (getattr(module, name, None) for name in _WIDTHS):
        if type(width) is int and width > 0:
            yield from ((None, (*batch, width)) for batch in _LEADING)


def _owner(module: nn.Module, name: str) -> nn.Module:
    """Return the layer of a weight; a bare nn.Module for one without a class."""
    path, _, kind = name.rpartition(".")
    owner = module.get_submodule(path)
    known = type(owner).__module__.startswith("torch.nn.modules")
    return owner if known or not kind.startswith("weight") else nn.Module()


def _extra_inputs(
    module: nn.Module, first: torch.Tensor, names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield values for further arguments: states by their names and the layers, else nothing."""
    lengths = [name for name in names if LENGTH_NAMES.match(name)]
    if lengths:
        others = [name for name in names if name not in lengths]
        if first.dim() < 2:
            return
        for batch, steps in (first.shape[:2], first.shape[1::-1]):
            full = {name: torch.full((batch,), steps) for name in lengths}
            for rest in _extra_inputs(module, first, others):
                yield {**rest, **full}
        return
    if not names:
        yield {}
        return
    if not all(is_state(name) for name in names):
        return
    layers = (part for part in module.modules() if isinstance(part, nn.RNNBase))
    batch_first = next((layer.batch_first for layer in layers), True)  # cells take it first
    cells = sum(name.endswith("weight_hh") for name, _ in module.named_parameters())
    sizes = first.shape[: 2 if first.is_floating_point() else None]
    for batch in dict.fromkeys([*(sizes if batch_first else reversed(sizes)), None]):
        h, c = state_shapes(module, batch)
        if h is None:
            return
        for outer in ((), (cells,)) if cells > 1 else ((),):  # or all stacked in one tensor
            yield from _states(names, (*outer, *h), None if c is None else (*outer, *c))


def _states(names: Sequence[str], h: _Shape, c: _Shape | None) -> Iterator[dict[str, Any]]:
    """Yield zeros for one argument with all of a state or for one with each part of it."""
    if len(names) == 1:
        yield {names[0]: torch.zeros(h) if c is None else (torch.zeros(h), torch.zeros(c))}
    elif len(names) == 2:
        yield {names[0]: torch.zeros(h), names[1]: torch.zeros(c or h)}


def state_shapes(module: nn.Module, batch: int | None) -> tuple[_Shape | None, _Shape | None]:
    """Return the shapes of h and c of the first recurrent layer, None for what it has not."""
    weights = dict(module.named_parameters())
    matches = (re.fullmatch(r"(.*)weight_hh(_l0)?", name) for name in weights)
    found = next(filter(None, matches), None)
    if found is None:
        return None, None
    prefix, layered = found[1], found[2] is not None
    recurrent = weights[found[0]]
    projection = weights.get(f"{prefix}weight_hr_l0")
    hidden = recurrent.shape[1] if projection is None else projection.shape[1]
    stack = sum(name.startswith(f"{prefix}weight_hh") for name in weights)
    outer = (stack,) if layered else ()
    inner = () if batch is None else (batch,)
    c = (*outer, *inner, hidden) if len(recurrent) == len(LSTM.torch_gates) * hidden else None
    return (*outer, *inner, recurrent.shape[1]), c


_GATES = (1, 4, 3, 2)
_TRIED = 32


def guess_step_sizes(module: nn.Module, arguments: Sequence[str]) -> tuple[int, int] | None:
    """Return the input size and hidden size of one step that runs, or None.

    Its states come back in the shape that they went in, the last of what forward returns.
    """
    states = [name for name in arguments if is_state(name)]
    if not states or len(states) == len(arguments):
        return None
    for width, hidden in itertools.islice(dict.fromkeys(_sizes(module)), _TRIED):
        sizes = {name: hidden if name in states else width for name in arguments}
        example = ExampleCall({name: torch.zeros(2, size) for name, size in sizes.items()}, {})
        if _returns_states(module, example, len(states), hidden):
            return width, hidden
    return None


def _sizes(module: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield input and hidden sizes: of one product with both side by side, or of one with each."""
    shapes = [tuple(p.shape) for p in module.parameters() if p.dim() == 2]
    inner = {columns for _, columns in shapes}
    for (rows, columns), gates in itertools.product(shapes, _GATES):
        hidden, rest = divmod(rows, gates)
        if rest or not hidden:
            continue
        if columns > hidden:
            yield columns - hidden, hidden
        if hidden in inner:
            yield columns, hidden


def _returns_states(module: nn.Module, example: ExampleCall, count: int, hidden: int) -> bool:
    try:
        results = list(run_forward(module, example).results.values())
    except Exception:
        return False
    return len(results) >= count and all(one.shape == (2, hidden) for one in results[-count:])
