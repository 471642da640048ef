"""A forward that loops over time in Python, as one whose loops are each one call.

torch's exporter unrolls such a loop, for one number of steps. Here forward is exported at a few
sizes, the iterations are found in what came out, and a module is written that does the same at any
size: the operators as they are, numbers that follow the sizes, and a `Loop` for each loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall, run_forward
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.reroll.build_module import written
from edgernn.export.reroll.check_rerolled import compared
from edgernn.export.reroll.normalize import shape_of
from edgernn.export.reroll.program import Program, read_program
from edgernn.export.reroll.size_expressions import Axis
from edgernn.export.reroll.size_variants import Aligned, NotRolledError
from edgernn.export.trace.bounds import Bounds
from edgernn.export.trace.refusal import refusal

__all__ = ["LONGEST_STRIDE", "NotRolledError", "Rolled", "rolled"]

_STEPS = 5
"""How many steps a loop is unrolled for, where forward takes so few."""

_LONGEST = 64
"""How many steps at most a loop is unrolled for, where what it does at a few is not all."""

LONGEST_STRIDE = 8
"""By how many steps at most a sequence must grow for one more iteration."""


class Rolled(nn.Module):
    """A module whose loops over time are each one call.

    Its weights have the names that they had.

    Args:
        parts: Its weights and loops by name.
        graph: Takes the leaves of the arguments, returns those of the result.
        result: What forward returns, with any tensors in it.

    Attributes:
        bounds: The sizes for which it is the module that it was made from.
    """

    def __init__(self, parts: Mapping[str, Any], graph: fx.Graph, result: Any) -> None:
        super().__init__()
        holder = fx.GraphModule(dict(parts), graph)
        for path, child in holder.named_children():
            self.add_module(path, child)
        for path, weight in holder.named_parameters(recurse=False):
            self.register_parameter(path, weight)
        for path, buffer in holder.named_buffers(recurse=False):
            self.register_buffer(path, buffer)
        self._graph = graph
        self._result = result
        self.bounds = Bounds()

    def forward(self, **kwargs: Any) -> Any:
        """Return what the module returns that this was made from."""
        given = [
            tensor
            for name, argument in kwargs.items()
            for _, tensor in tensor_leaves(argument, name)
        ]
        interpreter = fx.Interpreter(self, graph=self._graph)
        results = iter(interpreter.run(*given, enable_io_processing=False))
        return map_tensors(lambda *_: next(results), self._result)


def rolled(module: nn.Module, example: ExampleCall) -> Rolled:
    """Return a module that does what `module` does, with a `Loop` for each loop over time.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.

    Raises:
        NotRolledError: What forward does at other sizes cannot be told.
        UnsupportedModelError: torch cannot export it at all.
    """
    few = example.resized({symbol: _STEPS for symbol in example.sizes if symbol != BATCH})
    steps = [size for symbol, size in example.sizes.items() if symbol != BATCH]
    reason: NotRolledError | None = None
    try:
        return _at(module, few, example)
    except NotRolledError as error:
        if not _STEPS < max(steps, default=0) <= _LONGEST:
            raise
        reason = error
    except Exception as error:
        if all(size <= _STEPS for size in steps):
            raise UnsupportedModelError(refusal(module, example, error)) from error
    try:
        return _at(module, example, example)
    except NotRolledError as error:
        raise reason or error from None
    except Exception as error:
        raise reason or UnsupportedModelError(refusal(module, example, error)) from error


def _at(module: nn.Module, seen: ExampleCall, example: ExampleCall) -> Rolled:
    """Return the module made of what forward does at the sizes of `seen` and at longer ones.

    Raises:
        NotRolledError: It is another than `module` at other sizes.
        Exception: torch cannot export `module`.
    """
    first, strides = _strided(module, seen)
    program = read_program(module, first, _unequal(strides))
    axes = _axes(program, first, strides)
    longer = [_longer(module, first, symbol, strides) for symbol in axes]
    sizes = {symbol: axis.strides(first.sizes[symbol]) for symbol, axis in axes.items()}
    aligned = Aligned([program, *longer], sizes, list(axes))
    with torch.no_grad(), preserve_state(module):
        result = module(**first.kwargs)
    called = type(type(module).__name__, (Rolled,), {})  # by which messages name the model
    made: Rolled = called(*written(aligned, axes), result)
    made.bounds = compared(module, made, example, long=seen is example)
    return made


def _strided(module: nn.Module, example: ExampleCall) -> tuple[ExampleCall, dict[str, int]]:
    """Return by how much each axis must grow for forward to call more functions.

    Returns:
        The example, made longer so far that it would call fewer if it were one step shorter; and
        the strides.
    """
    sizes, strides = dict(example.sizes), dict.fromkeys(example.sizes, 1)
    for symbol in sizes:
        if symbol == BATCH:
            continue
        counts = _counts(module, example, symbol)
        grows = (more for more, (a, b) in enumerate(itertools.pairwise(counts), 1) if b > a)
        start, end = next(grows, 1), next(grows, 2)
        if end - start > 1:
            sizes[symbol] += start
            strides[symbol] = end - start
    return example.resized(sizes), strides


def _counts(module: nn.Module, example: ExampleCall, symbol: str) -> Iterator[int]:
    """Yield how many functions forward calls at the size of an axis and at the next ones."""
    for more in range(2 * LONGEST_STRIDE + 1):
        try:
            yield run_forward(
                module, example.resized({symbol: example.sizes[symbol] + more})
            ).functions
        except Exception:
            return  # an axis that cannot be longer


def _unequal(strides: Mapping[str, int]) -> list[str]:
    return [symbol for symbol, stride in strides.items() if stride > 1]


def _longer(
    module: nn.Module, example: ExampleCall, symbol: str, strides: Mapping[str, int]
) -> Program:
    """Return the program where one axis is by a stride longer than in the example."""
    size = example.sizes[symbol] + strides[symbol]
    try:
        return read_program(module, example.resized({symbol: size}), _unequal(strides))
    except Exception as error:
        raise NotRolledError(f"forward fails where `{symbol}` alone is {size}") from error


def _axes(program: Program, example: ExampleCall, strides: Mapping[str, int]) -> dict[str, Axis]:
    """Return the axes whose size forward looked at, by name."""
    axes: dict[str, Axis] = {}
    for index, (leaf, node) in enumerate(zip(example.tensors, program.inputs, strict=True)):
        for axis, (symbol, size) in enumerate(zip(leaf.shape, shape_of(node) or (), strict=True)):
            if isinstance(symbol, str) and symbol in strides and isinstance(size, int):
                stride = strides[symbol]
                axes.setdefault(symbol, Axis(index, axis, stride, -size % stride))
    return axes
