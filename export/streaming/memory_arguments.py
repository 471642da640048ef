"""Memory of a module as arguments and results of its forward.

    def forward(self, x):                       def forward(self, x, *, past):
        y = x + self.past               →           y = x + past
        self.past = x                               return y, x
        return y

Every call then starts from its arguments, and the module holds the same before and after it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.override_forward import override_forward
from edgernn.export.capture.preserve_state import attributes_of, set_attribute
from edgernn.export.capture.pytree import ResultWithUpdates
from edgernn.export.streaming.attribute_leaves import leaves_of, map_leaves
from edgernn.export.streaming.find_memory import Memory, MemoryTensor
from edgernn.export.streaming.refused_memory import memory_refusal

__all__ = ["MemoryArgument", "MemoryArguments"]

_PORT_DTYPES = (torch.float32, torch.float16, torch.int64, torch.bool)


@dataclass(frozen=True)
class MemoryArgument:
    """One tensor of memory as an argument of forward, and as a result of the same name.

    Attributes:
        name: Its name.
        tensor: Where the module keeps it, and what it starts from.
    """

    name: str
    tensor: MemoryTensor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the argument: one that a state may have."""
        dtype = self.tensor.dtype
        if dtype in _PORT_DTYPES:
            return dtype
        return torch.float32 if dtype.is_floating_point else torch.int64

    @property
    def initial(self) -> torch.Tensor:
        """What it starts from, with 1 for the batch axis."""
        return self.tensor.initial.to(self.dtype)


class MemoryArguments:
    """The memory of a module as arguments of its forward.

    Args:
        module: The module, whose forward gives the names that are taken.
        memory: What it keeps from call to call.
    """

    def __init__(self, module: nn.Module, memory: Memory) -> None:
        self._memory = memory
        taken = {*inspect.signature(type(module).forward).parameters}  # with `self`
        arguments = []
        for tensor in memory.tensors:
            name = re.sub(r"\W+", "_", tensor.path).strip("_")
            while name in taken:
                name += "_"
            taken.add(name)
            arguments.append(MemoryArgument(name, tensor))
        self.arguments = tuple(arguments)

    def add_to(self, example: ExampleCall) -> ExampleCall:
        """Return the example with what the memory starts from."""
        batch = example.sizes.get(BATCH, 1)
        kwargs, shapes = dict(example.kwargs), dict(example.shapes)
        for one in self.arguments:
            shape = one.tensor.shape
            size = [batch if axis == BATCH else int(axis) for axis in shape]
            kwargs[one.name] = one.initial.expand(size).clone()
            shapes[one.name] = shape
        names = tuple(one.name for one in self.arguments)
        return replace(example, kwargs=kwargs, shapes=shapes, memory=names)

    def override(self, module: nn.Module) -> None:
        """Let forward of `module` take the memory and return its next values, in place."""
        kind = type(module)
        signature = inspect.signature(kind.forward)
        names = [one.name for one in self.arguments]

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            given = {name: kwargs.pop(name) for name in names}
            with _holding(self, memory, arguments._values(given)):
                result = kind.forward(self, *args, **kwargs)
                after = arguments._read(self)
            return ResultWithUpdates(result, after)

        arguments, memory = self, self._memory
        parameters = [*signature.parameters.values()]
        last = parameters.pop() if parameters[-1].kind is Parameter.VAR_KEYWORD else None
        parameters += [Parameter(name, Parameter.KEYWORD_ONLY) for name in names]
        parameters += [] if last is None else [last]
        override_forward(module, forward, signature.replace(parameters=parameters))

    def _values(self, given: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return the attributes that hold the arguments; a forward may write into them."""
        leaves = {
            one.tensor.path: given[one.name].clone().to(one.tensor.dtype) for one in self.arguments
        }
        return {
            name: map_leaves(
                lambda path, leaf: leaves[path] if path in leaves else _own(leaf), value, name
            )
            for name, value in self._memory.values.items()
        }

    def _read(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return what the attributes hold after a call."""
        held = attributes_of(module)
        leaves = {
            path: leaf
            for name in self._memory.attributes
            if name in held
            for path, leaf in leaves_of(held[name], name)
        }
        lost = [one.tensor.path for one in self.arguments if one.tensor.path not in leaves]
        if lost:
            raise memory_refusal(module, lost, "not every call gives it a value")
        found: dict[str, torch.Tensor] = {}
        for one in self.arguments:
            value = torch.as_tensor(leaves[one.tensor.path]).to(one.dtype)
            found[one.name] = value
        return found


@contextmanager
def _holding(module: nn.Module, memory: Memory, values: Mapping[str, Any]) -> Iterator[None]:
    """Let a module hold some values; put back what it held, whatever forward made of it."""
    before = attributes_of(module)
    try:
        for path, value in values.items():
            set_attribute(module, path, value)
        yield
    finally:
        for path in memory.changed:
            if path in before:
                set_attribute(module, path, before[path])
            else:
                owner, _, name = path.rpartition(".")
                vars(module.get_submodule(owner)).pop(name, None)


def _own(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
