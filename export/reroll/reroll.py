"""The stages of rerolling: unroll forward at a few sizes, build a module, compare it."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.reroll.build_graph import build_graph
from edgernn.export.reroll.check_rerolled import check_rerolled
from edgernn.export.reroll.loop_structure import DynamicAxis, RerollError
from edgernn.export.reroll.size_variants import SizeVariants
from edgernn.export.reroll.torch_operators import shape_of
from edgernn.export.reroll.unroll import unroll
from edgernn.export.trace.bounds import Bounds
from edgernn.export.trace.explain_failure import explain_failure

__all__ = ["LONGEST_STRIDE", "RerolledModule", "reroll"]

_LOG = logging.getLogger("edgernn.export")

_STEPS = 5
"""Steps that a loop is unrolled for at first."""

_LONGEST = 64
"""Steps that a loop is unrolled for at most, where its first steps do not show all it does."""

LONGEST_STRIDE = 8
"""Steps by which a sequence must grow at most for one more iteration."""


class RerolledModule(nn.Module):
    """A module whose loops over time are each one call, with the names of the user's weights.

    Args:
        children: Its weights and loops by name.
        graph: Takes the leaves of the arguments, returns those of the result.
        result: What forward returns, with any tensors in it.
        check: Returns `bounds` of the finished module.

    Attributes:
        bounds: The sizes at which it is the module that it was made from.
    """

    def __init__(
        self,
        children: Mapping[str, Any],
        graph: fx.Graph,
        result: Any,
        check: Callable[[nn.Module], Bounds],
    ) -> None:
        super().__init__()
        holder = fx.GraphModule(dict(children), graph)
        self._modules.update(holder._modules)
        self._parameters.update(holder._parameters)
        self._buffers.update(holder._buffers)
        self._graph = graph
        self._result = result
        self.bounds = check(self)

    def forward(self, **kwargs: Any) -> Any:
        """Return what the module returns that this was made from."""
        tensors = [leaf for name, one in kwargs.items() for _, leaf in tensor_leaves(one, name)]
        interpreter = fx.Interpreter(self, graph=self._graph)
        results = iter(interpreter.run(*tensors, enable_io_processing=False))
        return map_tensors(lambda *_: next(results), self._result)


def reroll(module: nn.Module, example: ExampleCall) -> RerolledModule:
    """Return a module that does what `module` does, with a `TimeLoop` for each loop over time.

    Loops are unrolled for a few steps. Where these do not show all that forward does, they are
    unrolled once more, for as many steps as the example has.

    Raises:
        RerollError: Forward at a few sizes does not determine what it does at others.
        UnsupportedModelError: torch cannot export it at all.
    """
    _LOG.info("looking for loops over time")
    few = example.resized({symbol: _STEPS for symbol in example.sizes if symbol != BATCH})
    steps = [size for symbol, size in example.sizes.items() if symbol != BATCH]
    reason: RerollError | None = None
    try:
        return _reroll_at(module, few, example)
    except RerollError as error:
        if not _STEPS < max(steps, default=0) <= _LONGEST:
            raise
        reason = error
    except Exception as error:
        if all(size <= _STEPS for size in steps):
            raise UnsupportedModelError(explain_failure(module, example, error)) from error
    try:
        return _reroll_at(module, example, example)
    except RerollError as error:
        raise reason or error from None
    except Exception as error:
        raise reason or UnsupportedModelError(explain_failure(module, example, error)) from error


def _reroll_at(module: nn.Module, short: ExampleCall, example: ExampleCall) -> RerolledModule:
    """Return the module built from forward at the sizes of `short` and slightly longer."""
    first, strides = _align_to_iterations(module, short)
    children, graph = build_graph(*_unroll_at_sizes(module, first, strides))
    with torch.no_grad(), preserve_state(module):
        result = module(**first.kwargs)
    named = type(type(module).__name__, (RerolledModule,), {})  # for messages
    check = partial(check_rerolled, module, example=example, only_longer=short is example)
    rerolled: RerolledModule = named(children, graph, result, check)
    return rerolled


def _align_to_iterations(
    module: nn.Module, example: ExampleCall
) -> tuple[ExampleCall, dict[str, int]]:
    """Return the stride of each axis, and the example at sizes where an iteration begins.

    The stride is how much an axis must grow for one more iteration: for forward to call more
    functions. The example is lengthened until it would call fewer if it were one step shorter.
    """
    sizes, strides = dict(example.sizes), dict.fromkeys(example.sizes, 1)
    for symbol in sizes:
        if symbol == BATCH:
            continue
        counts = _function_counts(module, example, symbol)
        grows = (more for more, (a, b) in enumerate(itertools.pairwise(counts), 1) if b > a)
        start, end = next(grows, 1), next(grows, 2)
        if end - start > 1:
            sizes[symbol] += start
            strides[symbol] = end - start
    return example.resized(sizes), strides


def _function_counts(module: nn.Module, example: ExampleCall, symbol: str) -> Iterator[int]:
    """Yield how many functions forward calls at the size of an axis and at the next ones."""
    with contextlib.suppress(Exception):  # an axis that cannot be longer
        for size in range(example.sizes[symbol], example.sizes[symbol] + 2 * LONGEST_STRIDE + 1):
            yield run_forward(module, example.resized({symbol: size})).functions


def _unroll_at_sizes(
    module: nn.Module, example: ExampleCall, strides: Mapping[str, int]
) -> tuple[SizeVariants, dict[str, DynamicAxis]]:
    """Return forward at these sizes and with each axis a stride longer, and the axes it reads."""
    constant = [symbol for symbol, stride in strides.items() if stride > 1]
    modules = [unroll(module, example, constant)]
    axes = _dynamic_axes(modules[0], example, strides)
    for symbol in axes:
        size = example.sizes[symbol] + strides[symbol]
        try:
            modules.append(unroll(module, example.resized({symbol: size}), constant))
        except Exception as error:
            raise RerollError(f"forward fails where only `{symbol}` is {size}") from error
    iterations = {symbol: axis.iterations(example.sizes[symbol]) for symbol, axis in axes.items()}
    return SizeVariants(modules, iterations, list(axes)), axes


def _dynamic_axes(
    unrolled: fx.GraphModule, example: ExampleCall, strides: Mapping[str, int]
) -> dict[str, DynamicAxis]:
    """Return the axes whose size forward looked at, by name."""
    axes: dict[str, DynamicAxis] = {}
    inputs = unrolled.graph.find_nodes(op="placeholder")
    for index, (leaf, node) in enumerate(zip(example.tensors, inputs, strict=True)):
        for axis, (symbol, size) in enumerate(zip(leaf.shape, shape_of(node) or (), strict=True)):
            if isinstance(symbol, str) and symbol in strides and isinstance(size, int):
                stride = strides[symbol]
                axes.setdefault(symbol, DynamicAxis(index, axis, stride, offset=-size % stride))
    return axes
