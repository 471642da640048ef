"""The user's own module, called again and again from the memory that it came with.

Nothing here knows what the module remembers, or where: graphs that give the same, call after call,
have all of its memory and no other.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_quietly
from edgernn.export.capture.preserve_state import attributes_of, preserve_state, set_attribute
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.eager_reference import default_dtype
from edgernn.export.streaming.attribute_leaves import Leaf, map_leaves

__all__ = ["ModuleCalls", "RemembersInCopy"]


@runtime_checkable
class RemembersInCopy(Protocol):
    """A module that is the same at every call, and has a copy that is not."""

    def remembering(self) -> nn.Module:
        """Return a copy that keeps what its calls leave."""
        ...


class ModuleCalls:
    """Calls of a module, each from the memory that the one before left.

    Args:
        module: The module as it was given. Every row of calls puts it back to what it is now.
        example: A call of it.
        remembers: Whether a call is known to depend on those before it. Where not, forward changes
            the module, and calls in a row must show that no result depends on that.
    """

    def __init__(self, module: nn.Module, example: ExampleCall, remembers: bool = True) -> None:
        self.remembers = remembers
        self._module = module
        self._kind = type(module)  # its forward may be overridden later
        self._example = example
        real = (p.dtype for p in module.parameters() if p.dtype.is_floating_point)
        self._dtype = next(real, torch.float32)

    def double(self) -> ModuleCalls:
        """Return calls of the same module in float64."""
        with _of_class(self._module, self._kind):
            module = copy.deepcopy(self._module).double()
        for name, value in attributes_of(module).items():
            set_attribute(module, name, map_leaves(_as_double, value, name))
        return ModuleCalls(module, self._example, self.remembers)

    def __call__(
        self,
        calls: Iterable[Arrays],
        states: Arrays,
        results: Mapping[str, str],
        axes: Mapping[str, int] | None = None,
    ) -> Iterator[Arrays]:
        """Yield what the module returns, by path, for the inputs of each call by path.

        Args:
            calls: The inputs of each call by path.
            states: The states that forward takes as arguments: path → what the first call takes.
            results: The path of such an argument → the path of the result that the next call takes.
            axes: Where forward is one step, path of an input or a result → the axis along which
                the steps of the given calls are stacked. Each step is then a call.
        """
        states = dict(states)
        module = self._start()

        def call(inputs: Arrays) -> Arrays:
            with _of_class(module, self._kind):
                returned = self._call(module, {**inputs, **states})
            states.update({path: returned[result] for path, result in results.items()})
            return returned

        with torch.no_grad(), preserve_state(module), default_dtype(self._dtype):
            for inputs in calls:
                yield call(inputs) if axes is None else _by_steps(call, inputs, axes)

    def _start(self) -> nn.Module:
        """Return what a row of calls is made of: the module, or a copy that is as it is now.

        The attributes of a scripted module cannot be put back; one that is the same at every call
        has a copy that is not.
        """
        if isinstance(self._module, RemembersInCopy):
            return self._module.remembering()
        scripted = any(isinstance(part, torch.jit.ScriptModule) for part in self._module.modules())
        return copy.deepcopy(self._module) if scripted else self._module

    def _call(self, module: nn.Module, inputs: Arrays) -> dict[str, NDArray[Any]]:
        tensors = {path: torch.from_numpy(array.copy()) for path, array in inputs.items()}
        given = {
            path: one.to(self._dtype) if one.is_floating_point() else one
            for path, one in tensors.items()
        }
        result = run_quietly(module, self._example.with_tensors(given))
        return {path: tensor.numpy().copy() for path, tensor in tensor_leaves(result)}


@contextlib.contextmanager
def _of_class(module: nn.Module, kind: type[nn.Module]) -> Iterator[None]:
    """Make a module one of the class that it had when it was given."""
    now = type(module)
    module.__class__ = kind
    try:
        yield
    finally:
        module.__class__ = now


def _as_double(_: str, leaf: Leaf) -> Leaf:
    if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        return leaf.double()
    return leaf


def _by_steps(
    call: Callable[[Arrays], Arrays], inputs: Arrays, axes: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    steps = next(array.shape[axes[path]] for path, array in inputs.items() if path in axes)
    parts = [
        call({p: one.take(step, axes[p]) if p in axes else one for p, one in inputs.items()})
        for step in range(steps)
    ]
    return {
        path: np.stack([part[path] for part in parts], axes[path]) if path in axes else last
        for path, last in parts[-1].items()
    }
