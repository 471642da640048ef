"""A forward that loops over time in Python, as one whose loops are each one call.

torch's exporter unrolls such a loop, for one number of steps. Here forward is exported at a few
sizes, the iterations are found in what came out, and a module is written that does the same at any
size: the operators as they are, numbers that follow the sizes, and a `Loop` for each loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.example.call import Example, observe
from edgernn.export.example.tree import leaves, map_leaves
from edgernn.export.roll.aligned import Aligned, NotRolledError
from edgernn.export.roll.program import Program, read_program, shape_of
from edgernn.export.roll.write import written
from edgernn.export.trace.trace import trace_failure
from edgernn.export.trace.untouched import untouched

__all__ = ["NotRolledError", "Rolled", "rolled"]

_STEPS = 5
"""How many steps a loop is unrolled for, where forward takes so few."""


class Rolled(nn.Module):
    """A module whose loops over time are each one call.

    Its weights have the names that they had.

    Args:
        parts: Its weights and loops by name.
        graph: Takes the leaves of the arguments, returns those of the result.
        result: What forward returns, with any tensors in it.
    """

    def __init__(self, parts: Mapping[str, Any], graph: fx.Graph, result: Any) -> None:
        super().__init__()
        holder = fx.GraphModule(dict(parts), graph)
        for name, child in holder.named_children():
            self.add_module(name, child)
        for name, weight in holder.named_parameters(recurse=False):
            self.register_parameter(name, weight)
        for name, buffer in holder.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self._graph = graph
        self._result = result

    def forward(self, **kwargs: Any) -> Any:
        """Return what the module returns that this was made from."""
        given = [
            tensor for name, argument in kwargs.items() for _, tensor in leaves(argument, name)
        ]
        interpreter = fx.Interpreter(self, graph=self._graph)
        results = iter(interpreter.run(*given, enable_io_processing=False))
        return map_leaves(lambda *_: next(results), self._result)


def rolled(module: nn.Module, example: Example) -> Rolled:
    """Return a module that does what `module` does, with a `Loop` for each loop over time.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.

    Raises:
        NotRolledError: What forward does at other sizes cannot be told.
        UnsupportedModelError: torch cannot export it at all.
    """
    program, first = _program(module, example)
    places = {
        symbol: place
        for symbol in first.sizes
        if _is_number(program, place := _place(symbol, first))
    }
    longer = [
        read_program(module, first.resized({symbol: first.sizes[symbol] + 1})) for symbol in places
    ]
    aligned = Aligned([program, *longer], first.sizes, dict.fromkeys(places, 1))
    with torch.no_grad(), untouched(module):
        result = module(**first.kwargs)
    made = Rolled(*written(aligned, places), result)
    _check_alike(module, made, example)
    return made


def _program(module: nn.Module, example: Example) -> tuple[Program, Example]:
    """Return the program of a few steps; where these are too few for forward, of the example's."""
    few = example.resized({symbol: _STEPS for symbol in example.sizes if symbol != BATCH})
    with contextlib.suppress(Exception):
        return read_program(module, few), few
    try:
        return read_program(module, example), example
    except Exception as error:
        raise UnsupportedModelError(trace_failure(module, example, error)) from error


def _place(symbol: str, example: Example) -> tuple[int, int]:
    """Return an input that has an axis, and which of its axes that is."""
    return next(
        (index, leaf.shape.index(symbol))
        for index, leaf in enumerate(example.leaves)
        if symbol in leaf.shape
    )


def _is_number(program: Program, place: tuple[int, int]) -> bool:
    """Return whether forward looked at the size of an axis."""
    index, axis = place
    shape = shape_of(program.inputs[index])
    return shape is not None and isinstance(shape[axis], int)


def _check_alike(module: nn.Module, made: nn.Module, example: Example) -> None:
    """Run both at other sizes.

    Raises:
        NotRolledError: They differ.
    """
    for batch, steps in ((1, 1), (2, 2), (3, 7)):
        sizes = {symbol: steps + place for place, symbol in enumerate(example.sizes)}
        resized = example.resized(sizes | ({BATCH: batch} if BATCH in sizes else {}))
        try:
            wanted = observe(module, resized).results
        except Exception:
            continue  # the model itself does not take this size
        try:
            got = observe(made, resized).results
        except Exception as error:
            raise NotRolledError(f"forward does something else at {resized.sizes}") from error
        for path, tensor in wanted.items():
            if tensor.shape != got[path].shape or not torch.allclose(
                got[path], tensor, rtol=1e-4, atol=1e-5, equal_nan=True
            ):
                raise NotRolledError(f"forward does something else at {resized.sizes}")
