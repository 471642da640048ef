"""From somebody else's ONNX file to the two graphs of an artifact, and the reference beside them.

The way is that of a torch module: which axes take other sizes is found out by running the file,
states become ports, recurrent nodes are brought into the form that every runtime takes, and the
step graph is the sequence graph at one time index.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.contract import State
from edgernn.errors import UnsupportedModelError
from edgernn.export.analysis.find_layers import layers_of
from edgernn.export.built import Built
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.chunk_form.chunk_form import ChunkForm, chunk_form
from edgernn.export.foreign.canonicalize import canonicalize_nodes, fold_fills, split_stacked_states
from edgernn.export.foreign.convert_model import convert_opset
from edgernn.export.foreign.file_reference import FileReference
from edgernn.export.foreign.file_states import FileStates, find_file_states
from edgernn.export.foreign.instrumented_file import InstrumentedFile, length_inputs
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import check_weights, sequence_lens_inputs
from edgernn.export.foreign.resolve_file import resolve_file
from edgernn.export.foreign.step_axes import find_step_axes, mark_sequence_axes
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.lift.lift_over_time import LiftedGraph, lift_over_time, scan_note
from edgernn.export.states.contract_ports import Origins, name_ports
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort, pairing_notes
from edgernn.export.step.at_one_step import at_one_step, gemm_form, remove_lengths
from edgernn.export.trace.bounds import Bounds

__all__ = ["build_foreign"]

_LOG = logging.getLogger("edgernn.export")


def build_foreign(
    file: OnnxFile, inputs: Any, pairs: Mapping[str, str | int]
) -> tuple[Built, FileReference]:
    """Return the graphs of an ONNX file, and the file as what they are proven against.

    Args:
        file: The file.
        inputs: Its inputs as specs, arrays or tensors, in order or by name; None to infer them.
        pairs: States named by the user: input → output, by name or place.

    Raises:
        InputError: No inputs were found that the file runs on, or a name is not in it.
        UnsupportedModelError: It has no recurrent state, or cannot be written as the contract asks.
    """
    _LOG.info("finding inputs and axes")
    session, example = resolve_file(file, inputs)
    _LOG.info("building the graphs")
    file, run = session.file, session(example)
    _check_lengths(file, session, example)
    known = file.contract
    known_states = () if known is None else known.states
    known_pairs = {state.input: state.output for state in known_states}
    opened = find_file_states(file, session, example, {**known_pairs, **pairs})
    states = _with_initials(known_states, opened.states)
    limits = {} if known is None else known.limited_states
    by_input = {one.input: limits[one.name] for one in known_states if one.name in limits}
    origins = name_ports(opened.model, states, {**by_input, **example.limits})
    passes.NameFixPass()(opened.model)  # the file may have used our names inside
    held = length_inputs(file)
    lengths = [name for name, path in origins.inputs.items() if path in held]
    is_step = not example.has_sequence and run.most_steps == 1
    notes = [
        *example.notes,
        *(f"`{name}` is an input that the file ignores." for name in origins.unused),
        *pairing_notes(states),
    ]
    model = _plain(file, opened)
    no_step = _no_step(file, model, example, run, opened.backward)
    step_axes: dict[str, int] = {}
    if is_step:
        paths = {path for one in states for path in (one.argument, one.result) if path}
        step_axes = find_step_axes(session, example, paths)
        lifted, model, step_axes = _lift(model, states, origins, step_axes)
        if lifted.reason:
            notes.append(scan_note(lifted.reason))
        sequence = lifted.model
    else:
        sequence = model
        model = _plain(file, opened, lengths=False) if held else model
    form, no_chunks = _chunk_form(file, sequence, bool(no_step) or is_step or bool(held))
    contexts = () if form is None else form.contexts
    step: ir.Model | None
    if form is not None:
        sequence, step, streaming = form.sequence, form.step, form.streaming
    else:
        step, no_step = _step(file, model, no_step, is_step, lengths)
        streaming = Streaming()
        if known is not None:
            streaming = Streaming(known.hop, known.delays, known.tails, known.padding)
    built = Built(
        sequence=sequence,
        step=step,
        no_step=no_step if step is not None else no_chunks or no_step,
        no_chunks=no_chunks,
        streaming=streaming,
        states=(*states, *contexts),
        origins=origins.with_contexts(contexts),
        module=None,
        example=example,
        is_step=is_step,
        carry=not opened.backward and (is_step or example.has_sequence),
        constant_batch=run.batch,
        layers={
            name: len(stack)
            for name, stack in opened.stacks.items()
            if len({index for _, index in stack}) == 1  # states of layers, not h and c of one
        },
        model_layers=layers_of(sequence),
        lengths=dict.fromkeys(lengths, False),
        full_lengths=tuple(
            name
            for name in lengths
            if known is not None and {name, origins.inputs[name]} & {*known.full_lengths}
        ),
        notes=tuple(notes),
        bounds=Bounds() if known is None else Bounds(known.most, known.least),
    )
    return built, _reference(session, opened, built, step_axes)


def _chunk_form(file: OnnxFile, sequence: ir.Model, excluded: bool) -> tuple[ChunkForm | None, str]:
    """Return the graphs with contexts of a file that needs some, or why it has none.

    A graph of an artifact has its contexts already.
    """
    if excluded or file.contract is not None:
        return None, ""
    try:
        return chunk_form(sequence), ""
    except UnsupportedModelError as error:
        return None, str(error)


def _reference(
    session: InstrumentedFile, opened: FileStates, built: Built, step_axes: dict[str, int]
) -> FileReference:
    """Return the file as what its graphs are proven against."""
    paths = {path for path in built.origins.inputs.values() if path}
    arrays = built.example.arrays
    return FileReference(
        session.file,
        instrumented=session,
        opened=opened,
        origins=built.origins,
        unused={path: array for path, array in arrays.items() if path not in paths},
        sequence_axes=built.stacked_axes,
        own_axes=step_axes,
    )


def _no_step(
    file: OnnxFile, model: ir.Model, example: ExampleCall, run: ForwardRun, backward: str
) -> str:
    """Say why there is no step graph, as far as the file tells; nothing where there may be one.

    Raises:
        UnsupportedModelError: The file is one step that ends at lengths.
    """
    held, computed = length_inputs(file), sequence_lens_inputs(file.model.graph)[1]
    if not example.has_sequence and run.most_steps > 1:
        return f"the file fixes its sequences to {run.most_steps} steps."
    if not example.has_sequence and (held or computed):
        raise UnsupportedModelError(
            f"`{file.path}` is one step, which cannot end at the lengths of sequences that "
            f"`{(held + computed)[0]}` gives. Export it without lengths."
        )
    if backward:
        return backward
    if computed:
        return f"its sequences end at lengths that the file computes from `{computed[0]}`."
    if file.contract is not None and file.contract.hop > 1:
        return (
            f"its chunks are whole hops of {file.contract.hop} steps, which cannot be taken apart "
            "again. Export the folder of the artifact, which has one."
        )
    has_scan = any(node.op_type == "Scan" for node in model.graph)
    if file.contract is None or not (held or has_scan):
        return ""
    what = "lengths are" if held else "recurrence is"
    return (
        f"its {what} written in operators that cannot be taken apart into steps. Export the "
        "folder of the artifact in float32, which has one."
    )


def _step(
    file: OnnxFile, model: ir.Model, no_step: str, is_step: bool, lengths: Sequence[str]
) -> tuple[ir.Model | None, str]:
    """Return the step graph, or None and why there is none.

    It is that of an artifact as it is, else that of `model`, one step or a sequence graph in which
    no node reads the inputs `lengths`.
    """
    if file.step is not None:
        step = convert_opset(file.path, file.step)
        fold_constants(step)
        return step, ""
    if no_step:
        return None, no_step
    try:
        if not is_step:
            remove_lengths(model, lengths, "the file", "end its sequences")
            model = at_one_step(model)
        return gemm_form(model), ""
    except UnsupportedModelError as error:
        return None, str(error)


def _with_initials(known: Sequence[State], states: Sequence[StatePort]) -> tuple[StatePort, ...]:
    """Return states with the initial values that a graph of edgernn's has in its metadata."""
    initials = {s.input: s.initial.astype(np.float32) for s in known if s.initial is not None}
    return tuple(
        replace(state, initial=initials.get(state.argument or "", state.initial))
        for state in states
    )


def _lift(
    model: ir.Model, states: Sequence[StatePort], origins: Origins, axes: dict[str, int]
) -> tuple[LiftedGraph, ir.Model, dict[str, int]]:
    """Return a graph of one step lifted over time, the graph without axes of steps, and these axes.

    `axes` are those of size 1 that steps have in the file: name of an input or output → its axis.
    There are none where the graph cannot be written without them.
    """
    ports = {**origins.inputs, **origins.outputs}
    places = {name: axes[path] for name, path in ports.items() if path in axes}
    try:
        model = at_one_step(mark_sequence_axes(model, places)) if axes else model
    except UnsupportedModelError:
        axes, places = {}, {}
    pairs = [(state.input, state.output) for state in states]
    return lift_over_time(model, pairs, sequence_axes=places), model, axes


def _check_lengths(file: OnnxFile, session: InstrumentedFile, example: ExampleCall) -> None:
    """Refuse constant lengths that end before the sequences do; full ones say nothing."""
    for name, (lengths, steps) in session.lengths(example).items():
        if (lengths != steps).any():
            raise UnsupportedModelError(
                f"{name} in `{file.path}` ends its sequences at the constant lengths "
                f"{', '.join(map(str, lengths[:4]))} (sequence_lens) of {steps} steps. Cut the "
                "input to that length and export the model without lengths."
            )


def _plain(file: OnnxFile, opened: FileStates, lengths: bool = True) -> ir.Model:
    """Return the graph in the opset and forms that every runtime takes."""
    model = convert_opset(file.path, opened.model)
    by_name = {state.name: state.input for state in opened.states}
    split_stacked_states(model, {by_name[name]: stack for name, stack in opened.stacks.items()})
    fold_constants(model)
    fold_fills(model)
    check_weights(model, f"`{file.path}`")
    canonicalize_nodes(model, lengths)
    fold_constants(model)
    return model
