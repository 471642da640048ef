"""An ONNX file in ONNX Runtime: values inside its graph, and those of all its recurrent nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from numpy.typing import NDArray

from edgernn.contract import SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.capture.recurrent_calls import RecurrentCall
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import sequence_lens_inputs, title
from edgernn.export.ir.dataflow import depends_on_data
from edgernn.export.ir.onnx_session import Arrays, OnnxSession
from edgernn.export.ir.recurrent_operators import Input, input_of, kind_of, recurrent_nodes

__all__ = [
    "BranchError",
    "InstrumentedFile",
    "evaluate",
    "length_inputs",
    "open_session",
    "values_by_name",
]


class BranchError(InputError):
    """When the file takes the branch of an If that its graphs do not have."""


def length_inputs(file: OnnxFile) -> list[str]:
    """Return the names of the inputs that hold lengths of sequences."""
    known = () if file.contract is None else file.contract.lengths
    inputs = [value.name or "" for value in file.model.graph.inputs]
    held = (*sequence_lens_inputs(file.model.graph)[0], *known)
    return [name for name in dict.fromkeys(held) if name in inputs]


class InstrumentedFile:
    """The file as a function, which also returns what its recurrent nodes read and compute.

    Attributes:
        file: The file; every final state in its graph has a name.
    """

    noun = "the file"

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.name = str(file.path)
        self._results = [value.name or "" for value in file.model.graph.outputs]
        inputs = file.model.graph.inputs
        self._declared = {one.name or "": one.shape for one in inputs if one.shape is not None}
        self._held = tuple(length_inputs(file))
        model = file.model.clone()
        nodes = recurrent_nodes(model.graph)
        self._nodes = [_NodePorts(node) for node in nodes]
        places = (Input.X, Input.SEQUENCE_LENS, Input.INITIAL_H, Input.INITIAL_C)
        inner = [
            value
            for node in nodes
            for value in (*(input_of(node, place) for place in places), *node.outputs[1:])
            if value is not None
        ]
        inner += values_by_name(model.graph, [one.condition for one in file.resolved_ifs])
        model.graph.outputs[:] = dict.fromkeys([*model.graph.outputs, *inner])
        self._session = open_session(model, f"`{file.path}`")

    def __call__(self, example: ExampleCall) -> ForwardRun:
        """Run the file once; its calls are those of the recurrent nodes in its main graph."""
        values = self.values(example.arrays)
        calls = tuple(node.call(values) for node in self._nodes)
        results = {name: _tensor(values[name]) for name in self._results}
        return ForwardRun(calls, results, self._held)

    def values(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Run the file; return its outputs and the instrumented values, by name.

        Raises:
            InputError: An input is not of the shape that the file declares or not of whole hops, or
                with it the file runs another branch of an If than the one that was taken.
        """
        self._check_hops(feeds)
        for name, declared in self._declared.items():
            shape = feeds[name].shape
            if len(shape) != len(declared) or any(
                isinstance(size, int) and size != given
                for size, given in zip(declared, shape, strict=True)
            ):
                raise InputError(f"it declares `{name}` as {declared}")
        values = self._session(feeds)
        for one in self.file.resolved_ifs:
            if bool(values[one.condition].all()) != one.taken:
                raise BranchError(f"it takes the other branch of If `{one.title}`")
        return values

    def _check_hops(self, feeds: Arrays) -> None:
        """Refuse what is not whole hops: ONNX Runtime ends the process at a layer of no steps."""
        contract = self.file.contract
        if contract is None or contract.sequence is None or contract.hop == 1:
            return
        for port in contract.data_inputs("sequence"):
            axis = port.axis(SEQUENCE)
            steps = None if axis is None else feeds[port.name].shape[axis]
            if steps is not None and (not steps or steps % contract.hop):
                raise InputError(f"it takes `{port}` in whole hops of {contract.hop} steps")

    def finals(self, example: ExampleCall) -> list[list[torch.Tensor]]:
        """Return the final states of each recurrent node."""
        values = self.values(example.arrays)
        return [[_tensor(values[name]) for name in node.after] for node in self._nodes]

    def lengths(self, example: ExampleCall) -> dict[str, tuple[NDArray[Any], int]]:
        """Return the constant `sequence_lens` of each node that has any, with the steps it runs."""
        values = self.values(example.arrays)
        return {
            node.title: (values[node.lengths], values[node.x].shape[0])
            for node in self._nodes
            if node.lengths and not node.ended
        }


class _NodePorts:
    """The names of the inputs and outputs of a recurrent node."""

    def __init__(self, node: ir.Node) -> None:
        def name(place: int) -> str:
            value = input_of(node, place)
            return value.name or "" if value is not None else ""

        self.title = title(node)
        self.function = node.op_type.lower()
        self.x, self.lengths = name(Input.X), name(Input.SEQUENCE_LENS)
        lengths = input_of(node, Input.SEQUENCE_LENS)
        self.ended = lengths is not None and depends_on_data(lengths)
        self.before = [name(place) for place in kind_of(node).initial_states]
        self.after = [value.name or "" for value in node.outputs[1 : 1 + len(self.before)]]

    def call(self, values: Arrays) -> RecurrentCall:
        """Return what the node did as a call; a state that it omits started from zeros."""
        states = [
            _tensor(values[before] if before else np.zeros_like(values[after]))
            for before, after in zip(self.before, self.after, strict=True)
        ]
        return RecurrentCall(self.function, _tensor(values[self.x]), tuple(states), (), True)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def open_session(model: str | bytes | ir.Model, subject: str) -> OnnxSession:
    """Return a session of a graph that somebody else made.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load it; the text calls it `subject`.
    """
    to_bytes = ir.serde.serialize_model
    source = to_bytes(model).SerializeToString() if isinstance(model, ir.Model) else model
    try:
        return OnnxSession(source)
    except UnsupportedModelError as error:
        reason = str(error.__cause__).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"{subject} cannot be run by ONNX Runtime, which is what its graphs would be proven "
            f"against: {reason}"
        ) from error


def values_by_name(graph: ir.Graph, names: Iterable[str]) -> list[ir.Value]:
    """Return the values of `graph` that have these names."""
    inner = (value for node in graph for value in node.outputs)
    known = {value.name: value for value in (*graph.inputs, *graph.initializers.values(), *inner)}
    return [known[name] for name in names]


def evaluate(
    model: ir.Model, values: Sequence[ir.Value], feeds: Arrays, subject: str
) -> list[NDArray[Any]]:
    """Return what `values` of a model, which is not changed, are for some inputs."""
    names = [value.name or "" for value in values]
    model = model.clone()
    model.graph.outputs[:] = values_by_name(model.graph, dict.fromkeys(names))
    passes.RemoveUnusedNodesPass()(model)
    results = open_session(model, subject)(feeds)
    return [np.array(results[name]) for name in names]  # a copy: the session owns initializers
