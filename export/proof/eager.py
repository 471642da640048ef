"""The reference: the torch module itself, run eagerly over whole sequences from any state."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.export.example.call import Example, observe
from edgernn.export.example.tree import leaves
from edgernn.export.trace.capture import Call, Capture, Results
from edgernn.export.trace.slots import StatePort
from edgernn.export.trace.untouched import untouched

__all__ = ["Eager", "Outcome", "Reference", "one_thread", "over_steps"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Outcome:
    """What one run gave.

    Attributes:
        outputs: Path in forward's result → array.
        states: Name of a state → its value after the run.
        layers: What each recurrent call gave out, in order.
    """

    outputs: dict[str, NDArray[Any]]
    states: dict[str, NDArray[Any]]
    layers: list[NDArray[Any]] = field(default_factory=list)


class Reference(Protocol):
    """What exported graphs are proven against: a function of inputs and states."""

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def takes_states(self) -> bool:
        """Whether it takes a state as an argument, so that none can be left out."""
        ...

    def double(self) -> Reference:
        """Return the same in float64, or itself where there is no such thing."""
        ...

    def __call__(self, inputs: Arrays, states: Arrays | None) -> Outcome:
        """Run whole sequences; see `Eager`."""
        ...


def over_steps(
    run: Callable[[Arrays, Arrays | None], Outcome],
    axes: Mapping[str, int],
    inputs: Arrays,
    states: Arrays | None,
) -> Outcome:
    """Run a reference that is one step over whole sequences.

    Args:
        run: One step, from inputs and states.
        axes: Path of each input and output → the axis that the steps are stacked along.
        inputs: Path of each input → its values at all steps.
        states: The states to start from, or None.
    """
    steps = next(array.shape[axes[path]] for path, array in inputs.items() if path in axes)
    outcomes: list[Outcome] = []
    for step in range(steps):
        now = {
            path: array.take(step, axes[path]) if path in axes else array
            for path, array in inputs.items()
        }
        outcomes.append(run(now, states))
        states = outcomes[-1].states or None
    outputs = {
        path: np.stack([outcome.outputs[path] for outcome in outcomes], axes[path])
        for path in outcomes[0].outputs
        if path in axes
    }
    return Outcome(outputs, outcomes[-1].states)


class Eager:
    """A torch module as a function of inputs and states.

    A state that forward takes as an argument is passed as one. A state that forward makes itself
    is put in its place at the recurrent call that would take it; with `states` None nothing is put
    anywhere and forward runs undisturbed.

    Args:
        module: The model, on the CPU.
        example: The call of it that was traced.
        states: Its states.
        sequence_axes: For a module whose forward is one step: path of each input and of each
            output → the axis that the steps are stacked along. None where forward takes sequences.
    """

    name = "eager torch"

    def __init__(
        self,
        module: nn.Module,
        example: Example,
        states: Sequence[StatePort],
        sequence_axes: Mapping[str, int] | None = None,
    ) -> None:
        self._module = module
        self._example = example
        self._states = states
        self._sequence_axes = sequence_axes
        self._own = [state for state in states if state.argument is None]
        with _made_in(_dtype(module)):
            self._traced = observe(module, example).calls

    @property
    def takes_states(self) -> bool:
        """Whether forward takes a state as an argument, so that none can be left out."""
        return len(self._own) < len(self._states)

    def double(self) -> Eager:
        """Return the same reference in float64.

        Whatever forward itself makes is then float64 too, unless it asks for another dtype; such a
        forward may fail.
        """
        module = copy.deepcopy(self._module).double()
        doubled = {
            leaf.path: leaf.tensor.double()
            for leaf in self._example.leaves
            if leaf.tensor.is_floating_point()
        }
        example = self._example.with_tensors(doubled)
        return Eager(module, example, self._states, self._sequence_axes)

    def __call__(self, inputs: Arrays, states: Arrays | None) -> Outcome:
        """Run whole sequences.

        Args:
            inputs: Path of each data argument → array.
            states: Name of each state → its value, or None for the one that forward starts from.
                States that forward takes as arguments must be given.
        """
        if self._sequence_axes is None:
            return self._forward(inputs, states)
        return over_steps(self._forward, self._sequence_axes, inputs, states)

    def _forward(self, inputs: Arrays, states: Arrays | None) -> Outcome:
        dtype = _dtype(self._module)
        given = dict(inputs)
        for state in self._states:
            if state.argument is not None and states is not None:
                given[state.argument] = states[state.name]
        tensors = {path: _tensor(array, dtype) for path, array in given.items()}
        log = _Log(self._traced, [] if states is None else self._own, states or {}, dtype)
        with torch.no_grad(), untouched(self._module), Capture(log), _made_in(dtype):
            result = dict(leaves(self._module(**self._example.with_tensors(tensors).kwargs)))
        after: dict[str, NDArray[Any]] = {}
        for state in self._states:
            value = log.final(state) if state.result is None else result[state.result]
            after[state.name] = value.numpy()
        return Outcome(
            {path: tensor.numpy() for path, tensor in result.items()},
            after,
            [results[0].numpy() for results in log.results],
        )


class _Log:
    """Feeds states to the calls that would make their own, and keeps what every call returned.

    In a loop over time a layer is called once a step: its first call takes the state, its last one
    leaves it. Which layer a call belongs to is told by its weights, or, where forward computes
    these anew, by its place.

    Args:
        traced: The calls of the forward that was traced; states name calls by their place in it.
        states: The states to feed.
        values: Their values by name.
        dtype: The floating-point dtype to run in.
    """

    def __init__(
        self,
        traced: Sequence[Call],
        states: Sequence[StatePort],
        values: Arrays,
        dtype: torch.dtype,
    ) -> None:
        self._traced = traced
        self._states = states
        self._values = values
        self._dtype = dtype
        self._places: dict[int, list[int]] = {}
        self._orders: list[torch.Tensor | None] = []
        self.results: list[Results] = []

    def __call__(self, call: Call, proceed: Any) -> Results:
        place = len(self.results)
        layer = self._layer(call, place)
        occurrences = self._places.setdefault(layer[0], [])
        given = list(call.states)
        for state in self._states:
            if state.call == dict(enumerate(layer)).get(len(occurrences)):
                value = _tensor(self._values[state.name], self._dtype)
                given[state.index] = value if call.order is None else value[:, call.order]
        occurrences.append(place)
        self._orders.append(call.order)
        self.results.append(proceed(tuple(given)))
        return self.results[-1]

    def final(self, state: StatePort) -> torch.Tensor:
        """Return the value of `state` that the last call of its layer left."""
        assert state.last_call is not None
        call = self._traced[state.last_call]
        layer = self._layer(call, state.last_call)
        places = self._places[layer[0]]
        place = places[layer.index(state.last_call) - len(layer)]
        value, order = self.results[place][state.index + call.first_state], self._orders[place]
        return value if order is None else value[:, order.argsort()]

    def _layer(self, call: Call, place: int) -> list[int]:
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
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


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
