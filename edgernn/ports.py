"""The inputs and outputs of a graph, the names of their axes, and states as pairs of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from edgernn.errors import ContractError

__all__ = ["BATCH", "HOP", "SEQUENCE", "Graph", "Port", "State"]

BATCH = "batch"
SEQUENCE = "sequence"
HOP = "hop"


@dataclass(frozen=True)
class Port:
    """One input or output of a graph.

    Attributes:
        name: The ONNX name.
        dtype: The NumPy name of its dtype, such as `float32` or `int64`.
        shape: One entry per axis: a size, or the name of a dynamic axis (the ONNX dim_param). A
            size that depends on dynamic axes is written as an expression of them, such as
            `batch*sequence`.
        origin: The path of the tensor in the torch module's call: into forward's arguments
            for an input (`hx[0]`), into its return value for an output (`[1][0]`); None where
            forward has no such tensor.
        limit: For ids: they must be at least 0 and below it; None where the port takes any value.
        axis_names: The name of each axis where some constant axis has one; None where `shape`
            holds every name.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    origin: str | None = None
    limit: int | None = None
    axis_names: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if self.axis_names is not None and len(self.axis_names) != len(self.shape):
            raise ContractError(
                f"`{self}` has {len(self.shape)} axes, but `axis_names` has {len(self.axis_names)}."
            )

    @cached_property
    def axes(self) -> tuple[str | None, ...]:
        """The name of each axis, dynamic or constant, as `shape` has it where it is dynamic."""
        return _symbols(self.shape) if self.axis_names is None else self.axis_names

    def axis(self, symbol: str) -> int | None:
        """Return the index of the axis named `symbol`, or None where the port has none."""
        return self.axes.index(symbol) if symbol in self.axes else None

    def with_axes(self, axes: Sequence[str | None] | None) -> Port:
        """Return the port with these names of its axes; None for the names in its shape."""
        names = None if axes is None or tuple(axes) == _symbols(self.shape) else tuple(axes)
        return replace(self, axis_names=names)

    def with_batch(self) -> Port:
        """Return a state's port with its batch axis named, where that axis is constant.

        It is the second of three axes, as in torch.
        """
        constant = len(self.shape) == 3 and BATCH not in self.axes
        return self.with_axes((self.axes[0], BATCH, self.axes[2])) if constant else self

    def with_default_axes(self, states: Collection[str]) -> Port:
        """Return the port with the names of its axes where the file gives none.

        Args:
            states: The names of the ports of states.
        """
        return self.with_batch() if self.name in states else self

    def with_dynamic_axis(self, symbol: str) -> Port:
        """Return the port with every axis that counts `symbol` dynamic."""
        shape = tuple(
            name if name is not None and symbol in re.findall(r"\w+", name) else size
            for size, name in zip(self.shape, self.axes, strict=True)
        )
        return replace(self, shape=shape, axis_names=None).with_axes(self.axes)

    def with_steps(self) -> Port:
        """Return the port of a step with a leading axis of any number of steps."""
        return self.with_leading_axis(SEQUENCE)

    def with_leading_axis(self, size: str) -> Port:
        """Return the port with a leading axis of a dynamic size."""
        port = replace(self, shape=(size, *self.shape), axis_names=None)
        return port.with_axes((size, *self.axes))

    def without_axis(self, axis: int) -> Port:
        """Return the port without one of its axes."""
        shape, axes = list(self.shape), list(self.axes)
        del shape[axis], axes[axis]
        return replace(self, shape=tuple(shape), axis_names=None).with_axes(axes)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class State:
    """One state: an input port and the output port that holds its next value.

    Attributes:
        name: `h`, `c`, `encoder_rnn_h`; the name of an initial value.
        input: The name of the input port, `NAME_in`.
        output: The name of the output port, `NAME_out`.
        initial: The learned initial value, of the port's shape with 1 for the batch axis, in the
            port's dtype; None for zeros.
    """

    name: str
    input: str
    output: str
    initial: NDArray[Any] | None = None


@dataclass(frozen=True)
class Graph:
    """The ports of one graph, in the order of its ONNX inputs and outputs."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def input(self, name: str) -> Port:
        """Return the input port of that name, or raise KeyError."""
        return _find(self.inputs, name)

    def output(self, name: str) -> Port:
        """Return the output port of that name, or raise KeyError."""
        return _find(self.outputs, name)


def _find(ports: Sequence[Port], name: str) -> Port:
    for port in ports:
        if port.name == name:
            return port
    raise KeyError(name)


def _symbols(shape: Sequence[int | str]) -> tuple[str | None, ...]:
    return tuple(size if isinstance(size, str) else None for size in shape)
