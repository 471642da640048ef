"""What exported graphs are proven against: eager torch, or an ONNX file that another tool made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgernn.export.ir.onnx_session import Arrays

__all__ = ["Reference", "RunResult", "run_stepwise"]


class RunResult(NamedTuple):
    """What one run returns, of a reference or of a graph.

    Attributes:
        outputs: Path in the reference's result, or name of the graph's port → array.
        states: Name of a state → its value after the run.
    """

    outputs: Arrays
    states: Arrays


class Reference(Protocol):
    """A function of inputs and states that graphs are compared with."""

    @property
    def name(self) -> str:
        """What messages call it, in a few words."""
        ...

    @property
    def arguments(self) -> Sequence[str]:
        """The names of the states that it takes as arguments, so that none can be left out."""
        ...

    def double(self) -> Reference:
        """Return the same function in float64, or itself where it cannot run in float64."""
        ...

    def __call__(self, inputs: Arrays, states: Arrays) -> RunResult:
        """Run whole sequences.

        Args:
            inputs: Path of each data argument → array.
            states: Name of each state to start from → its value. The states in `arguments` must be
                given; the reference makes others that are left out.
        """
        ...

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return the output of each recurrent call, in order; empty where it is not known."""
        ...


def run_stepwise(
    run_step: Callable[[Arrays, Arrays], RunResult],
    axes: Mapping[str, int],
    inputs: Arrays,
    states: Arrays,
) -> RunResult:
    """Run a reference that is one step over whole sequences.

    Args:
        run_step: One step, from inputs and states.
        axes: Path of each input and output → the axis along which the steps are stacked.
        inputs: Path of each input → its values at all steps. One without such an axis is the same
            at every step.
        states: The states to start from.
    """
    steps = next(array.shape[axes[path]] for path, array in inputs.items() if path in axes)
    outputs: dict[str, NDArray[Any]] = {}
    for step in range(steps):
        step_inputs = {
            path: array.take(step, axes[path]) if path in axes else array
            for path, array in inputs.items()
        }
        result = run_step(step_inputs, states)
        states = result.states
        for path, array in result.outputs.items():
            if path not in axes:
                continue
            if not step:
                shape = (*array.shape[: axes[path]], steps, *array.shape[axes[path] :])
                outputs[path] = np.empty(shape, array.dtype)
            np.moveaxis(outputs[path], axes[path], 0)[step] = array
    return RunResult(outputs, states)
