"""An example call of a model's forward, and which of its axes take other sizes.

An example comes from the user's inputs (`example_from_inputs`) or is guessed (`guess_examples`).
Which axes are dynamic is measured by running the model at other sizes (`dynamic_axes`).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.argument_names import LENGTH_NAMES
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import map_tensors, packed_paths, tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode

__all__ = [
    "ArgumentTensor",
    "ExampleCall",
    "ExampleRunner",
    "ForwardRun",
    "ModuleRunner",
    "forward_parameters",
    "resize_tensor",
    "run_forward",
]


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
        limits: Path of a tensor of integers → the number that they are below, or the axis whose
            size they are below, as the user says.
        guessed_ranges: Paths of the tensors of integers whose range is a guess.
        state_updates: Path of an argument that is a state and that forward writes into → the path
            of its next value in forward's result.
    """

    kwargs: Mapping[str, Any]
    shapes: Mapping[str, tuple[int | str, ...]]
    notes: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    constants: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int | str] = field(default_factory=dict)
    guessed_ranges: tuple[str, ...] = ()
    state_updates: Mapping[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[ArgumentTensor, ...]:
        """The tensors in the order of the arguments."""
        return tuple(
            ArgumentTensor(path, tensor, self.shapes.get(path, tuple(tensor.shape)))
            for name, argument in self.kwargs.items()
            for path, tensor in tensor_leaves(argument, name)
        )

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
    def derived_axes(self) -> dict[tuple[str, int], str]:
        """The axes whose sizes follow from others: path and place → expression of their names."""
        return {
            (leaf.path, axis): size
            for leaf in self.tensors
            for axis, size in enumerate(leaf.shape)
            if isinstance(size, str) and not size.isidentifier()
        }

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
        """Return the sizes of the tied axes where dynamic ones have other sizes.

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

    def with_constants(self, sizes: Mapping[str, int]) -> ExampleCall:
        """Return the example with dynamic axes made constants of these sizes."""
        shapes = {
            path: tuple(sizes.get(str(size), size) for size in shape)
            for path, shape in self.shapes.items()
        }
        return replace(self.resized(sizes), shapes=shapes)

    def options(self) -> str:
        """Return what gives the same on the command line: an `--input` for each tensor."""
        return " ".join(f'--input "{leaf}"' for leaf in self.tensors)

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
        return self.with_tensors(
            {
                path: lengths.clamp(max=steps).masked_fill(lengths == lengths.max(), steps)
                for path, lengths in held.items()
            }
        )


@dataclass(frozen=True)
class ForwardRun:
    """What one eager forward did.

    Attributes:
        calls: Its recurrent calls in order.
        results: The tensors it returned, by path.
        lengths: Paths of the arguments that hold the lengths of packed sequences.
        functions: How many functions of torch it called.
        padded: Paths of the results that are a PackedSequence.
    """

    calls: tuple[RecurrentCall, ...]
    results: Mapping[str, torch.Tensor]
    lengths: tuple[str, ...] = ()
    functions: int = 0
    padded: tuple[str, ...] = ()


class ExampleRunner(Protocol):
    """A model that can be watched while it runs.

    Attributes:
        name: What messages call it, such as `Net.forward`.
        noun: What notes call it, such as `forward`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def noun(self) -> str: ...  # noqa: D102 - described above

    def __call__(self, example: ExampleCall) -> ForwardRun:
        """Run the model once, undisturbed."""
        ...


@dataclass(frozen=True)
class ModuleRunner:
    """The forward of a torch module, as a reference."""

    module: nn.Module
    noun: str = "forward"

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{type(self.module).__name__}.forward"

    def __call__(self, example: ExampleCall) -> ForwardRun:
        """Run forward once, eager and undisturbed."""
        return run_forward(self.module, example)


def run_forward(module: nn.Module, example: ExampleCall) -> ForwardRun:
    """Run forward once, eager and undisturbed, and note its recurrent calls.

    Warnings stay unheard: forward runs here at sizes that its user never asked for.
    """
    calls: list[RecurrentCall] = []

    def note(call: RecurrentCall, proceed: Any) -> Any:
        _check_call(call)
        calls.append(call)
        return proceed(call.states)

    capture = RecurrentCallMode(note)
    with torch.no_grad(), preserve_state(module), capture, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = map_tensors(lambda _, tensor: tensor.clone(), dict(example.kwargs))
        result = module(**copied)
    packed = [sorted(lengths.tolist()) for lengths in capture.lengths]
    lengths = tuple(leaf.path for leaf in example.tensors if _holds_lengths(leaf, packed))
    padded = tuple(packed_paths(result))
    return ForwardRun(tuple(calls), dict(tensor_leaves(result)), lengths, capture.functions, padded)


def _check_call(call: RecurrentCall) -> None:
    """Refuse an input or a state that is not of the shape that its layer needs.

    For packed sequences torch.nn.LSTM checks neither, and reads past the end or broadcasts.
    """
    if call.loop is not None:
        return
    if call.x.shape[-1] != call.weights[0].shape[1]:
        raise ValueError(
            f"an input has {call.x.shape[-1]} features, its layer needs {call.weights[0].shape[1]}"
        )
    if call.batch_sizes is not None and int(call.batch_sizes.sum()) != len(call.x):
        raise ValueError(f"{len(call.x)} packed steps came, {int(call.batch_sizes.sum())} expected")
    rows = call.num_layers * (2 if call.bidirectional else 1)
    batch = call.sizes[1:] if call.is_cell else (rows, call.sizes[1])
    recurrent = call.weights[1]
    for state, width in zip(call.states, (recurrent.shape[1], len(recurrent) // 4), strict=False):
        if tuple(state.shape) != (*batch, width):
            raise ValueError(f"a state is {tuple(state.shape)}, its layer needs {(*batch, width)}")


def _holds_lengths(leaf: ArgumentTensor, packed: Sequence[list[int]]) -> bool:
    """Return whether an argument holds the lengths of what was packed, or they come from it.

    It holds them in whichever order; where they are computed from it, as behind a stride, it is
    called so.
    """
    tensor, name = leaf.tensor, leaf.path.rstrip('"]').rpartition('["')[-1]
    integer = not (tensor.is_floating_point() or tensor.dtype == torch.bool)
    if not integer or tensor.dim() != 1 or not packed:
        return False
    return sorted(tensor.tolist()) in packed or LENGTH_NAMES.match(name) is not None


def resize_tensor(tensor: torch.Tensor, sizes: Mapping[int, int]) -> torch.Tensor:
    """Return `tensor` with some axes at other sizes, its numbers repeated to fill them."""
    for axis, size in sizes.items():
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor.contiguous()


def forward_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Return forward's arguments that can be given by name."""
    signature = inspect.signature(module.forward)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind not in kinds}


def takes_any_keyword(module: nn.Module) -> bool:
    """Return whether forward takes arguments of any name, as `**kwargs`."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
