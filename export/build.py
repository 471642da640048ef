"""The two graphs of a model: from a torch module to the sequence graph and the step graph.

A forward that takes whole sequences is traced as it is, and its step graph is the same graph at one
time index. A forward that is one step, or that loops over time in Python, is traced at one step,
and its sequence graph is that step lifted over time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir
import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.inputs import Example, Run, observe
from edgernn.export.layers import length_ports, lower, recurrent_calls
from edgernn.export.lift import lift
from edgernn.export.ports import Origins, name_ports
from edgernn.export.projection import scan_projection
from edgernn.export.states import StatePort, find_states, layer_names
from edgernn.export.step import at_one_step, gemm_form
from edgernn.export.trace import fold, trace

__all__ = ["Built", "build"]


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
        one_step: Whether forward is itself one step, without a sequence axis.
        bidirectional: Whether a layer runs backward too.
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
    one_step: bool
    bidirectional: bool
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
    one_step = not _has(example, SEQUENCE)
    looped = not one_step and _is_loop(module, example, run)
    traced = _at_one(example) if looped else example
    model = trace(module, traced)
    layer_names(model)
    _check_recurrent(model, pairs)
    bidirectional = _bidirectional(model)
    calls = observe(module, traced).calls
    states = find_states(model, calls, pairs)
    origins = name_ports(model, states)
    lengths = length_ports(model.graph)
    notes = (
        *example.notes,
        *(f"`{name}` is an input that forward ignores." for name in origins.unused),
    )
    every_step = model.clone() if lengths else model
    if lengths:
        lower(every_step, lengths=False)
        _drop_inputs(every_step, lengths)
    lower(model)
    for one in (model, every_step):
        fold(one)
    if one_step or looped:
        axes, last_only = None, ()
        if looped:
            axes, last_only = _sequence_axes(module, example, run, origins)
            _mark_sequence(model, axes)
            model = at_one_step(model)
        lifted = lift(
            model, [(s.input, s.output) for s in states], sequence_axes=axes, last_only=last_only
        )
        if lifted.form == "scan":
            notes += (f"The sequence graph is a Scan: {lifted.reason}.",)
        sequence, single, no_step = lifted.model, model, ""
    else:
        sequence, single, no_step = scan_projection(model), None, bidirectional
        if not bidirectional:
            try:
                single = at_one_step(every_step)
            except UnsupportedModelError as error:
                no_step = str(error)
    step = None if single is None else gemm_form(single)
    batch = run.calls[0].sizes[1] if run.calls else 1
    ordered = any(call.batch_sizes is not None and call.order is None for call in run.calls)
    return Built(
        sequence,
        step,
        no_step,
        states,
        origins,
        traced,
        one_step,
        bool(bidirectional),
        batch,
        {state.name: calls[state.call].num_layers for state in states if state.call is not None},
        dict.fromkeys(lengths, ordered),
        notes,
    )


def _is_loop(module: nn.Module, example: Example, run: Run) -> bool:
    """Return whether forward makes more recurrent calls the more steps it is given."""
    longer = observe(module, example.resized({SEQUENCE: _size(example, SEQUENCE) + 1}))
    return len(longer.calls) != len(run.calls)


def _at_one(example: Example) -> Example:
    """Return the example at one step, its sequence axis a constant."""
    shapes = {
        path: tuple(1 if size == SEQUENCE else size for size in shape)
        for path, shape in example.shapes.items()
    }
    return replace(example.resized({SEQUENCE: 1}), shapes=shapes)


def _sequence_axes(
    module: nn.Module, example: Example, run: Run, origins: Origins
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the sequence axis of each data port of a loop, and the outputs that have none."""
    steps = _size(example, SEQUENCE)
    longer = observe(module, example.resized({SEQUENCE: steps + 1})).results
    shapes = {path: shape for path, shape in example.shapes.items() if SEQUENCE in shape}
    axes = {
        name: shapes[path].index(SEQUENCE)
        for name, path in origins.inputs.items()
        if path in shapes
    }
    last_only: list[str] = []
    for name, path in origins.outputs.items():
        if path is None or name in {f"{n}" for n in axes}:
            continue
        old, new = run.results[path].shape, longer[path].shape
        grown = [axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        if not grown:
            last_only.append(name)
        elif len(grown) == 1 and new[grown[0]] == old[grown[0]] + 1:
            axes[name] = grown[0]
        else:
            raise UnsupportedModelError(
                f"`{name}` mixes steps and sequences in one axis: {tuple(old)} for {steps} steps, "
                f"{tuple(new)} for {steps + 1}. Return it with an axis for the steps "
                "(torch.stack) and reshape it outside the model."
            )
    return axes, tuple(last_only)


def _mark_sequence(model: ir.Model, axes: Mapping[str, int]) -> None:
    """Declare the axes of size 1 that are the sequence as such."""
    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.name in axes and value.shape is not None:
            dims = list(value.shape)
            dims[axes[value.name]] = ir.SymbolicDim(SEQUENCE)
            value.shape = ir.Shape(dims)


def _drop_inputs(model: ir.Model, names: Collection[str]) -> None:
    """Drop inputs that nothing reads any more."""
    model.graph.inputs[:] = [
        value for value in model.graph.inputs if value.uses() or value.name not in names
    ]


def _check_recurrent(model: ir.Model, pairs: Mapping[str, str | int]) -> None:
    if recurrent_calls(model.graph) or pairs:
        return
    raise UnsupportedModelError(
        "The model has no recurrent layer: forward calls none of nn.LSTM, nn.GRU, nn.RNN and "
        "their cells. If it is one step of a recurrence of its own, name its state: "
        "--state INPUT=OUTPUT. A model without state needs torch.onnx.export only."
    )


def _bidirectional(model: ir.Model) -> str:
    for node in recurrent_calls(model.graph):
        if node.attributes["bidirectional"].as_int():
            layer = node.metadata_props["layer"]
            return (
                f"layer `{layer}` is bidirectional: its backward direction starts from the last "
                "step of the sequence."
            )
    return ""


def _has(example: Example, symbol: str) -> bool:
    return any(symbol in shape for shape in example.shapes.values())


def _size(example: Example, symbol: str, default: int = 1) -> int:
    for leaf in example.leaves:
        if symbol in leaf.shape:
            return leaf.tensor.shape[leaf.shape.index(symbol)]
    return default
