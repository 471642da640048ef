"""What a model does when it runs once on an example call, or else on another example like it."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.argument_names import LENGTH_NAMES
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import map_tensors, packed_paths, tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode
from edgernn.option_names import option
from edgernn.untrusted_text import first_line

__all__ = ["ExampleRunner", "ForwardRun", "ModuleRunner", "first_run", "run_forward", "run_quietly"]


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

    @property
    def most_steps(self) -> int:
        """The most steps that a layer runs in one call; 1 without calls."""
        return max((call.sizes[0] for call in self.calls), default=1)

    @property
    def batch(self) -> int:
        """The number of sequences of the first call; 1 without calls."""
        return self.calls[0].sizes[1] if self.calls else 1


class ExampleRunner(Protocol):
    """A model that runs example calls: a torch module or an ONNX file."""

    @property
    def name(self) -> str:
        """What messages call it, such as `Net.forward`."""
        ...

    @property
    def noun(self) -> str:
        """What notes call it, such as `forward`."""
        ...

    def __call__(self, example: ExampleCall) -> ForwardRun:
        """Run the model once, undisturbed."""
        ...


@dataclass(frozen=True)
class ModuleRunner:
    """Runs the forward of a torch module."""

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
    with torch.no_grad(), preserve_state(module), capture:
        result = run_quietly(module, example)
    packed = [sorted(lengths.tolist()) for lengths in capture.lengths]
    lengths = tuple(leaf.path for leaf in example.tensors if _holds_lengths(leaf, packed))
    padded = tuple(packed_paths(result))
    return ForwardRun(tuple(calls), dict(tensor_leaves(result)), lengths, capture.functions, padded)


def run_quietly(module: nn.Module, example: ExampleCall) -> Any:
    """Return what forward returns for copies of the example's tensors, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = map_tensors(lambda _, tensor: tensor.clone(), dict(example.kwargs))
        return module(**copied)


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
    directions = call.num_layers * (2 if call.bidirectional else 1)
    batch = call.sizes[1:] if call.is_cell else (directions, call.sizes[1])
    recurrent = call.weights[1]
    for state, width in zip(call.states, (recurrent.shape[1], len(recurrent) // 4), strict=False):
        if tuple(state.shape) != (*batch, width):
            raise ValueError(f"a state is {tuple(state.shape)}, its layer needs {(*batch, width)}")


def _holds_lengths(leaf: ArgumentTensor, packed: Sequence[list[int]]) -> bool:
    """Return whether an argument holds the lengths of packed sequences, in any order.

    Where forward computes the lengths from it, as for a stride, its name tells.
    """
    tensor, name = leaf.tensor, leaf.path.rstrip('"]').rpartition('["')[-1]
    integer = not (tensor.is_floating_point() or tensor.dtype == torch.bool)
    if not integer or tensor.dim() != 1 or not packed:
        return False
    return sorted(tensor.tolist()) in packed or LENGTH_NAMES.match(name) is not None


# Most constant batches are 1; windows, norms and strides need long sequences.
_OTHER_SIZES = (1, 40, 640, 16000)
_LONGER = (11, *_OTHER_SIZES[1:])


def first_run(reference: ExampleRunner, example: ExampleCall) -> tuple[ForwardRun, ExampleCall]:
    """Run the example, or else the same with smaller ids or with a named axis at another size.

    An example whose steps leave a single frame behind convolutions or pools, where more of them
    would leave several, is made longer: torch.export takes a size of 1 for a constant.

    Returns:
        What the model did, and the example that it ran on.

    Raises:
        InputError: It runs on none of them.
        UnsupportedModelError: It returns no tensor.
    """
    run, example = _run_any(reference, example)
    if not run.results:
        raise UnsupportedModelError(
            f"`{reference.name}` returns no tensor. Return the outputs that the graph is to have."
        )
    return _with_several_frames(reference, run, example)


def _with_several_frames(
    reference: ExampleRunner, run: ForwardRun, example: ExampleCall
) -> tuple[ForwardRun, ExampleCall]:
    """Return the run, or a longer one where the number of frames is only by chance 1."""
    steps = example.sizes.get(SEQUENCE, 1)
    if steps == 1 or 1 not in _sizes(run):
        return run, example
    for size in (size for size in _LONGER if size > steps):
        longer = example.resized({SEQUENCE: size})
        with contextlib.suppress(Exception):
            other = reference(longer)
            pairs = zip(_sizes(run), _sizes(other), strict=False)
            return (other, longer) if any(1 == a < b for a, b in pairs) else (run, example)
    return run, example


def _sizes(run: ForwardRun) -> list[int]:
    """Return the steps of recurrent calls, and the sizes of results."""
    results = run.results.values()
    return [call.sizes[0] for call in run.calls] + [size for one in results for size in one.shape]


def _run_any(reference: ExampleRunner, example: ExampleCall) -> tuple[ForwardRun, ExampleCall]:
    try:
        return reference(example), example
    except UnsupportedModelError:
        raise
    except Exception as error:
        symbols = sorted(example.sizes, key=lambda one: one != BATCH)
        sizes = itertools.product(_OTHER_SIZES, symbols)
        resized = (example.resized({symbol: size}) for size, symbol in sizes)
        for other in itertools.chain(_with_smaller_ids(example, error), resized):
            with contextlib.suppress(Exception):
                return reference(other), other
        given = ", ".join(map(str, example.tensors)) or "no tensor"
        raise InputError(
            f"`{reference.name}` fails on {given}: {type(error).__name__}: {error}"
        ) from error


def _with_smaller_ids(example: ExampleCall, error: Exception) -> Iterator[ExampleCall]:
    """Yield the example with ever smaller ids in place of those whose range is a guess.

    No embedding shows the range of ids that forward computes from several inputs or looks up in
    another one.
    """
    guessed = {leaf.path: leaf for leaf in example.tensors if leaf.path in example.guessed_ranges}
    largest = max((int(leaf.tensor.max()) for leaf in guessed.values()), default=0)
    listed = " and ".join(f"`{path}`" for path in guessed)
    are = "are" if len(guessed) > 1 else "is"
    options = option("inputs", [f"{leaf}<N" for leaf in guessed.values()])
    below = (largest + 1) // 2
    while below > 1:
        note = (
            f"{listed} {are} below {below} in all that was compared: forward fails for larger "
            f"numbers ({first_line(error)}). Give the range: {options}."
        )
        tensors = {path: leaf.tensor % below for path, leaf in guessed.items()}
        yield replace(example.with_tensors(tensors), notes=(*example.notes, note))
        below //= 2
