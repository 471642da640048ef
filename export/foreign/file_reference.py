"""The reference of an ONNX file: the file itself in ONNX Runtime, over whole sequences.

Three sessions run it. `plain` is the file as it is. `instrumented` is the file with more outputs:
the inputs and outputs of every recurrent node. `opened` is the file with its states as ports, for
runs from a state that the file itself does not take.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.export.foreign.file_states import FileStates
from edgernn.export.foreign.instrumented_file import InstrumentedFile, open_session
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.reference import RunResult, run_stepwise
from edgernn.export.states.contract_ports import Origins

__all__ = ["FileReference"]

_RELATIVE = 2.0**-21
"""Four roundings of float32, relative."""


class FileReference:
    """The file as a function of inputs and states.

    Without states given, and where it takes all of its states as inputs, the file runs as it is.
    Any other state is an input of a copy of the graph in which nothing else is changed, and is
    read from there.

    Args:
        file: The file.
        instrumented: The file with its recurrent nodes as outputs.
        opened: The file with its states as ports, all ports named by the contract.
        origins: What these are called in the file.
        unused: Values of the inputs that have no effect.
        sequence_axes: For a file that is one step: name of each input and output → the axis that
            the steps are stacked along. None where the file takes sequences.
        own_axes: For such a file: name of an input or output → the axis of size 1 that it has for
            the step itself.
    """

    def __init__(
        self,
        file: OnnxFile,
        instrumented: InstrumentedFile,
        opened: FileStates,
        origins: Origins,
        unused: Arrays,
        sequence_axes: Mapping[str, int] | None,
        own_axes: Mapping[str, int],
    ) -> None:
        self.name = file.reference
        self._plain = open_session(file.runnable, f"`{file.path}`")
        self._instrumented = instrumented
        self._opened = open_session(opened.model, f"`{file.path}` with its states as ports")
        self._origins = origins
        self._states = opened.states
        self._finals = opened.finals
        self._constant_inputs = {**file.constants, **unused}
        self._sequence_axes = sequence_axes
        self._own_axes = own_axes
        self._perturbed = False

    @property
    def arguments(self) -> list[str]:
        """The names of the states that the file takes as inputs, so that none can be left out."""
        return [state.name for state in self._states if state.argument is not None]

    def double(self) -> FileReference:
        """Return the reference with inputs and states some float32 roundings away from the given.

        ONNX Runtime has no recurrence in float64. But rounding moves the sums of each step as far,
        in whichever order they are added up: so the results differ by what float32 itself costs.
        """
        perturbed = copy.copy(self)
        perturbed._perturbed = True
        return perturbed

    def layers(self, inputs: Arrays, states: Arrays) -> list[NDArray[Any]]:
        """Return nothing: the layers of a file are not compared one by one."""
        return []

    def __call__(self, inputs: Arrays, states: Arrays) -> RunResult:
        """Run whole sequences.

        Args:
            inputs: The file's name of each data input → array.
            states: Name of each state → its value; where one that is no input of the file is left
                out, the file starts from its own.
        """
        if self._perturbed:
            inputs, states = _perturb(inputs), _perturb(states)
        if self._sequence_axes is None:
            return self._run(inputs, states)
        return run_stepwise(self._run_one, self._sequence_axes, inputs, states)

    def _run_one(self, inputs: Arrays, states: Arrays) -> RunResult:
        """Run one step, from inputs without the axis of the step to outputs without."""
        own = self._own_axes
        with_axis = {
            name: np.expand_dims(array, own[name]) if name in own else array
            for name, array in inputs.items()
        }
        result = self._run(with_axis, states)
        outputs = {
            name: array.squeeze(own[name]) if name in own else array
            for name, array in result.outputs.items()
        }
        return RunResult(outputs, result.states)

    def _run(self, inputs: Arrays, states: Arrays) -> RunResult:
        if len(states) < len(self._states):
            return self._run_from_own_states(inputs, states)
        outputs: dict[str, NDArray[Any]] = {}
        after: dict[str, NDArray[Any]] = {}
        if not all(state.argument and state.result for state in self._states):
            outputs, after = self._run_from_given_states(inputs, states)
        if all(state.argument for state in self._states):
            given = {one.argument or "": one.to_torch(states[one.name]) for one in self._states}
            outputs = self._plain({**self._constant_inputs, **inputs, **given})
            after |= {s.name: s.to_port(outputs[s.result]) for s in self._states if s.result}
        return RunResult(self._data(outputs), after)

    def _run_from_own_states(self, inputs: Arrays, states: Arrays) -> RunResult:
        taken = {s.argument: s.to_torch(states[s.name]) for s in self._states if s.argument}
        given = {**self._constant_inputs, **inputs, **taken}
        outputs = self._plain(given)
        values = {**outputs, **self._instrumented.values(given)}
        after = {
            one.name: one.to_port(values[one.result or self._finals[one.name]])
            for one in self._states
        }
        return RunResult(self._data(outputs), after)

    def _run_from_given_states(
        self, inputs: Arrays, states: Arrays
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return all outputs by their names in the file, and the final states by name."""
        feeds = {
            name: inputs[origin]
            for name, origin in self._origins.inputs.items()
            if origin is not None and origin in inputs
        }
        feeds |= {state.input: states[state.name] for state in self._states}
        results = self._opened(feeds)
        after = {state.name: results[state.output] for state in self._states}
        return {self._origins.outputs[name] or "": value for name, value in results.items()}, after

    def _data(self, outputs: Arrays) -> dict[str, NDArray[Any]]:
        states = {state.output for state in self._states}
        data = {path for port, path in self._origins.outputs.items() if port not in states}
        return {name: value for name, value in outputs.items() if name in data}


def _perturb(arrays: Arrays) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        name: (array * rng.choice([1 - _RELATIVE, 1 + _RELATIVE], array.shape)).astype(array.dtype)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for name, array in arrays.items()
    }
