"""The recurrent states of an ONNX file: where they are, what they are called, made ports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.foreign.fitted_shapes import FittedShapes
from edgernn.export.foreign.instrumented_file import InstrumentedFile
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.dataflow import movement_sources
from edgernn.export.ir.recurrent_operators import OPERATORS, Input, kind_of, recurrent_nodes
from edgernn.export.ir.results import result_name, result_path
from edgernn.export.states.ambiguous_states import pair_options
from edgernn.export.states.pairing import Pairs, recognised_states
from edgernn.export.states.slots import Slot, StatePort
from edgernn.export.states.state_ports import make_ports

__all__ = ["Opened", "Stack", "open_states"]


Stack = tuple[tuple[int, int], ...]
"""States of recurrent nodes: the place of each node in the graph, 0 for h and 1 for c."""


@dataclass(frozen=True)
class Opened:
    """The graph of a file with its states as ports.

    Attributes:
        model: The graph; data inputs have the file's names, outputs these behind `result:`.
        states: The states.
        finals: Name of a state that the file neither takes nor returns → the value that holds it.
        stacks: Name of a state that one tensor holds for several nodes → these states in order.
    """

    model: ir.Model
    states: tuple[StatePort, ...]
    finals: Mapping[str, str]
    stacks: Mapping[str, Stack]


def open_states(
    file: OnnxFile,
    session: InstrumentedFile,
    example: ExampleCall,
    pairs: Mapping[str, str | int],
) -> Opened:
    """Make the states of a file ports of a copy of its graph that has nothing else changed.

    Args:
        file: The file.
        session: The file as a function.
        example: Inputs that it takes, with its dynamic axes.
        pairs: States named by the user: input → output, by name or place.

    Raises:
        InputError: A pair names a port that the file does not have.
        UnsupportedModelError: It has no state, or one that is not of a shape with a batch axis.
    """
    run = session(example)
    model, slots = _prepared(file, example, FittedShapes(session, example))
    values = {(slot.call, slot.index): slot.after.name or "" for slot in slots}
    stacks = _stacks(model.graph, slots, run, example)
    joined = _join_finals(model.graph, stacks, run, session.finals(example))
    named = _named_pairs(model.graph, pairs)
    recognised = {} if named or slots else recognised_states(example, run)
    told = Pairs(named, recognised=recognised, known=joined, telling_names=False)
    states = make_ports(model.graph, slots, run.calls, told)
    if not states:
        raise UnsupportedModelError(_no_state(file, model.graph, pair_options(example, run)))
    _check_states(file, model.graph, states)
    finals = {
        state.name: values[state.last_call, state.index]
        for state in states
        if state.argument is None and state.result is None and state.last_call is not None
    }
    held = {
        state.name: tuple((slot.call, slot.index) for slot in stacks[state.argument])
        for state in states
        if state.argument in stacks
    }
    return Opened(model, states, finals, held)


def _prepared(
    file: OnnxFile, example: ExampleCall, sizes: FittedShapes
) -> tuple[ir.Model, list[Slot]]:
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
    _name_layers(nodes)
    slots: list[Slot] = []
    for call, node in enumerate(nodes):
        for index, place in enumerate(kind_of(node).initial_states):
            before = node.inputs[place]
            if before is None:
                before = ir.Value(name=f"omitted_{call}_{index}")
                node.replace_input_with(place, before)
            before.type = ir.TensorType(ir.DataType.FLOAT)
            slots.append(Slot(node, call, index, place, 1 + index, Input.R))
    return model, slots


def _stacks(
    graph: ir.Graph, slots: Sequence[Slot], run: ForwardRun, example: ExampleCall
) -> dict[str, list[Slot]]:
    """Return the inputs that are the states of several nodes joined, each with these states."""
    stacks: dict[str, list[Slot]] = {}
    for leaf in example.tensors:
        port = next(value for value in graph.inputs if value.name == leaf.path)
        fed = [slot for slot in slots if port in movement_sources(slot.before)]
        before = [run.calls[slot.call].states[slot.index] for slot in fed]
        alike = all(state.dim() == leaf.tensor.dim() for state in before)
        if len(fed) > 1 and alike and torch.equal(torch.cat(before), leaf.tensor):
            stacks[leaf.path] = fed
    return stacks


def _join_finals(
    graph: ir.Graph,
    stacks: Mapping[str, Sequence[Slot]],
    run: ForwardRun,
    finals: Sequence[Sequence[torch.Tensor]],
) -> dict[str, str]:
    """Find the next value of the states that one input holds for several nodes, or join it.

    Returns:
        Such an input → the result that is its next value by its numbers, if not by movement.
    """
    pairs: dict[str, str] = {}
    for path, fed in stacks.items():
        nexts = {slot.after for slot in fed}
        if any(nexts <= set(movement_sources(result)) for result in graph.outputs):
            continue
        after = torch.cat([finals[slot.call][slot.index] for slot in fed])
        same = [name for name, result in run.results.items() if torch.equal(result, after)]
        if same:
            pairs[path] = same[0]
            continue
        port = next(value for value in graph.inputs if value.name == path)
        joined = ir.node("Concat", [slot.after for slot in fed], {"axis": 0})
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


def _name_layers(nodes: Sequence[ir.Node]) -> None:
    """Write the name of its layer into the metadata of each node, unique, with underscores only."""
    taken: dict[str, int] = {}
    for node in nodes:
        scope = _identifier(_scope(node))
        name = scope or node.op_type.lower()
        taken[name] = taken.get(name, 0) + 1
        node.metadata_props["layer"] = name if taken[name] == 1 else f"{name}_{taken[name]}"
        if scope:
            node.metadata_props["scope"] = scope


def _scope(node: ir.Node) -> str:
    """Return the path of a node's layer, by its own name or by those of its weights.

    The node `/encoder/rnn/LSTM` is of `/encoder/rnn`, the weight `encoder.rnn.weight_ih_l0` of
    `encoder.rnn`; torch's newer exporter lists the modules around a node in its metadata.
    """
    modules = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    if len(modules) > 1:
        return str(modules[-2])
    name = node.name or ""
    if "/" in name.strip("/"):
        return name.strip("/").rpartition("/")[0]
    if name and not _GENERATED.fullmatch(name):
        return name
    for value in node.inputs[Input.W : Input.SEQUENCE_LENS]:
        path = (value.name or "" if value is not None else "").rpartition(".")[0]
        if path:
            return path
    return ""


_OPERATORS = "|".join(name for one in OPERATORS for name in (one, one.lower()))
_GENERATED = re.compile(rf"(node|n\d*|)_?({_OPERATORS})?[_\d]*")


def _identifier(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_")


def _named_pairs(graph: ir.Graph, pairs: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the user's pairs with places in the outputs turned into names."""
    names = [result_path(value) or "" for value in graph.outputs]
    return {
        before: names[after] if isinstance(after, int) and after < len(names) else after
        for before, after in pairs.items()
    }


def _choice(graph: ir.Graph) -> str:
    """Tell what a state may be named as, where there is a choice."""
    inputs = [value.name or "" for value in graph.inputs]
    outputs = [result_path(value) or "" for value in graph.outputs]
    if len(inputs) == 1:
        return ""
    return f", where IN is {_either(inputs)} and OUT {_either(outputs)}"


def _either(names: Sequence[str]) -> str:
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def _no_state(file: OnnxFile, graph: ir.Graph, options: str | None) -> str:
    how = f". {options}" if options else f"{_choice(graph)}."
    return (
        f"`{file.path}` has no recurrent state: no LSTM, GRU or RNN node that starts from a state "
        "of its own or from an input, and no input that goes in as an output comes out. If it is "
        f"one step of a recurrence, name its state: --state IN=OUT{how}"
    )


def _check_states(file: OnnxFile, graph: ir.Graph, states: Sequence[StatePort]) -> None:
    ports = {value.name: value for value in graph.inputs}
    for state in states:
        shape = tuple(
            size if isinstance(size, int) else size.value for size in ports[state.input].shape or ()
        )
        wrong = [size for size in shape if not isinstance(size, int) and size != BATCH]
        if wrong:
            raise UnsupportedModelError(
                f"State `{state.name}` of `{file.path}` is of shape "
                f"[{', '.join(map(str, shape))}]: its layer runs over `{wrong[0]}` "
                "sequences, where the batch was expected. Give the other axes as numbers: "
                '--input "x:float32[batch,16,40]".'
            )
