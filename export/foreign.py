"""From somebody else's ONNX file to the two graphs of an artifact, and the reference beside them.

The way is that of a torch module: which axes take other sizes is found out by running the file,
states become ports, recurrent nodes are brought into the form that every runtime takes, and the
step graph is the sequence graph at one time index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.axes import proven_axes
from edgernn.export.build import Built, stacked_axes
from edgernn.export.dataflow import moved_from
from edgernn.export.forms import direction_of, label
from edgernn.export.inputs import Example, Run
from edgernn.export.lift import lift
from edgernn.export.onnxexample import examples_of, given_example
from edgernn.export.onnxfile import OnnxFile
from edgernn.export.onnxnodes import check_weights, make_plain, recurrent_of, states_of
from edgernn.export.onnxopset import at_opset
from edgernn.export.onnxshapes import Sizes
from edgernn.export.original import Original, Watched
from edgernn.export.ports import name_ports
from edgernn.export.states import Slot, StatePort, make_ports
from edgernn.export.step import at_one_step, gemm_form
from edgernn.export.trace import RESULT, fold

__all__ = ["build_foreign"]


def build_foreign(
    file: OnnxFile, inputs: Any, pairs: Mapping[str, str | int]
) -> tuple[Built, Original]:
    """Return the graphs of an ONNX file, and the file as what they are proven against.

    Args:
        file: The file.
        inputs: Its inputs as specs, arrays or tensors, in order or by name; None to infer them.
        pairs: States named by the user: input → output, by name or place.

    Raises:
        InputError: No inputs were found that the file runs on, or a name is not in it.
        UnsupportedModelError: It has no recurrent state, or cannot be written as the contract asks.
    """
    watched = Watched(file)
    example = _example(file, watched, inputs)
    run = watched(example)
    _check_lengths(file, watched, example)
    opened, slots = _prepared(file, example, Sizes(watched, example))
    finals = {(slot.call, slot.index): slot.after.name or "" for slot in slots}
    _join_finals(opened.graph, slots, run, example)
    named = _named_pairs(opened.graph, pairs) or _likely_pairs(opened.graph, slots)
    states = make_ports(opened.graph, slots, run.calls, named)
    _check_states(file, opened.graph, states)
    origins = name_ports(opened, states)
    model = _plain(file, opened)
    backward = _backward(file.model.graph)
    steps = {call.sizes[0] for call in run.calls}
    one_step = not _has_sequence(example) and steps <= {1}
    notes = (
        *example.notes,
        *(f"`{name}` is an input that the file ignores." for name in origins.unused),
    )
    sequence, single, no_step = model, None, backward
    if one_step:
        lifted = lift(model, [(state.input, state.output) for state in states])
        if lifted.form == "scan":
            notes += (f"The sequence graph is a Scan: {lifted.reason}.",)
        sequence, single = lifted.model, model
    elif not _has_sequence(example):
        no_step = f"the file fixes its sequences to {max(steps)} steps."
    step = None
    if not no_step:
        try:
            step = gemm_form(single if single is not None else at_one_step(model))
        except UnsupportedModelError as error:
            no_step = str(error)
    built = Built(
        sequence=sequence,
        step=step,
        no_step=no_step,
        states=states,
        origins=origins,
        traced=example,
        one_step=one_step,
        carry=not backward and (one_step or _has_sequence(example)),
        constant_batch=run.calls[0].sizes[1] if run.calls else 1,
        lengths={},
        notes=notes,
    )
    fed = {path for path in origins.inputs.values() if path}
    original = Original(
        file,
        watched,
        opened,
        (origins.inputs, origins.outputs),
        states,
        {
            state.name: finals[state.last_call, state.index]
            for state in states
            if state.result is None and state.last_call is not None
        },
        {leaf.path: leaf.tensor.numpy() for leaf in example.leaves if leaf.path not in fed},
        stacked_axes(built),
    )
    return built, original


def _example(file: OnnxFile, watched: Watched, inputs: Any) -> Example:
    """Return the user's inputs, or the first ones that the file runs on with the most axes free."""
    if inputs is not None and (not isinstance(inputs, Sequence) or inputs):
        return proven_axes(watched, given_example(file, inputs))
    best: Example | None = None
    failure: InputError | None = None
    for candidate in examples_of(file):
        try:
            found = proven_axes(watched, candidate)
        except InputError as error:
            failure = failure or error
            continue
        if best is None or _free(found) > _free(best):
            best = found
        if _free(best) == (1, 1):
            break
    if best is None:
        assert failure is not None
        raise InputError(
            f"No inputs were found that `{file.path}` runs on. {failure} "
            'Describe them: --input "x:float32[batch,sequence,40]".'
        )
    return best


def _free(example: Example) -> tuple[int, int]:
    symbols = {symbol for shape in example.shapes.values() for symbol in shape}
    return int(SEQUENCE in symbols), int(BATCH in symbols)


def _has_sequence(example: Example) -> bool:
    return any(SEQUENCE in shape for shape in example.shapes.values())


def _check_lengths(file: OnnxFile, watched: Watched, example: Example) -> None:
    """Refuse constant lengths that end before the sequences do; full ones say nothing."""
    for name, (lengths, steps) in watched.lengths(example).items():
        if (lengths != steps).any():
            raise UnsupportedModelError(
                f"`{name}` in `{file.path}` ends its sequences at the constant lengths "
                f"{', '.join(map(str, lengths[:4]))} (sequence_lens) of {steps} steps. Cut the "
                "input to that length and export the model without lengths."
            )


def _prepared(file: OnnxFile, example: Example, sizes: Sizes) -> tuple[ir.Model, list[Slot]]:
    """Return the file's graph with proven shapes and marked outputs, and its states."""
    model = file.model.clone()
    graph = model.graph
    for value in graph.inputs:
        value.shape = ir.Shape(example.shapes[value.name or ""])
    nodes = recurrent_of(graph)
    for node in nodes:
        for value in node.outputs[1:]:
            value.shape = ir.Shape(sizes.of(value.name or ""))
            value.type = ir.TensorType(ir.DataType.FLOAT)
    _mark_results(graph, sizes)
    _name_layers(nodes)
    slots: list[Slot] = []
    for call, node in enumerate(nodes):
        for index in range(states_of(node)):
            before = node.inputs[5 + index]
            if before is None:
                before = ir.Value(name=f"omitted_{call}_{index}")
                node.replace_input_with(5 + index, before)
            before.type = ir.TensorType(ir.DataType.FLOAT)
            slots.append(Slot(node, call, index, 5 + index, 1 + index, 2))
    return model, slots


def _join_finals(graph: ir.Graph, slots: Sequence[Slot], run: Run, example: Example) -> None:
    """Give the states that one input holds for several nodes an output, where there is none."""
    for leaf in example.leaves:
        port = next(value for value in graph.inputs if value.name == leaf.path)
        fed = [slot for slot in slots if port in moved_from(slot.before)]
        before = [run.calls[slot.call].states[slot.index] for slot in fed]
        finals = {slot.after for slot in fed}
        if len(fed) < 2 or any(finals <= set(moved_from(result)) for result in graph.outputs):
            continue
        if not all(state.dim() == leaf.tensor.dim() for state in before):
            continue
        if not torch.equal(torch.cat(before), leaf.tensor):
            continue
        joined = ir.node("Concat", [slot.after for slot in fed], {"axis": 0})
        joined.outputs[0].shape, joined.outputs[0].type = port.shape, port.type
        joined.outputs[0].name = f"{leaf.path}_final"
        graph.append(joined)
        graph.outputs.append(joined.outputs[0])


def _mark_results(graph: ir.Graph, sizes: Sizes) -> None:
    """Name the outputs as `trace` does, each a value of its own, with proven shapes."""
    for place, value in enumerate(list(graph.outputs)):
        name, shape = value.name or "", sizes.of(value.name or "")
        if value.producer() is None or value in list(graph.outputs)[:place]:
            copy = ir.node("Identity", [value])
            graph.append(copy)
            copy.outputs[0].type = value.type
            graph.outputs[place] = value = copy.outputs[0]
        value.name, value.shape = f"{RESULT}{name}", ir.Shape(shape)


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
    for value in node.inputs[1:4]:
        path = (value.name or "" if value is not None else "").rpartition(".")[0]
        if path:
            return path
    return ""


_GENERATED = re.compile(r"(node|n\d*|)_?(LSTM|GRU|RNN|lstm|gru|rnn)?[_\d]*")


def _identifier(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_")


def _named_pairs(graph: ir.Graph, pairs: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the user's pairs with places in the outputs turned into names."""
    names = [(value.name or "").removeprefix(RESULT) for value in graph.outputs]
    return {
        before: names[after] if isinstance(after, int) and after < len(names) else after
        for before, after in pairs.items()
    }


def _likely_pairs(graph: ir.Graph, slots: Sequence[Slot]) -> dict[str, str | int]:
    """Pair inputs with outputs of the same shape in a graph without recurrent nodes.

    Only where there is one choice, and an input is left that is no state.
    """
    if slots:
        return {}
    inputs = [value for value in graph.inputs if value.dtype and value.dtype.is_floating_point()]
    pairs: dict[str, str | int] = {}
    for value in inputs:
        alike = [one for one in graph.outputs if one.shape == value.shape]
        rivals = [one for one in inputs if one.shape == value.shape]
        if len(alike) == 1 and len(rivals) == 1:
            pairs[value.name or ""] = (alike[0].name or "").removeprefix(RESULT)
    return pairs if len(pairs) < len(graph.inputs) else {}


def _check_states(file: OnnxFile, graph: ir.Graph, states: Sequence[StatePort]) -> None:
    if not states:
        raise UnsupportedModelError(
            f"`{file.path}` has no recurrent state: no LSTM, GRU or RNN node that starts from a "
            "state of its own or from an input, and no input that goes in as an output comes out. "
            "If it is one step of a recurrence, name its state: --state IN=OUT."
        )
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


def _backward(graph: ir.Graph) -> str:
    """Return why there is no step graph where a node reads the sequence from its end."""
    for node in recurrent_of(graph):
        direction = direction_of(node)
        if direction != "forward":
            return (
                f"`{label(node)}` ({node.op_type}) is {direction}: it reads the sequence from its "
                "end."
            )
    return ""


def _plain(file: OnnxFile, opened: ir.Model) -> ir.Model:
    """Return the graph in the opset and forms that every runtime takes."""
    model = at_opset(file, opened)
    fold(model)
    check_weights(model, f"`{file.path}`")
    make_plain(model)
    fold(model)
    return model
