"""An example call of a model's forward, and which of its axes take other sizes.

An example comes from the user's inputs (`example_from_inputs`) or is guessed (`guess_examples`).
Which axes are dynamic is measured by running the model at other sizes (`dynamic_axes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import SEQUENCE
from edgernn.errors import InputError
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.option_names import option

__all__ = ["ArgumentTensor", "ExampleCall", "resize_tensor"]


@dataclass(frozen=True)
class ArgumentTensor:
    """One tensor of the arguments.

    Attributes:
        path: Its path, such as `x` or `hx[0]`.
        tensor: An example of it.
        shape: Per axis its size, or the axis's name where it is dynamic.
    """

    path: str
    tensor: torch.Tensor
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        dtype = str(self.tensor.dtype).removeprefix("torch.")
        return f"{self.path}:{dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class ExampleCall:
    """The arguments of one call of forward, by name.

    Attributes:
        kwargs: forward's arguments by name, in the order of its signature, with tensors in them.
        shapes: Path of a tensor → its shape with the dynamic axes named.
        notes: For people: which axes turned out to be constant and why.
        lengths: Paths of the tensors that hold the lengths of sequences.
        constants: Sizes that the graphs are to have for dynamic axes of the model.
        limits: Path of a tensor of integers → the user's exclusive upper limit: a number, or
            an axis whose size is the limit.
        guessed_ranges: Paths of the tensors of integers whose range is a guess.
        state_updates: Path of an argument that is a state and that forward writes into → the path
            of its next value in forward's result.
        anew: Whether a call starts anew, but for memory of the module that it goes on from.
        multiple: What numbers of steps forward takes: multiples of it.
        memory: Names of the arguments that are the module's own memory, see `MemoryArguments`; the
            next value of each is the result of its name.
    """

    kwargs: Mapping[str, Any]
    shapes: Mapping[str, tuple[int | str, ...]]
    notes: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    constants: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int | str] = field(default_factory=dict)
    guessed_ranges: tuple[str, ...] = ()
    state_updates: Mapping[str, str] = field(default_factory=dict)
    memory: tuple[str, ...] = ()
    multiple: int = 1
    anew: bool = False

    @property
    def tensors(self) -> tuple[ArgumentTensor, ...]:
        """The tensors in the order of the arguments."""
        return tuple(
            ArgumentTensor(path, tensor, self.shapes.get(path, tuple(tensor.shape)))
            for name, argument in self.kwargs.items()
            for path, tensor in tensor_leaves(argument, name)
        )

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tensors as arrays, by their paths."""
        return {leaf.path: leaf.tensor.numpy() for leaf in self.tensors}

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each dynamic axis."""
        return {
            symbol: leaf.tensor.shape[axis]
            for leaf in self.tensors
            for axis, symbol in enumerate(leaf.shape)
            if isinstance(symbol, str) and symbol.isidentifier()
        }

    @property
    def has_sequence(self) -> bool:
        """Whether an input has an axis of steps."""
        return any(SEQUENCE in shape for shape in self.shapes.values())

    @property
    def derived_axes(self) -> dict[tuple[str, int], str]:
        """The axes whose sizes follow from others: path and place → expression of their names."""
        return {
            (leaf.path, axis): size
            for leaf in self.tensors
            for axis, size in enumerate(leaf.shape)
            if isinstance(size, str) and not size.isidentifier()
        }

    def axes_named(self, symbol: str) -> list[tuple[str, int]]:
        """Return the axes of a name: path and place of each."""
        return [
            (path, axis)
            for path, shape in self.shapes.items()
            for axis, size in enumerate(shape)
            if size == symbol
        ]

    def with_names(self, names: Mapping[tuple[str, int], str]) -> ExampleCall:
        """Return the example with names, or expressions of names, for axes by path and place."""
        shapes = {
            leaf.path: tuple(
                names.get((leaf.path, axis), size) for axis, size in enumerate(leaf.shape)
            )
            for leaf in self.tensors
        }
        return replace(self, shapes=shapes)

    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> ExampleCall:
        """Return the example with the tensors of some paths replaced."""
        changed = {
            name: map_tensors(lambda path, tensor: tensors.get(path, tensor), argument, name)
            for name, argument in self.kwargs.items()
        }
        return replace(self, kwargs=changed)

    def resized(self, sizes: Mapping[str, int]) -> ExampleCall:
        """Return the example with its dynamic axes at other sizes, its numbers repeated to fill."""
        axes = {
            (leaf.path, axis): sizes[symbol]
            for leaf in self.tensors
            for axis, symbol in enumerate(leaf.shape)
            if isinstance(symbol, str) and symbol in sizes
        }
        axes |= self.derived_sizes(sizes)
        return self.with_axes(axes).with_lengths(sizes.get(SEQUENCE))

    def derived_sizes(self, sizes: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """Return the sizes of the derived axes where dynamic ones have other sizes.

        Raises:
            InputError: One of them is less than 1.
        """
        known = {**self.sizes, **sizes}
        found: dict[tuple[str, int], int] = {}
        for (path, axis), size in self.derived_axes.items():
            number = evaluate_size(size, known)
            if number is None or number < 1:
                where = ", ".join(f"{name} {known[name]}" for name in known)
                raise InputError(f"Axis {axis} of `{path}` ({size}) has no size at {where}.")
            found[path, axis] = number
        return found

    def with_constant_axes(self) -> ExampleCall:
        """Return the example with the axes of `constants` no longer dynamic."""
        return replace(self.with_constants(self.constants), constants={})

    def with_constant_steps(self) -> ExampleCall:
        """Return the example with its steps no longer dynamic, where it takes multiples alone."""
        note = (
            f"The number of steps is a constant: forward takes multiples of {self.multiple} alone, "
            "and has no form in hops."
        )
        fixed = self.with_constants({SEQUENCE: self.sizes[SEQUENCE]})
        return replace(fixed, multiple=1, notes=(*self.notes, note))

    def with_constants(self, sizes: Mapping[str, int]) -> ExampleCall:
        """Return the example with dynamic axes made constants of these sizes."""
        shapes = {
            path: tuple(sizes.get(str(size), size) for size in shape)
            for path, shape in self.shapes.items()
        }
        return replace(self.resized(sizes), shapes=shapes)

    def options(self) -> str:
        """Return the option `inputs` with which an export gets the same example."""
        return option("inputs", [str(leaf) for leaf in self.tensors])

    def with_axes(self, sizes: Mapping[tuple[str, int], int]) -> ExampleCall:
        """Return the example with axes, given by path and place, at other sizes."""
        changed = {
            leaf.path: resize_tensor(
                leaf.tensor, {a: n for (p, a), n in sizes.items() if p == leaf.path}
            )
            for leaf in self.tensors
        }
        longest_first = {path: changed[path].sort(descending=True)[0] for path in self.lengths}
        return self.with_tensors({**changed, **longest_first})

    def with_lengths(self, steps: int | None) -> ExampleCall:
        """Return the example with lengths that fit `steps` steps, the longest as long as that."""
        if steps is None:
            return self
        held = {leaf.path: leaf.tensor for leaf in self.tensors if leaf.path in self.lengths}
        fitting = {
            path: lengths.clamp(max=steps).masked_fill(lengths == lengths.max(), steps)
            for path, lengths in held.items()
        }
        return self.with_tensors(fitting)


def resize_tensor(tensor: torch.Tensor, sizes: Mapping[int, int]) -> torch.Tensor:
    """Return `tensor` with some axes at other sizes, its numbers repeated to fill them."""
    for axis, size in sizes.items():
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor.contiguous()
