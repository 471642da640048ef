"""The reference of an ONNX file: the file itself in ONNX Runtime, over whole sequences.

Three sessions run it. `plain` is the file as it is. `watched` is the same with more outputs: what
goes into every recurrent node and what comes out of it. `opened` is the file with its states as
ports, for runs from a state that the file itself does not take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgernn.errors import InputError, MissingExtraError, UnsupportedModelError
from edgernn.export.capture import Call
from edgernn.export.eager import Outcome, over_steps
from edgernn.export.inputs import Example, Run
from edgernn.export.onnxfile import OnnxFile
from edgernn.export.onnxnodes import recurrent_of, states_of
from edgernn.export.states import StatePort

__all__ = ["Original", "Watched", "output_names"]

Arrays = Mapping[str, NDArray[Any]]
Session = Callable[[Arrays], dict[str, NDArray[Any]]]

_X, _LENGTHS, _H = 0, 4, 5


def session(model: str | bytes, subject: str) -> Session:
    """Return a graph as a function from inputs to outputs by name, on one thread of the CPU.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            'Running a graph needs onnxruntime: pip install "edgernn[cpu]".'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    try:
        opened = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"{subject} cannot be run by ONNX Runtime, which is what its graphs would be proven "
            f"against: {reason}"
        ) from error
    inputs = [port.name for port in opened.get_inputs()]
    outputs = [port.name for port in opened.get_outputs()]

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        given = {name: np.ascontiguousarray(feeds[name]) for name in inputs if name in feeds}
        return dict(zip(outputs, opened.run(None, given), strict=True))

    return run


def output_names(node: ir.Node) -> list[str]:
    """Return the names of the final states of a recurrent node."""
    return [node.outputs[1 + index].name or "" for index in range(states_of(node))]


class Watched:
    """The file, run undisturbed and watched at its recurrent nodes.

    Args:
        file: The file; every final state in its graph has a name.
    """

    noun = "the file"

    def __init__(self, file: OnnxFile) -> None:
        self.name = str(file.path)
        self._results = [value.name or "" for value in file.model.graph.outputs]
        self._declared = {
            value.name or "": value.shape
            for value in file.model.graph.inputs
            if value.shape is not None
        }
        model = file.model.clone()
        self._nodes = [_Places(node) for node in recurrent_of(model.graph)]
        for node in recurrent_of(model.graph):
            for value in (*node.inputs[:1], *node.inputs[4:7], *node.outputs[1:]):
                if value is not None and not value.is_graph_output():
                    model.graph.outputs.append(value)
        self._watched = session(
            ir.serde.serialize_model(_with_copies(model)).SerializeToString(), f"`{file.path}`"
        )

    def __call__(self, example: Example) -> Run:
        """Run the file once; its calls are those of the recurrent nodes in its main graph."""
        values = self.values({leaf.path: leaf.tensor.numpy() for leaf in example.leaves})
        calls = tuple(node.call(values) for node in self._nodes)
        results = {f"{name}": torch.from_numpy(np.array(values[name])) for name in self._results}
        return Run(calls, results)

    def values(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Run the file; return its outputs and all that is watched, by name.

        Raises:
            InputError: An input is not of the shape that the file declares.
        """
        for name, declared in self._declared.items():
            shape = feeds[name].shape
            if len(shape) != len(declared) or any(
                isinstance(size, int) and size != given
                for size, given in zip(declared, shape, strict=True)
            ):
                raise InputError(f"it declares `{name}` as {declared}")
        watched = self._watched(feeds)
        return {name.removesuffix(_COPY): value for name, value in watched.items()}

    def lengths(self, example: Example) -> dict[str, tuple[NDArray[Any], int]]:
        """Return the `sequence_lens` of each node that has any, with the steps it runs."""
        values = self.values({leaf.path: leaf.tensor.numpy() for leaf in example.leaves})
        return {
            node.label: (values[node.lengths], values[node.x].shape[0])
            for node in self._nodes
            if node.lengths
        }


class _Places:
    """The names of what goes into a recurrent node and comes out of it."""

    def __init__(self, node: ir.Node) -> None:
        def name(place: int) -> str:
            value = node.inputs[place] if place < len(node.inputs) else None
            return value.name or "" if value is not None else ""

        self.label = node.name or ""
        self.function = node.op_type.lower()
        self.x, self.lengths = name(_X), name(_LENGTHS)
        self.before = [name(_H + index) for index in range(states_of(node))]
        self.after = output_names(node)

    def call(self, values: Arrays) -> Call:
        """Return what the node did as a call; a state that it omits started from zeros."""
        states = [
            torch.from_numpy(np.array(values[before] if before else np.zeros_like(values[after])))
            for before, after in zip(self.before, self.after, strict=True)
        ]
        x = torch.from_numpy(np.array(values[self.x]))
        return Call(self.function, x, tuple(states), (), True)


class Original:
    """The file as a function of inputs and states.

    Without states given, and where it takes all of its states as inputs, the file runs as it is.
    Any other state is put in its place in a copy of the graph that has nothing else changed, and
    read from there.

    Args:
        file: The file.
        watched: The same, watched.
        opened: The file's graph with its states as ports and these ports renamed.
        ports: Name of each port of `opened` → its name in the file; None for those it lacks.
        states: The states.
        finals: Name of a state that the file neither takes nor returns → the value that holds it.
        rest: Values of inputs that have no effect.
        sequence_axes: For a file that is one step: name of each input and output → the axis that
            the steps are stacked along. None where the file takes sequences.
    """

    def __init__(
        self,
        file: OnnxFile,
        watched: Watched,
        opened: ir.Model,
        ports: tuple[Mapping[str, str | None], Mapping[str, str | None]],
        states: Sequence[StatePort],
        finals: Mapping[str, str],
        rest: Arrays,
        sequence_axes: Mapping[str, int] | None,
    ) -> None:
        self.name = file.reference
        self._plain = session(file.runnable, f"`{file.path}`")
        self._watched = watched
        serialized = ir.serde.serialize_model(opened).SerializeToString()
        self._opened = session(serialized, f"`{file.path}` with its states as ports")
        self._inputs, self._outputs = ports
        self._states = states
        self._finals = finals
        self._rest = rest
        self._sequence_axes = sequence_axes

    @property
    def takes_states(self) -> bool:
        """Whether the file takes a state as an input, so that none can be left out."""
        return any(state.argument is not None for state in self._states)

    def double(self) -> Original:
        """Return the reference itself: ONNX Runtime has no recurrent operators in float64."""
        return self

    def __call__(self, inputs: Arrays, states: Arrays | None) -> Outcome:
        """Run whole sequences.

        Args:
            inputs: The file's name of each data input → array.
            states: Name of each state → its value, or None for the one that the file starts from.
        """
        if self._sequence_axes is None:
            return self._run(inputs, states)
        return over_steps(self._run, self._sequence_axes, inputs, states)

    def _run(self, inputs: Arrays, states: Arrays | None) -> Outcome:
        if states is None:
            return self._run_undisturbed(inputs)
        outputs, after = {}, {}
        if not all(state.argument and state.result for state in self._states):
            outputs, after = self._run_opened(inputs, states)
        if all(state.argument for state in self._states):
            given = {state.argument or "": states[state.name] for state in self._states}
            outputs = self._plain({**self._rest, **inputs, **given})
            returned = {s.name: outputs[s.result] for s in self._states if s.result}
            after = {**after, **returned}
        return Outcome(self._data(outputs), after)

    def _run_undisturbed(self, inputs: Arrays) -> Outcome:
        given = {**self._rest, **inputs}
        outputs = self._plain(given)
        watched = {**outputs, **self._watched.values(given)}
        after = {
            state.name: watched[state.result or self._finals[state.name]] for state in self._states
        }
        return Outcome(self._data(outputs), after)

    def _run_opened(
        self, inputs: Arrays, states: Arrays
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return all outputs by their names in the file, and the final states by name."""
        feeds = {
            name: inputs[origin]
            for name, origin in self._inputs.items()
            if origin is not None and origin in inputs
        }
        feeds |= {state.input: states[state.name] for state in self._states}
        results = self._opened(feeds)
        after = {state.name: results[state.output] for state in self._states}
        return {self._outputs[name] or "": value for name, value in results.items()}, after

    def _data(self, outputs: Arrays) -> dict[str, NDArray[Any]]:
        returned = {state.result for state in self._states}
        return {name: value for name, value in outputs.items() if name and name not in returned}


_COPY = "__watched"


def _with_copies(model: ir.Model) -> ir.Model:
    """Return the model with a copy for each output that no node gives, or that is there twice."""
    seen: set[ir.Value] = set()
    outputs = model.graph.outputs
    for place, value in enumerate(outputs):
        if value in seen or value.producer() is None:
            copy = ir.node("Identity", [value])
            model.graph.append(copy)
            copy.outputs[0].name = f"{value.name}{_COPY}"
            copy.outputs[0].type = value.type
            outputs[place] = copy.outputs[0]
        seen.add(value)
    return model
