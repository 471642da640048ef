"""A TorchScript graph as instructions that Python runs, operator by operator.

A ScriptModule does not call Python while it runs, and so hides its recurrent layers. Here every
operator is a call of `torch.ops`, which a TorchFunctionMode sees and torch.export traces.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, TRAINING_FLAGS
from edgernn.export.source.torchscript_operators import DTYPES

__all__ = [
    "Block",
    "Environment",
    "Instruction",
    "SchemaArgument",
    "call_operator",
    "call_python",
    "loop",
    "raise_exception",
    "read_tensors",
    "refuse",
    "select_block",
]

_MEMORY_FORMATS = {
    0: torch.contiguous_format,
    1: torch.preserve_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}


@dataclass
class Environment:
    """One run: the module whose tensors are read, and the values computed so far by name."""

    module: nn.Module
    values: dict[str, Any]
    narrowed: bool


Compute = Callable[[Environment, list[Any]], Sequence[Any]]
"""Computes the outputs of a node from its inputs."""


class Instruction(NamedTuple):
    """One node of a graph; `refusal` says why it cannot run, where it cannot."""

    compute: Compute
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    refusal: str = ""


@dataclass(frozen=True)
class Block:
    """Nodes in order, with the names of what goes in and comes out."""

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[str, ...]

    def run(self, env: Environment, arguments: Sequence[Any]) -> list[Any]:
        """Run the nodes on `arguments` and return the outputs."""
        values = env.values
        values.update(zip(self.inputs, arguments, strict=True))
        for one in self.instructions:
            results = one.compute(env, [values[name] for name in one.inputs])
            if one.outputs:
                values.update(zip(one.outputs, results, strict=True))
        return [values[name] for name in self.outputs]


class SchemaArgument(NamedTuple):
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
            case _, bool() | int() | float() | torch.SymInt() | torch.SymFloat() if self.tensor:
                number: Any = value
                dtype = torch.int64 if isinstance(value, (int, torch.SymInt)) else torch.float32
                dtype = torch.bool if isinstance(value, bool) else dtype
                return torch.scalar_tensor(number, dtype=dtype)
        return value


def read_tensors(paths: Sequence[str], listed: bool) -> Compute:
    """Read a tensor of the module as it is now, or a list of them, by dotted paths."""

    def compute(env: Environment, _: list[Any]) -> Sequence[Any]:
        tensors = [operator.attrgetter(path)(env.module) for path in paths]
        return [tensors] if listed else tensors

    return compute


def call_python(
    function: Callable[..., Any], arguments: Sequence[SchemaArgument], spread: bool
) -> Compute:
    """Call a Python function; `spread` makes each item of its result an output."""

    def compute(env: Environment, values: list[Any]) -> Sequence[Any]:
        for place, argument in enumerate(arguments):
            if argument.name == "dtype":
                values[place] = argument.prepare(values[place], env.narrowed)
        result = function(*values)
        return result if spread else (result,)

    return compute


def call_operator(
    overload: Callable[..., Any] | None,
    scalar: Callable[..., Any] | None,
    arguments: Sequence[SchemaArgument],
    results: int,
    refusal: str,
) -> Compute:
    """Call an operator of `torch.ops`, or `scalar` where no argument is a tensor.

    Where the operator cannot run, `overload` is None and `refusal` says why.
    """

    def compute(env: Environment, values: list[Any]) -> Sequence[Any]:
        if scalar and not any(isinstance(value, torch.Tensor) for value in values):
            result = scalar(*values)
        elif overload is None:
            raise UnsupportedModelError(refusal)
        else:
            given = [
                (argument, argument.prepare(value, env.narrowed))
                for argument, value in zip(arguments, values, strict=True)
            ]
            result = overload(
                *(value for argument, value in given if not argument.keyword),
                **{argument.name: value for argument, value in given if argument.keyword},
            )
        return result if results > 1 else (result,)

    return compute


def select_block(yes: Block, no: Block) -> Compute:
    """Run the block that the condition, the only input, selects."""
    return lambda env, values: (yes if values[0] else no).run(env, [])


def loop(body: Block) -> Compute:
    """Run a block at most as often as the first input says, as long as its condition holds.

    The further inputs are the first condition and the values that iterations hand on.
    """

    def compute(env: Environment, values: list[Any]) -> Sequence[Any]:
        count, going, *carried = values
        index = 0
        while going and index < count:
            going, *carried = body.run(env, [index, *carried])
            index += 1
        return carried

    return compute


def raise_exception(_: Environment, values: list[Any]) -> NoReturn:
    """Raise what the model's own code raises; its own classes become RuntimeError."""
    message, *kind = values
    name = str(kind[0]).removeprefix("builtins.") if kind else ""
    raise getattr(builtins, name, RuntimeError)(message)


def refuse(message: str) -> Compute:
    """Raise UnsupportedModelError when the node is reached."""

    def compute(*_: object) -> NoReturn:
        raise UnsupportedModelError(message)

    return compute
