"""States put into the recurrent calls of a running forward, and read from them.

In a loop over time a layer is called once per step: the first call takes the state that is given,
the last call leaves the final one.

    h given → cell(x[0], h) → h → cell(x[1], h) → h → cell(x[2], h) → h final
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from edgernn.export.capture.recurrent_calls import RecurrentCall, Results
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.states.state_port import StatePort

__all__ = ["StateExchange", "tensor_from"]


class StateExchange:
    """Replaces states of recurrent calls, and remembers the states that the last calls return.

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
                value = tensor_from(self._values[state.name], self._dtype)
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


def tensor_from(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """Return a copy of an array as a tensor, floats as `dtype`; forward may write into it."""
    tensor = torch.from_numpy(array.copy(order="C"))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
