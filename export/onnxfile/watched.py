"""An ONNX file in ONNX Runtime, watched at its recurrent nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.example.call import Example, Run
from edgernn.export.onnxfile.file import OnnxFile
from edgernn.export.onnxfile.nodes import recurrent_of, states_of, title
from edgernn.export.proof.session import fresh_session
from edgernn.export.trace.capture import Call

__all__ = ["Arrays", "Watched", "session"]

Arrays = Mapping[str, NDArray[Any]]
Session = Callable[[Arrays], dict[str, NDArray[Any]]]

_X, _LENGTHS, _H = 0, 4, 5
_COPY = "__watched"


def session(model: str | bytes, subject: str) -> Session:
    """Return a graph as a function from inputs to outputs by name, on one thread of the CPU.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load it.
    """
    try:
        opened = fresh_session(model)
    except UnsupportedModelError as error:
        reason = str(error.__cause__).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"{subject} cannot be run by ONNX Runtime, which is what its graphs would be proven "
            f"against: {reason}"
        ) from error
    inputs = [port.name for port in opened.get_inputs()]
    outputs = [port.name for port in opened.get_outputs()]

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        given = {name: np.ascontiguousarray(feeds[name]) for name in inputs if name in feeds}
        results: list[Any] = [*opened.run(None, given)]
        return dict(zip(outputs, results, strict=True))

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
            node.title: (values[node.lengths], values[node.x].shape[0])
            for node in self._nodes
            if node.lengths
        }


class _Places:
    """The names of what goes into a recurrent node and comes out of it."""

    def __init__(self, node: ir.Node) -> None:
        def name(place: int) -> str:
            value = node.inputs[place] if place < len(node.inputs) else None
            return value.name or "" if value is not None else ""

        self.title = title(node)
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
