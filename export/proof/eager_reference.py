"""The reference: the torch module itself, run eagerly over whole sequences from any state."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.states.slots import StatePort

__all__ = ["AsGiven", "Eager", "Outcome", "Reference", "one_thread", "over_steps"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Outcome:
    """What one run gave.

    Attributes:
        outputs: Path in forward's result → array.
        states: Name of a state → its value after the run.
    """

    outputs: dict[str, NDArray[Any]]
    states: dict[str, NDArray[Any]]


class Reference(Protocol):
    """What exported graphs are proven against: a function of inputs and states."""

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def arguments(self) -> Sequence[str]:
        """The names of the states that it takes as arguments, so that none can be left out."""
        ...

    def double(self) -> Reference:
        """Return the same in float64, or itself where there is no such thing."""
        ...

    def __call__(self, inputs: Arrays, states: Arrays) -> Outcome:
        """Run whole sequences; see `Eager`."""
        ...

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return what each recurrent call gives out, in order; nothing where that is not known."""
        ...


def over_steps(
    run: Callable[[Arrays, Arrays], Outcome],
    axes: Mapping[str, int],
    inputs: Arrays,
    states: Arrays,
) -> Outcome:
    """Run a reference that is one step over whole sequences.

    Args:
        run: One step, from inputs and states.
        axes: Path of each input and output → the axis that the steps are stacked along.
        inputs: Path of each input → its values at all steps.
        states: The states to start from.
    """
    steps = next(array.shape[axes[path]] for path, array in inputs.items() if path in axes)
    outputs: dict[str, NDArray[Any]] = {}
    for step in range(steps):
        now = {
            path: array.take(step, axes[path]) if path in axes else array
            for path, array in inputs.items()
        }
        outcome = run(now, states)
        states = outcome.states
        for path, array in outcome.outputs.items():
            if path not in axes:
                continue
            if not step:
                shape = (*array.shape[: axes[path]], steps, *array.shape[axes[path] :])
                outputs[path] = np.empty(shape, array.dtype)
            np.moveaxis(outputs[path], axes[path], 0)[step] = array
    return Outcome(outputs, dict(states))


class Eager:
    """A torch module as a function of inputs and states.

    A state that forward takes as an argument is passed as one. A state that forward makes itself
    is put in its place at the recurrent call that would take it; one that is not given is left to
    forward. Every run has its own copies of the arguments, and leaves the module as it was.

    Args:
        module: The model, on the CPU.
        example: The call of it that was traced.
        states: Its states.
        sequence_axes: For a module whose forward is one step: path of each input and of each
            output → the axis that the steps are stacked along. None where forward takes sequences.
        name: What it is, in a few words.
    """

    def __init__(
        self,
        module: nn.Module,
        example: ExampleCall,
        states: Sequence[StatePort],
        sequence_axes: Mapping[str, int] | None = None,
        name: str = "eager torch",
    ) -> None:
        self.name = name
        self._module = module
        self._example = example
        self._states = states
        self._sequence_axes = sequence_axes
        with _made_in(_dtype(module)):
            self._traced = run_forward(module, example).calls

    @property
    def arguments(self) -> list[str]:
        """The names of the states that forward takes as arguments."""
        return [state.name for state in self._states if state.argument is not None]

    def double(self) -> Eager:
        """Return the same reference in float64.

        Whatever forward itself makes is then float64 too, unless it asks for another dtype; such a
        forward may fail.
        """
        module = copy.deepcopy(self._module).double()
        doubled = {
            leaf.path: leaf.tensor.double()
            for leaf in self._example.tensors
            if leaf.tensor.is_floating_point()
        }
        example = self._example.with_tensors(doubled)
        return Eager(module, example, self._states, self._sequence_axes, self.name)

    def __call__(self, inputs: Arrays, states: Arrays) -> Outcome:
        """Run whole sequences.

        Args:
            inputs: Path of each data argument → array.
            states: Name of each state to start from → its value. States that forward takes as
                arguments must be given; another that is left out is made by forward.
        """
        if self._sequence_axes is None:
            return self._forward(inputs, states)
        return over_steps(self._forward, self._sequence_axes, inputs, states)

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return what each recurrent call of forward gives out, in order; nothing of one step."""
        if self._sequence_axes is not None:
            return []
        outputs: list[torch.Tensor] = []
        self._forward(inputs, states, outputs.append)
        return [tensor.numpy() for tensor in outputs]

    def _forward(
        self,
        inputs: Arrays,
        states: Arrays,
        listen: Callable[[torch.Tensor], None] = lambda _: None,
    ) -> Outcome:
        dtype = _dtype(self._module)
        given = dict(inputs)
        for state in self._states:
            if state.argument is not None:
                given[state.argument] = states[state.name]
        tensors = {path: _tensor(array, dtype) for path, array in given.items()}
        fed = [one for one in self._states if one.argument is None and one.name in states]
        log = _Log(self._traced, fed, states, dtype, listen)
        with torch.no_grad(), preserve_state(self._module), RecurrentCallMode(log), _made_in(dtype):
            result = dict(tensor_leaves(self._module(**self._example.with_tensors(tensors).kwargs)))
            outputs = {path: _array(tensor) for path, tensor in result.items()}
            after = {
                state.name: _array(log.final(state))
                if state.result is None
                else outputs[state.result]
                for state in self._states
                if state.result is not None or log.knows(state)
            }
        return Outcome(outputs, after)


class AsGiven:
    """The module as it was given, and beside it the one that was traced.

    From states that are arguments, outputs are those of the module as it was given. States that
    its loops carry, or an archive keeps inside, show in the other one alone: their values, and runs
    that start from them.

    Args:
        given: The module as it was given; of its states those that it takes as arguments.
        traced: The other one, with all states.
    """

    def __init__(self, given: Reference, traced: Reference) -> None:
        self.name = given.name
        self._given = given
        self._traced = traced

    @property
    def arguments(self) -> Sequence[str]:
        """The names of the states that forward takes as arguments."""
        return self._traced.arguments

    def double(self) -> AsGiven:
        """Return both in float64."""
        return AsGiven(self._given.double(), self._traced.double())

    def __call__(self, inputs: Arrays, states: Arrays) -> Outcome:
        """Run whole sequences; see `Eager`."""
        traced = self._traced(inputs, states)
        if set(states) > set(self.arguments):
            return traced
        given = self._given(inputs, states)
        return Outcome(given.outputs, {**traced.states, **given.states})

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return what each recurrent call of the traced one gives out, in order."""
        return self._traced.layers(inputs, states)


class _Log:
    """Feeds states to the calls that would make their own, and keeps what the last calls returned.

    In a loop over time a layer is called once a step: its first call takes the state, its last one
    leaves it. Which layer a call belongs to is told by its weights, or, where forward computes
    these anew, by its place.

    Args:
        traced: The calls of the forward that was traced; states name calls by their place in it.
        states: The states to feed.
        values: Their values by name.
        dtype: The floating-point dtype to run in.
        listen: Takes what every call gives out.
    """

    def __init__(
        self,
        traced: Sequence[RecurrentCall],
        states: Sequence[StatePort],
        values: Arrays,
        dtype: torch.dtype,
        listen: Callable[[torch.Tensor], None],
    ) -> None:
        self._traced = traced
        self._states = states
        self._values = values
        self._dtype = dtype
        self._listen = listen
        self._calls = 0
        self._counts: dict[int, int] = {}
        self._last: dict[int, deque[tuple[Results, torch.Tensor | None]]] = {}

    def __call__(self, call: RecurrentCall, proceed: Any) -> Results:
        layer = self._layer(call, self._calls)
        count = self._counts.get(layer[0], 0)
        given = list(call.states)
        for state in self._states:
            if state.call == dict(enumerate(layer)).get(count):
                value = _tensor(self._values[state.name], self._dtype)
                given[state.index] = value if call.order is None else value[:, call.order]
        results: Results = proceed(tuple(given))
        self._calls += 1
        self._counts[layer[0]] = count + 1
        last = self._last.setdefault(layer[0], deque(maxlen=len(layer)))
        last.append((results[call.first_state :], call.order))
        self._listen(results[0])
        return results

    def knows(self, state: StatePort) -> bool:
        """Return whether `final` knows the layer of `state`."""
        return state.last_call is not None and state.last_call < len(self._traced)

    def final(self, state: StatePort) -> torch.Tensor:
        """Return the value of `state` that the last call of its layer left."""
        assert state.last_call is not None
        layer = self._layer(self._traced[state.last_call], state.last_call)
        results, order = self._last[layer[0]][layer.index(state.last_call)]
        value = results[state.index]
        return value if order is None else value[:, order.argsort()]

    def _layer(self, call: RecurrentCall, place: int) -> list[int]:
        """Return the places in the traced forward of all calls with the weights of `call`."""
        same = [i for i, one in enumerate(self._traced) if one.layer is call.layer]
        return same or [place % len(self._traced)]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: handing out small steps costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tensor(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """Return a copy: forward may write into its arguments."""
    tensor = torch.from_numpy(array.copy(order="C"))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a copy: the next run may write into what this one returned."""
    return tensor.numpy().copy()


def _dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters()), torch.float32)


@contextlib.contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    """Make tensors of `dtype` where no other is asked for."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
