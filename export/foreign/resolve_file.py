"""What an ONNX file leaves open: its inputs, their dynamic axes, the branches that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.constant_inputs import (
    choose_networks,
    drop_idle_inputs,
    make_constant,
    split_constants,
)
from edgernn.export.foreign.example_inputs import candidate_examples, declared_specs, given_example
from edgernn.export.foreign.fitted_shapes import FittedShapes
from edgernn.export.foreign.instrumented_file import BranchError, InstrumentedFile
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import check_bodies, check_nodes
from edgernn.export.foreign.resolve_ifs import must_be_resolved, resolve_ifs

__all__ = ["resolve_file"]


def resolve_file(file: OnnxFile, inputs: Any) -> tuple[InstrumentedFile, ExampleCall]:
    """Return the file without constant inputs and resolved Ifs, and the inputs that it takes.

    Where the user gives no `inputs`, they are inferred.

    Raises:
        InputError: No inputs were found that it runs on, or those given do not fit.
        UnsupportedModelError: It holds a form of recurrence or a choice that is refused.
    """
    constants, inputs = split_constants(inputs)
    file, notes = choose_networks(make_constant(file, constants))
    session, example = _example(file, inputs)
    example = replace(example, notes=(*notes, *example.notes))
    file = session.file
    check_nodes(file.model, f"`{file.path}`", file.contract is not None)
    sizes = FittedShapes(session, example)
    fewer = resolve_ifs(file, sizes.runs, lambda _: True)
    fewer, example = drop_idle_inputs(fewer, session, example)
    return session if fewer is file else InstrumentedFile(fewer), example


def _example(file: OnnxFile, inputs: Any) -> tuple[InstrumentedFile, ExampleCall]:
    """Return the user's inputs, or the first that the file runs on with the most dynamic axes.

    With them comes the file, without the Ifs around its recurrent nodes.
    """
    if file.contract is not None and not inputs:
        inputs = declared_specs(file)
    if inputs is not None and (not isinstance(inputs, Sequence) or inputs):
        return _try_example(file, given_example(file, inputs))
    best: tuple[InstrumentedFile, ExampleCall] | None = None
    failure: InputError | None = None
    for candidate in candidate_examples(file):
        try:
            session, example = _try_example(file, candidate)
        except InputError as error:
            failure = failure or error
            continue
        if best is None or _dynamic_count(example) > _dynamic_count(best[1]):
            best = session, _with_notes_of_guesses(file, example)
        if _dynamic_count(best[1]) == (1, 1):
            break
    if best is None:
        assert failure is not None
        raise InputError(
            f"No inputs were found that `{file.path}` runs on. {failure} "
            'Describe them: --input "x:float32[batch,sequence,40]".'
        )
    return best


def _try_example(file: OnnxFile, example: ExampleCall) -> tuple[InstrumentedFile, ExampleCall]:
    """Resolve the file's Ifs by one example, and find its dynamic axes."""
    try:
        file = resolve_ifs(file, [example.arrays], must_be_resolved)
    except Exception as error:  # onnxruntime's errors have no common base class
        given = ", ".join(str(leaf) for leaf in example.tensors)
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"`{file.path}` fails on {given}: {reason}") from error
    check_bodies(file.model, f"`{file.path}`")
    session = InstrumentedFile(file)
    return session, _same_branches(session, find_dynamic_axes(session, example))


def _with_notes_of_guesses(file: OnnxFile, example: ExampleCall) -> ExampleCall:
    """Return the example with a note for each constant size that the file does not declare."""
    notes = list(example.notes)
    ports = {value.name: value.shape or () for value in file.model.graph.inputs}
    for leaf in example.tensors:
        for axis, (declared, size) in enumerate(zip(ports[leaf.path], leaf.shape, strict=True)):
            known = any(f"Axis {axis} of `{leaf.path}`" in note for note in notes)
            if isinstance(declared, int) or isinstance(size, str) or size == 1 or known:
                continue
            notes.append(
                f"Axis {axis} of `{leaf.path}` is the constant {size}, a guess: the file runs at "
                "it, but not at all sizes, and does not tell which one it was trained with. If "
                f'that is another, give it: --input "{leaf}".'
            )
    return replace(example, notes=tuple(notes))


def _same_branches(session: InstrumentedFile, example: ExampleCall) -> ExampleCall:
    """Return the example with the axes constant that take another branch of an If at size 1."""
    for symbol in example.sizes:
        try:
            session(example.resized({symbol: 1}))
        except BranchError as error:
            leaf = next(leaf for leaf in example.tensors if symbol in leaf.shape)
            axis = leaf.shape.index(symbol)
            size = leaf.tensor.shape[axis]
            note = (
                f"Axis {axis} of `{leaf.path}` ({symbol}) is the constant {size}: at 1 the file "
                f"is another ({error})."
            )
            fixed = replace(example, constants={symbol: size}).with_constant_axes()
            example = replace(fixed, constants=example.constants, notes=(*example.notes, note))
        except Exception:
            continue
    return example


def _dynamic_count(example: ExampleCall) -> tuple[int, int]:
    symbols = {symbol for shape in example.shapes.values() for symbol in shape}
    return int(SEQUENCE in symbols), int(BATCH in symbols)
