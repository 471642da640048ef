"""A TorchScript graph as plain Python objects that run it, operator by operator.

A ScriptModule does not call Python while it runs, and so hides its recurrent layers. Here every
operator is a call of `torch.ops`, which a TorchFunctionMode sees and torch.export traces.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, TRAINING_FLAGS
from edgernn.export.source.torchscript_operators import DTYPES

__all__ = [
    "Block",
    "Environment",
    "IfBlock",
    "LoopBlock",
    "OperatorCall",
    "PythonCall",
    "RaiseException",
    "ReadTensors",
    "SchemaArgument",
]


@dataclass
class Environment:
    """One run: the module whose tensors are read, and the values computed so far by name."""

    module: nn.Module
    values: dict[str, Any]
    narrowed: bool

    def take(self, names: tuple[str, ...]) -> list[Any]:
        """Return the values of `names`."""
        return [self.values[name] for name in names]

    def give(self, names: tuple[str, ...], results: Any) -> None:
        """Set the values of `names`, one for each of `results`."""
        self.values.update(zip(names, results, strict=True))


class Instruction(Protocol):
    """One node of a graph."""

    def run(self, frame: Environment) -> None:
        """Compute the node's values from those in `frame`."""


@dataclass(frozen=True)
class Block:
    """Nodes in order, with the names of what goes in and comes out."""

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[str, ...]

    def run(self, frame: Environment, arguments: list[Any]) -> list[Any]:
        """Run the nodes on `arguments` and return the outputs."""
        frame.give(self.inputs, arguments)
        for instruction in self.instructions:
            instruction.run(frame)
        return frame.take(self.outputs)


@dataclass(frozen=True)
class ReadTensors:
    """Read one tensor of the module, or a list of them, by dotted paths."""

    output: str
    paths: tuple[str, ...]
    listed: bool

    def run(self, frame: Environment) -> None:
        """Set the output to the tensors as the module holds them now."""
        tensors = [_tensor_at(frame.module, path) for path in self.paths]
        frame.values[self.output] = tensors if self.listed else tensors[0]


@dataclass(frozen=True)
class Constant:
    """Set a value that is the same in every run."""

    output: str
    value: Any

    def run(self, frame: Environment) -> None:
        """Set the output, a list as a new one."""
        frame.values[self.output] = list(self.value) if type(self.value) is list else self.value


@dataclass(frozen=True)
class SchemaArgument:
    """What an operator's schema says of one argument."""

    name: str
    keyword: bool
    tensor: bool

    def prepare(self, value: Any, narrowed: bool) -> Any:
        """Return `value` as `torch.ops` takes it on the CPU, in eval mode."""
        match self.name, value:
            case "dtype", int():
                dtype = DTYPES[value]
                return torch.float32 if narrowed and dtype in CONVERTED_DTYPES else dtype
            case "layout", int():
                return torch.strided
            case "memory_format", int():
                return _MEMORY_FORMATS[value]
            case "device", str() | torch.device():
                return torch.device("cpu")
            case name, True if name in TRAINING_FLAGS:
                return False
        if self.tensor and isinstance(value, (bool, int, float, torch.SymInt, torch.SymFloat)):
            number: Any = value
            return torch.scalar_tensor(number, dtype=_number_dtype(value))
        return value


@dataclass(frozen=True)
class PythonCall:
    """Call a Python function; `spread` sets one output for each item of its result."""

    function: Callable[..., Any]
    arguments: tuple[SchemaArgument, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spread: bool = False

    def run(self, frame: Environment) -> None:
        """Call the function."""
        values = frame.take(self.inputs)
        for place, argument in enumerate(self.arguments):
            if argument.name == "dtype":
                values[place] = argument.prepare(values[place], frame.narrowed)
        result = self.function(*values)
        if self.outputs:
            frame.give(self.outputs, result if self.spread else (result,))


@dataclass(frozen=True)
class OperatorCall:
    """Call an operator of `torch.ops`, or `scalar` where no argument is a tensor."""

    overload: Callable[..., Any] | None
    scalar: Callable[..., Any] | None
    arguments: tuple[SchemaArgument, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str

    def run(self, frame: Environment) -> None:
        """Call the operator."""
        values = frame.take(self.inputs)
        if self.scalar and not any(isinstance(value, torch.Tensor) for value in values):
            result = self.scalar(*values)
        else:
            result = self._call(values, frame.narrowed)
        if len(self.outputs) > 1:
            frame.give(self.outputs, result)
        elif self.outputs:
            frame.values[self.outputs[0]] = result

    def _call(self, values: list[Any], narrowed: bool) -> Any:
        if self.overload is None:
            raise UnsupportedModelError(self.source)
        args, kwargs = [], {}
        for argument, value in zip(self.arguments, values, strict=True):
            prepared = argument.prepare(value, narrowed)
            if argument.keyword:
                kwargs[argument.name] = prepared
            else:
                args.append(prepared)
        return self.overload(*args, **kwargs)


@dataclass(frozen=True)
class IfBlock:
    """Run one of two blocks."""

    condition: str
    blocks: tuple[Block, Block]
    outputs: tuple[str, ...]

    def run(self, frame: Environment) -> None:
        """Run the block that the condition chooses."""
        block = self.blocks[0] if frame.values[self.condition] else self.blocks[1]
        frame.give(self.outputs, block.run(frame, []))


@dataclass(frozen=True)
class LoopBlock:
    """Run a block at most `count` times, as long as its condition holds."""

    count: str
    condition: str
    carried: tuple[str, ...]
    block: Block
    outputs: tuple[str, ...]

    def run(self, frame: Environment) -> None:
        """Run the loop; each round hands its values to the next."""
        count, going = frame.values[self.count], frame.values[self.condition]
        values, index = frame.take(self.carried), 0
        while going and index < count:
            going, *values = self.block.run(frame, [index, *values])
            index += 1
        frame.give(self.outputs, values)


@dataclass(frozen=True)
class RaiseException:
    """Raise the exception that the model's own code raises."""

    message: str
    kind: str | None

    def run(self, frame: Environment) -> None:
        """Raise it: a built-in class, or RuntimeError for the model's own classes."""
        name = str(frame.values[self.kind]).removeprefix("builtins.") if self.kind else ""
        exception = getattr(builtins, name, RuntimeError)
        raise exception(frame.values[self.message])


@dataclass(frozen=True)
class RefuseNode:
    """Raise when a node that cannot run here is reached."""

    message: str

    def run(self, frame: Environment) -> None:
        """Raise UnsupportedModelError."""
        raise UnsupportedModelError(self.message)


_MEMORY_FORMATS = {
    0: torch.contiguous_format,
    1: torch.preserve_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}


def _number_dtype(value: Any) -> torch.dtype:
    if isinstance(value, bool):
        return torch.bool
    return torch.int64 if isinstance(value, (int, torch.SymInt)) else torch.float32


def _tensor_at(module: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
