"""The reference of a torch module: the module itself, run eagerly from any state."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.reference import Reference, RunResult, run_stepwise
from edgernn.export.states.state_port import StatePort

__all__ = ["EagerReference", "GivenReference", "default_dtype", "eager_on_one_thread", "one_thread"]


class EagerReference:
    """A torch module as a function of inputs and states.

    A state that forward takes as an argument is passed as one. A state that forward makes itself
    is replaced at the recurrent call that takes it, if a value is given. Every run has its own
    copies of the arguments and leaves the module as it was.

    Args:
        module: The model, on the CPU.
        example: The call of it that was traced.
        states: Its states. It has no contexts, which only graphs have.
        sequence_axes: For a module whose forward is one step: path of each input and of each
            output → the axis along which the steps are stacked. None where forward takes sequences.
        name: What messages call it, in a few words.
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
        self._states = [state for state in states if not state.context]
        self._sequence_axes = sequence_axes
        real = (p.dtype for p in module.parameters() if p.dtype.is_floating_point)
        self._dtype = next(real, torch.float32)
        with default_dtype(self._dtype):
            self._traced = run_forward(module, example).calls

    @property
    def arguments(self) -> list[str]:
        """The names of the states that forward takes as arguments."""
        return [state.name for state in self._states if state.argument is not None]

    def double(self) -> EagerReference:
        """Return the same reference in float64.

        Tensors that forward makes are then float64 too, unless it asks for another dtype; such a
        forward may fail.
        """
        module = copy.deepcopy(self._module).double()
        tensors = {
            leaf.path: leaf.tensor.double()
            for leaf in self._example.tensors
            if leaf.tensor.is_floating_point()
        }
        example = self._example.with_tensors(tensors)
        return EagerReference(module, example, self._states, self._sequence_axes, self.name)

    def __call__(self, inputs: Arrays, states: Arrays) -> RunResult:
        """Run whole sequences; see `Reference`."""
        if self._sequence_axes is None:
            return self._forward(inputs, states)
        return run_stepwise(self._forward, self._sequence_axes, inputs, states)

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return the output of each recurrent call of forward, in order; empty for one step."""
        if self._sequence_axes is not None:
            return []
        outputs: list[torch.Tensor] = []
        self._forward(inputs, states, outputs.append)
        return [tensor.numpy() for tensor in outputs]

    def _forward(
        self,
        inputs: Arrays,
        states: Arrays,
        on_output: Callable[[torch.Tensor], None] = lambda _: None,
    ) -> RunResult:
        """Call forward once; `on_output` receives the output of every recurrent call."""
        arguments = {
            **inputs,
            **{
                one.argument: one.to_torch(states[one.name])
                for one in self._states
                if one.argument is not None
            },
        }
        tensors = {path: _tensor_from(array, self._dtype) for path, array in arguments.items()}
        call = self._example.with_tensors(tensors)
        replaced = [one for one in self._states if one.argument is None and one.name in states]
        exchange = _StateExchange(self._traced, replaced, states, self._dtype, on_output)
        with (
            torch.no_grad(),
            preserve_state(self._module),
            RecurrentCallMode(exchange),
            default_dtype(self._dtype),
        ):
            result = dict(tensor_leaves(self._module(**call.kwargs)))
            outputs = {path: _array(tensor) for path, tensor in result.items()}
            final_states = {
                state.name: state.to_port(
                    _array(exchange.final(state))
                    if state.result is None
                    else outputs[state.result],
                )
                for state in self._states
                if state.result is not None or exchange.has_final(state)
            }
        return RunResult(outputs, final_states)


class _StateExchange:
    """Replaces states of recurrent calls, and remembers the states that the last calls return.

    In a loop over time a layer is called once per step: the first call takes the state that is
    given, the last call leaves the final one.

        h given → cell(x[0], h) → h → cell(x[1], h) → h → cell(x[2], h) → h final

    The calls of one layer have the same weights. Where forward computes weights at every call, the
    position of a call tells its layer.

    Args:
        traced: The calls of the forward that was traced; states name calls by their position there.
        states: The states to replace.
        values: Their values by name.
        dtype: The floating-point dtype of the run.
        on_output: Receives the output of every call.
    """

    def __init__(
        self,
        traced: Sequence[RecurrentCall],
        states: Sequence[StatePort],
        values: Arrays,
        dtype: torch.dtype,
        on_output: Callable[[torch.Tensor], None],
    ) -> None:
        self._traced = traced
        self._states = states
        self._values = values
        self._dtype = dtype
        self._on_output = on_output
        self._calls = 0
        self._calls_of_layer: dict[int, int] = {}
        self._last: dict[int, deque[tuple[Results, torch.Tensor | None]]] = {}

    def __call__(self, call: RecurrentCall, proceed: Any) -> Results:
        """Run a call with the states that are given for it."""
        layer = self._positions(call, self._calls)
        count = self._calls_of_layer.get(layer[0], 0)
        position = layer[count] if count < len(layer) else None
        states = list(call.states)
        for state in self._states:
            if state.call == position:
                value = _tensor_from(state.to_torch(self._values[state.name]), self._dtype)
                states[state.index] = value if call.order is None else value[:, call.order]
        results: Results = proceed(tuple(states))
        self._calls += 1
        self._calls_of_layer[layer[0]] = count + 1
        last = self._last.setdefault(layer[0], deque(maxlen=len(layer)))
        last.append((results[call.first_state :], call.order))
        self._on_output(results[0])
        return results

    def has_final(self, state: StatePort) -> bool:
        """Return whether `final` can return the value of `state`."""
        return state.last_call is not None and state.last_call < len(self._traced)

    def final(self, state: StatePort) -> torch.Tensor:
        """Return the value of `state` after the last call of its layer."""
        assert state.last_call is not None
        layer = self._positions(self._traced[state.last_call], state.last_call)
        results, order = self._last[layer[0]][layer.index(state.last_call)]
        value = results[state.index]
        return value if order is None else value[:, order.argsort()]

    def _positions(self, call: RecurrentCall, position: int) -> list[int]:
        """Return the positions of all traced calls of the layer that `call` belongs to."""
        same = [i for i, one in enumerate(self._traced) if one.layer is call.layer]
        return same or [position % len(self._traced)]


class GivenReference:
    """The user's own module, with the module that was traced for states that only that one shows.

    Outputs are those of the user's module wherever it can run: from states that it takes as
    arguments. States that its loops carry, or that an archive holds inside, are visible in the
    traced module only: their values, and runs that start from them.

    Args:
        given: The user's module, with the states that it takes as arguments.
        traced: The module that was traced, with all states.
    """

    def __init__(self, given: Reference, traced: Reference) -> None:
        self.name = given.name
        self._given = given
        self._traced = traced

    @property
    def arguments(self) -> Sequence[str]:
        """The names of the states that forward takes as arguments."""
        return self._traced.arguments

    def double(self) -> GivenReference:
        """Return both modules in float64."""
        return GivenReference(self._given.double(), self._traced.double())

    def __call__(self, inputs: Arrays, states: Arrays) -> RunResult:
        """Run whole sequences; see `Reference`."""
        traced = self._traced(inputs, states)
        if set(states) > set(self.arguments):
            return traced
        given = self._given(inputs, states)
        return RunResult(given.outputs, {**traced.states, **given.states})

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return the output of each recurrent call of the traced module, in order."""
        return self._traced.layers(inputs, states)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, which is faster for small steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def eager_on_one_thread() -> Iterator[None]:
    """Run models on one thread and as their authors wrote them, whatever torch.compile wraps."""
    with one_thread(), torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make `dtype` the dtype of new floating-point tensors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensor_from(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """Return a copy of an array as a tensor, floats as `dtype`; forward may write into it."""
    tensor = torch.from_numpy(array.copy(order="C"))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a copy: the next run may write into what this one returned."""
    return tensor.numpy().copy()
