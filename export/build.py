"""The two graphs of a model: from a torch module to the sequence graph and the step graph.

A forward that takes whole sequences is traced as it is, and its step graph is the same graph at one
time index. A forward that is one step, or that loops over time in Python, is traced at one step,
and its sequence graph is that step lifted over time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir
import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.example.call import Example, Run, observe
from edgernn.export.lift.lift import Lift, lift
from edgernn.export.lift.projection import scan_projection
from edgernn.export.step.step import at_one_step, gemm_form
from edgernn.export.trace.dataflow import moved_from
from edgernn.export.trace.dims import write_canonical
from edgernn.export.trace.initializers import name_after_model
from edgernn.export.trace.layers import length_ports, lower, recurrent_calls
from edgernn.export.trace.pairing import check_state_axes, recognised_states
from edgernn.export.trace.ports import Origins, graph_ports, name_ports
from edgernn.export.trace.slots import StatePort, layer_names
from edgernn.export.trace.stateless import why_stateless
from edgernn.export.trace.states import find_states
from edgernn.export.trace.trace import fold, trace
from edgernn.parts import BATCH_OUTER, SEQUENCE_OUTER

__all__ = ["LOOP_CARRIES", "Built", "build", "stacked_axes"]


_STATELESS = (
    "The model has no recurrent layer: forward calls none of nn.LSTM, nn.GRU, nn.RNN and their "
    "cells. If it is one step of a recurrence of its own, it must take its state as an argument "
    "and return the next one; name it with --state INPUT=OUTPUT. A loop over time that is written "
    "by hand around no cell cannot be seen: export the module of one step. A model without state "
    "needs torch.onnx.export only."
)


_NO_PAIR = (
    "forward is one step of a recurrence, but nothing that it returns goes back in as one of its "
    "arguments. It must take its state and return the next one, of the same shape; where these "
    "cannot be told from other tensors, name them: --state INPUT=OUTPUT."
)


LOOP_CARRIES = (
    "forward's loop over time carries more from step to step than the states of its cells ({}). "
    "Export the module of one step, which takes what is carried as arguments and returns it, and "
    "name it with --state INPUT=OUTPUT."
)


@dataclass(frozen=True)
class Built:
    """The graphs of one model.

    Attributes:
        sequence: The sequence graph.
        step: The step graph, or None.
        no_step: Why there is none.
        states: The states of both.
        origins: Where their ports come from.
        traced: The example that was traced.
        form: What forward is: `whole` takes whole sequences, `loop` does so by a loop over time in
            Python, `step` is one step without a sequence axis.
        carry: Whether a state may be carried on, as far as the graph tells.
        constant_batch: The batch where it is a constant.
        layers: Name of a state → the number of layers of the call that takes it.
        lengths: Name of an input that holds the lengths of sequences → whether forward wants the
            longest first.
        notes: For people.
    """

    sequence: ir.Model
    step: ir.Model | None
    no_step: str
    states: tuple[StatePort, ...]
    origins: Origins
    traced: Example
    form: str
    carry: bool
    constant_batch: int
    layers: Mapping[str, int]
    lengths: Mapping[str, bool]
    notes: tuple[str, ...]


def build(module: nn.Module, example: Example, pairs: Mapping[str, str | int]) -> Built:
    """Trace `module` and return its graphs.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
        pairs: States named by the user: argument path → result path or position.

    Raises:
        UnsupportedModelError: The model has no recurrent state, or cannot be traced or lifted.
    """
    run = observe(module, example)
    pairs = pairs if run.calls else {**recognised_states(example, run), **pairs}
    form = _form(module, example, run)
    traced = _at_one(example) if form == "loop" else example
    model = trace(module, traced)
    layer_names(model)
    if not pairs and not recurrent_calls(model.graph):
        raise UnsupportedModelError(why_stateless(module, example, run) or _STATELESS)
    bidirectional = _bidirectional(model)
    calls = observe(module, traced).calls
    states = find_states(model, calls, pairs)
    if form == "step" and not states:
        raise UnsupportedModelError(_NO_PAIR)
    check_state_axes(model.graph, states)
    origins = name_ports(model, states)
    lengths = length_ports(model.graph)
    notes = (
        *example.notes,
        *(f"`{name}` is an input that forward ignores." for name in origins.unused),
        *_unpaired(model, states),
    )
    every_step = model.clone() if lengths else model
    if lengths:
        lower(every_step, lengths=False)
    lower(model)
    for one in (model, every_step):
        fold(one)
    if form == "whole":
        sequence, single, no_step = scan_projection(model), None, bidirectional
        if not no_step and not _has(example, SEQUENCE):
            no_step = f"forward fixes its sequences to {_fixed_steps(run)} steps."
        if not no_step:
            try:
                single = at_one_step(_without_lengths(every_step, lengths))
            except UnsupportedModelError as error:
                no_step = str(error)
    else:
        steps = _Steps({}, (), {})
        if form == "loop":
            steps = _loop_steps(module, example, run, _data_only(origins, states))
            _mark_sequence(model, steps)
            model = at_one_step(model)
        lifted = _lifted(model, states, steps, form)
        if lifted.form == "scan":
            notes += (f"The sequence graph is a Scan: {lifted.reason}.",)
        sequence, single, no_step = lifted.model, model, ""
    step = None if single is None else gemm_form(single)
    for graph in filter(None, (sequence, step)):
        name_after_model(graph)
        write_canonical(graph)
    batch = run.calls[0].sizes[1] if run.calls else 1
    ordered = any(call.batch_sizes is not None and call.order is None for call in run.calls)
    return Built(
        sequence,
        step,
        no_step,
        states,
        origins,
        traced,
        form,
        not bidirectional and (form != "whole" or _has(example, SEQUENCE)),
        batch,
        {state.name: calls[state.call].num_layers for state in states if state.call is not None},
        dict.fromkeys(lengths, ordered),
        notes,
    )


def stacked_axes(built: Built) -> dict[str, int] | None:
    """Return, for a model that is one step, by path the axis that steps are stacked along."""
    if built.form != "step":
        return None
    graph = graph_ports(built.sequence, built.origins)
    stacked = [port for port in (*graph.inputs, *graph.outputs) if SEQUENCE in port.shape]
    return {port.origin: port.shape.index(SEQUENCE) for port in stacked if port.origin is not None}


def _unpaired(model: ir.Model, states: Sequence[StatePort]) -> Iterator[str]:
    """Tell which arguments start a layer, but have no next value in what forward returns."""
    inputs = {state.input for state in states}
    for node in recurrent_calls(model.graph):
        count = 2 if node.op_type.startswith("lstm") else 1
        starts = [start for start in node.inputs[1 : 1 + count] if start is not None]
        for source in dict.fromkeys(source for start in starts for source in moved_from(start)):
            if source.is_graph_input() and source.name not in inputs:
                yield (
                    f"`{source.name}` starts layer `{node.metadata_props['layer']}` at every call: "
                    "forward returns no next value of it that could be recognised. If it does, "
                    f"name it with --state {source.name}=OUTPUT."
                )


def _form(module: nn.Module, example: Example, run: Run) -> str:
    """Tell how forward treats time; a loop makes more recurrent calls the more steps it gets."""
    if not _has(example, SEQUENCE):
        return "whole" if _fixed_steps(run) > 1 else "step"
    longer = observe(module, example.resized({SEQUENCE: _size(example, SEQUENCE) + 1}))
    return "whole" if len(longer.calls) == len(run.calls) else "loop"


def _fixed_steps(run: Run) -> int:
    """Return the most steps that a layer runs in one call."""
    return max((call.sizes[0] for call in run.calls), default=1)


def _at_one(example: Example) -> Example:
    """Return the example at one step, its sequence axis a constant."""
    shapes = {
        path: tuple(1 if size == SEQUENCE else size for size in shape)
        for path, shape in example.shapes.items()
    }
    return replace(example.resized({SEQUENCE: 1}), shapes=shapes)


@dataclass(frozen=True)
class _Steps:
    """Where the steps are in the data ports of a loop over time.

    Attributes:
        axes: Name of a port → its sequence axis.
        last_only: The outputs that have none.
        flat: Name of an output whose first axis counts steps and sequences together → that axis,
            the outer one first.
    """

    axes: dict[str, int]
    last_only: tuple[str, ...]
    flat: dict[str, str]


def _data_only(origins: Origins, states: Sequence[StatePort]) -> Origins:
    """Leave out the ports of states."""
    ports = {port for state in states for port in (state.input, state.output)}
    kept = [
        {name: path for name, path in paths.items() if name not in ports}
        for paths in (origins.inputs, origins.outputs)
    ]
    return Origins(kept[0], kept[1], origins.unused)


def _loop_steps(module: nn.Module, example: Example, run: Run, origins: Origins) -> _Steps:
    steps, batch = _size(example, SEQUENCE), _size(example, BATCH)
    longer = observe(module, example.resized({SEQUENCE: steps + 1})).results
    axes = {
        name: example.shapes[path].index(SEQUENCE)
        for name, path in origins.inputs.items()
        if path is not None and SEQUENCE in example.shapes.get(path, ())
    }
    last_only: list[str] = []
    flat: dict[str, str] = {}
    for name, path in origins.outputs.items():
        if path is None:
            continue
        old, new = run.results[path], longer[path]
        grown = [axis for axis in range(old.dim()) if old.shape[axis] != new.shape[axis]]
        if not grown:
            last_only.append(name)
        elif len(grown) == 1 and new.shape[grown[0]] == old.shape[grown[0]] + 1:
            axes[name] = grown[0]
        elif grown == [0] and len(new) == len(old) + batch:
            flat[name] = SEQUENCE_OUTER if torch.allclose(new[: len(old)], old) else BATCH_OUTER
            axes[name] = int(flat[name] == BATCH_OUTER)
        else:
            raise UnsupportedModelError(
                f"`{name}` has {tuple(old.shape)} for {steps} steps and {tuple(new.shape)} for "
                f"{steps + 1}: no axis of it counts the steps. Return it with one (torch.stack) "
                "and reshape it outside the model."
            )
    return _Steps(axes, tuple(last_only), flat)


def _merge_axes(model: ir.Model, flat: Mapping[str, str]) -> None:
    """Make one axis of the first two of some outputs."""
    for place, value in enumerate(model.graph.outputs):
        name, shape = value.name or "", value.shape
        if name not in flat or shape is None:
            continue
        sizes = [-1, *(size for size in shape[2:] if isinstance(size, int))]
        tape = ir.tape.Tape(model.graph)
        target = tape.initializer(ir.tensor(sizes, ir.DataType.INT64, name=f"{name}_shape"))
        merged = tape.op("Reshape", [value, target])
        value.name, merged.name, merged.type = f"{name}_unmerged", name, value.type
        merged.shape = ir.Shape([flat[name], *sizes[1:]])
        model.graph.outputs[place] = merged


def _mark_sequence(model: ir.Model, steps: _Steps) -> None:
    """Declare the axes of size 1 that are the sequence as such."""
    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.name in steps.axes and value.name not in steps.flat and value.shape is not None:
            dims = list(value.shape)
            dims[steps.axes[value.name]] = ir.SymbolicDim(SEQUENCE)
            value.shape = ir.Shape(dims)


def _lifted(model: ir.Model, states: Sequence[StatePort], steps: _Steps, form: str) -> Lift:
    pairs = [(state.input, state.output) for state in states]
    try:
        lifted = lift(model, pairs, sequence_axes=steps.axes, last_only=steps.last_only)
    except UnsupportedModelError as error:
        if form == "loop":
            raise UnsupportedModelError(LOOP_CARRIES.format(str(error).rstrip("."))) from error
        raise
    _merge_axes(lifted.model, steps.flat)
    return lifted


def _without_lengths(model: ir.Model, lengths: Collection[str]) -> ir.Model:
    """Drop the inputs that hold lengths, where packing alone has read them; in place."""
    for value in [value for value in model.graph.inputs if value.name in lengths]:
        if value.uses():
            raise UnsupportedModelError(
                f"forward does more with `{value.name}` than to pack: a single step has no lengths."
            )
        model.graph.inputs.remove(value)
    return model


def _bidirectional(model: ir.Model) -> str:
    for node in recurrent_calls(model.graph):
        if node.attributes["bidirectional"].as_int() and _runs_along_sequence(node):
            layer = node.metadata_props["layer"]
            return (
                f"layer `{layer}` is bidirectional: its backward direction starts from the last "
                "step of the sequence."
            )
    return ""


def _runs_along_sequence(node: ir.Node) -> bool:
    """Return whether a layer's own steps are the sequence, or may be."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return True
    size = x.shape[1 if node.attributes["batch_first"].as_int() else 0]
    return isinstance(size, ir.SymbolicDim) and str(size.value) in (SEQUENCE, "None")


def _has(example: Example, symbol: str) -> bool:
    return any(symbol in shape for shape in example.shapes.values())


def _size(example: Example, symbol: str, default: int = 1) -> int:
    for leaf in example.leaves:
        if symbol in leaf.shape:
            return leaf.tensor.shape[leaf.shape.index(symbol)]
    return default
