"""The recurrent states of an ONNX file, as ports of a copy of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.foreign.fitted_shapes import FittedShapes
from edgernn.export.foreign.instrumented_file import InstrumentedFile
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.call_nodes import runs_along_sequence
from edgernn.export.ir.dataflow import movement_sources
from edgernn.export.ir.graph_names import result_name, result_path
from edgernn.export.ir.recurrent_operators import Input, direction_of, kind_of, recurrent_nodes
from edgernn.export.states.find_folded_batches import find_folded_batches
from edgernn.export.states.find_states import find_states
from edgernn.export.states.layer_names import name_operator_layers
from edgernn.export.states.next_values import StatePairs
from edgernn.export.states.node_states import NodeState, operator_states
from edgernn.export.states.pairs_by_shape import pair_options, recognise_pairs
from edgernn.export.states.state_port import StatePort, check_state_axes
from edgernn.option_names import option

__all__ = ["FileStates", "Stack", "find_file_states"]


_OMITTED = "omitted_initial_state_"

Stack = tuple[tuple[int, int], ...]
"""States of recurrent nodes: the place of each node in the graph, 0 for h and 1 for c."""


@dataclass(frozen=True)
class FileStates:
    """The graph of a file with its states as ports.

    Attributes:
        model: The graph; data inputs have the file's names, outputs have them after `result:`.
        states: The states.
        finals: Name of a state that the file neither takes nor returns → the value that holds it.
        stacks: Name of a state that one tensor holds for several nodes → these states in order.
        backward: Why nothing can be carried on, where a node reads the sequence from its end.
    """

    model: ir.Model
    states: tuple[StatePort, ...]
    finals: Mapping[str, str]
    stacks: Mapping[str, Stack]
    backward: str


def find_file_states(
    file: OnnxFile, session: InstrumentedFile, example: ExampleCall, pairs: Mapping[str, str | int]
) -> FileStates:
    """Make the states of a file ports of a copy of its graph that has nothing else changed.

    `pairs` are the states that the user named: input → output, by name or place.

    Raises:
        InputError: A pair names a port that the file does not have.
        UnsupportedModelError: It has no state, or one that is not of a shape with a batch axis.
    """
    run = session(example)
    sizes = FittedShapes(session, example)
    model, node_states = _copy_with_states(file, example, sizes)
    declared = _fit_sequences(model.graph, sizes)
    finals = {(state.call, state.index): state.final.name or "" for state in node_states}
    stacked = _stacked_states(model.graph, node_states, run, example)
    proven = _join_finals(model.graph, stacked, run, session.finals(example))
    named = _named_pairs(model.graph, pairs)
    recognised = {} if named or node_states else recognise_pairs(example, run)
    known = StatePairs(named, recognised=recognised, proven=proven, names_tell=False)
    folded = find_folded_batches(session.finals, example, node_states)
    states = find_states(model.graph, node_states, run.calls, known, folded=folded)
    backward = _backward(model.graph)
    _restore_omitted(model.graph)
    for value, shape in declared.items():
        value.shape = shape
    if not states:
        raise UnsupportedModelError(_no_state(file, model.graph, pair_options(example, run)))
    check_state_axes(model.graph, states, f" of `{file.path}`")
    return FileStates(
        model=model,
        states=states,
        finals={
            state.name: finals[state.last_call, state.index]
            for state in states
            if state.argument is None and state.result is None and state.last_call is not None
        },
        stacks={
            state.name: tuple((one.call, one.index) for one in stacked[state.argument])
            for state in states
            if state.argument in stacked
        },
        backward=backward,
    )


def _copy_with_states(
    file: OnnxFile, example: ExampleCall, sizes: FittedShapes
) -> tuple[ir.Model, list[NodeState]]:
    """Return the file's graph with proven shapes and marked outputs, and its states."""
    model = file.model.clone()
    graph = model.graph
    for value in graph.inputs:
        value.shape = ir.Shape(example.shapes[value.name or ""])
    nodes = recurrent_nodes(graph)
    for node in nodes:
        for value in node.outputs[1:]:
            value.shape = ir.Shape(sizes.of(value.name or ""))
            value.type = ir.TensorType(ir.DataType.FLOAT)
    _mark_results(graph, sizes)
    name_operator_layers(nodes)
    for call, node in enumerate(nodes):
        for index, place in enumerate(kind_of(node).initial_states):
            initial = node.inputs[place]
            if initial is None:
                initial = ir.Value(name=f"{_OMITTED}{call}_{index}")
                node.replace_input_with(place, initial)
            initial.type = ir.TensorType(ir.DataType.FLOAT)
    return model, operator_states(nodes)


def _fit_sequences(graph: ir.Graph, sizes: FittedShapes) -> dict[ir.Value, ir.Shape | None]:
    """Give the sequences that nodes run over their proven shapes; return those of the file."""
    declared: dict[ir.Value, ir.Shape | None] = {}
    for node in recurrent_nodes(graph):
        x = node.inputs[Input.X]
        if x is not None and not x.is_graph_input() and not x.is_initializer():
            declared.setdefault(x, x.shape)
            x.shape = ir.Shape(sizes.of(x.name or ""))
    return declared


def _backward(graph: ir.Graph) -> str:
    """Return why there is no step graph where a node reads the sequence from its end."""
    for node in recurrent_nodes(graph):
        direction = direction_of(node)
        if direction != "forward" and runs_along_sequence(node):
            return (
                f"`{node_label(node)}` ({node.op_type}) is {direction}: it reads the sequence from "
                "its end."
            )
    return ""


def _restore_omitted(graph: ir.Graph) -> None:
    """Omit the initial states again that have not become inputs, in place."""
    for node in recurrent_nodes(graph):
        for place, value in enumerate(node.inputs):
            if value is not None and (value.name or "").startswith(_OMITTED):
                node.replace_input_with(place, None)


def _stacked_states(
    graph: ir.Graph, states: Sequence[NodeState], run: ForwardRun, example: ExampleCall
) -> dict[str, list[NodeState]]:
    """Return the inputs that are the states of several nodes joined, each with these states."""
    stacks: dict[str, list[NodeState]] = {}
    for leaf in example.tensors:
        port = next(value for value in graph.inputs if value.name == leaf.path)
        started = [state for state in states if port in movement_sources(state.initial)]
        initial = [run.calls[state.call].states[state.index] for state in started]
        same_rank = all(one.dim() == leaf.tensor.dim() for one in initial)
        if len(started) > 1 and same_rank and torch.equal(torch.cat(initial), leaf.tensor):
            stacks[leaf.path] = started
    return stacks


def _join_finals(
    graph: ir.Graph,
    stacks: Mapping[str, Sequence[NodeState]],
    run: ForwardRun,
    finals: Sequence[Sequence[torch.Tensor]],
) -> dict[str, str]:
    """Find the next value of each input that holds the states of several nodes.

    Where no result is it, the final states are joined into a new output, in place.

    Returns:
        Such an input → the result that has the numbers of its next value, where the states are not
        just moved there.
    """
    pairs: dict[str, str] = {}
    for path, states in stacks.items():
        nexts = {state.final for state in states}
        if any(nexts <= set(movement_sources(result)) for result in graph.outputs):
            continue
        after = torch.cat([finals[state.call][state.index] for state in states])
        same = [name for name, result in run.results.items() if torch.equal(result, after)]
        if same:
            pairs[path] = same[0]
            continue
        port = next(value for value in graph.inputs if value.name == path)
        joined = ir.node("Concat", [state.final for state in states], {"axis": 0})
        joined.outputs[0].shape, joined.outputs[0].type = port.shape, port.type
        joined.outputs[0].name = f"{path}_final"
        graph.append(joined)
        graph.outputs.append(joined.outputs[0])
    return pairs


def _mark_results(graph: ir.Graph, sizes: FittedShapes) -> None:
    """Name the outputs as `trace` does, each a value of its own, with proven shapes."""
    for place, value in enumerate(list(graph.outputs)):
        name, shape = value.name or "", sizes.of(value.name or "")
        if value.producer() is None or value in list(graph.outputs)[:place]:
            copy = ir.node("Identity", [value])
            graph.append(copy)
            copy.outputs[0].type = value.type
            graph.outputs[place] = value = copy.outputs[0]
        value.name, value.shape = result_name(name), ir.Shape(shape)


def _named_pairs(graph: ir.Graph, pairs: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the user's pairs with places in the outputs turned into names."""
    names = [result_path(value) or "" for value in graph.outputs]
    return {
        before: names[after] if isinstance(after, int) and after < len(names) else after
        for before, after in pairs.items()
    }


def _either(names: Sequence[str]) -> str:
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def _no_state(file: OnnxFile, graph: ir.Graph, options: str | None) -> str:
    inputs = [value.name or "" for value in graph.inputs]
    outputs = [result_path(value) or "" for value in graph.outputs]
    choice = f", where IN is {_either(inputs)} and OUT {_either(outputs)}"
    how = f". {options}" if options else "." if len(inputs) == 1 else f"{choice}."
    return (
        f"`{file.path}` has no recurrent state: no LSTM, GRU or RNN node that starts from a state "
        "of its own or from an input, and no input that goes in as an output comes out. If it is "
        f"one step of a recurrence, name its state: {option('states', {'IN': 'OUT'})}{how}"
    )
