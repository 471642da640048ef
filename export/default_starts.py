"""What forward starts from where an argument that holds a state is left out.

    def forward(self, x, hx=None):
        if hx is None:
            hx = self.start.expand(1, len(x), -1)

The graphs have no argument to leave out: they record `start` as the initial value of the state.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun, run_forward
from edgernn.export.states.state_port import StatePort

__all__ = ["with_default_starts"]


def with_default_starts(
    module: nn.Module, example: ExampleCall, run: ForwardRun, states: Sequence[StatePort]
) -> tuple[tuple[StatePort, ...], tuple[str, ...]]:
    """Return the states with the values that they start from by default, and notes.

    Args:
        module: The model that was traced.
        example: The call that was traced.
        run: What forward did in it.
        states: The states; those that forward makes itself have their initial values.
    """
    parameters = inspect.signature(module.forward).parameters
    optional = {name for name, one in parameters.items() if one.default is None}
    left_out = {_argument(state) for state in states} & optional & {*example.kwargs}
    if not left_out:
        return tuple(states), ()
    try:
        first, other = (
            run_forward(module, _without(one, left_out)).calls
            for one in (example, _with_other_data(example))
        )
    except Exception:
        return tuple(states), ()  # forward needs them
    if not len(first) == len(other) == len(run.calls):
        return tuple(states), ()  # it does something else without them
    started: list[StatePort] = []
    notes: list[str] = []
    for state in states:
        if state.call is not None and _argument(state) in left_out:
            start, another = (calls[state.call].states[state.index] for calls in (first, other))
            initial = _initial(example, state, start) if torch.equal(start, another) else None
            if initial is not None:
                state = replace(state, initial=initial)
            elif start.any() or another.any():
                notes.append(
                    f"`{state.argument}` starts the graphs from zeros where a host gives none; "
                    "forward computes another value, which is not the same for all data."
                )
        started.append(state)
    return tuple(started), tuple(notes)


def _initial(
    example: ExampleCall, state: StatePort, start: torch.Tensor
) -> NDArray[np.float32] | None:
    """Return what a call starts from with 1 for the batch axis, if that is the argument's value.

    None for zeros, and where sequences start from different values.
    """
    shapes = {leaf.path: (leaf.tensor.shape, leaf.shape) for leaf in example.tensors}
    shape, axes = shapes[state.argument or ""]
    if state.folded is not None and shape == start.shape:
        start = state.folded.unfold(start)
        shape, axes = start.shape, state.folded.port_shape(axes, BATCH)
    one = start.narrow(axes.index(BATCH), 0, 1) if BATCH in axes and shape == start.shape else start
    if shape != start.shape or not start.any() or not torch.equal(one.expand_as(start), start):
        return None
    return one.detach().numpy().astype(np.float32)


def _argument(state: StatePort) -> str:
    """Return the name of the argument that a state is in; empty for one that forward makes."""
    return re.split(r"\W", state.argument or "", maxsplit=1)[0]


def _without(example: ExampleCall, names: Collection[str]) -> ExampleCall:
    kwargs = {name: value for name, value in example.kwargs.items() if name not in names}
    return replace(example, kwargs=kwargs)


def _with_other_data(example: ExampleCall) -> ExampleCall:
    """Return the example with other numbers, and integers in another order."""
    return example.with_tensors(
        {
            leaf.path: leaf.tensor / 2 + 1
            if leaf.tensor.is_floating_point()
            else leaf.tensor.flip(*range(leaf.tensor.dim()))
            for leaf in example.tensors
        }
    )
