"""What an ONNX file leaves open, settled: its inputs, their axes, the branches that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.constant_inputs import (
    split_constants,
    with_chosen,
    with_constants,
    without_idle,
)
from edgernn.export.foreign.example_inputs import declared_specs, examples_of, given_example
from edgernn.export.foreign.instrumented import BranchError, Watched
from edgernn.export.foreign.measured_shapes import Sizes
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.foreign.recurrent_nodes import check_bodies, check_nodes
from edgernn.export.foreign.resolve_ifs import must_be_decided, without_ifs

__all__ = ["settled"]


def settled(file: OnnxFile, inputs: Any) -> tuple[OnnxFile, Watched, ExampleCall]:
    """Return the file without the inputs and Ifs that are settled, and the inputs that it takes."""
    constants, inputs = split_constants(inputs)
    file, notes = with_chosen(with_constants(file, constants))
    file, watched, example = _example(file, inputs)
    example = replace(example, notes=(*notes, *example.notes))
    check_nodes(file.model, f"`{file.path}`", file.contract is not None)
    sizes = Sizes(watched, example)
    fewer = without_ifs(file, sizes.runs, lambda _: True)
    fewer, example = without_idle(fewer, watched, example)
    return (file, watched, example) if fewer is file else (fewer, Watched(fewer), example)


def _example(file: OnnxFile, inputs: Any) -> tuple[OnnxFile, Watched, ExampleCall]:
    """Return the user's inputs, or the first ones that the file runs on with the most axes free.

    With them come the file, which has lost the Ifs around its recurrent nodes, and its watch.
    """
    if file.contract is not None and not inputs:
        inputs = declared_specs(file)
    if inputs is not None and (not isinstance(inputs, Sequence) or inputs):
        return _tried(file, given_example(file, inputs))
    best: tuple[OnnxFile, Watched, ExampleCall] | None = None
    failure: InputError | None = None
    for candidate in examples_of(file):
        try:
            found = _tried(file, candidate)
            found = *found[:2], _with_guesses(file, found[2])
        except InputError as error:
            failure = failure or error
            continue
        if best is None or _free(found[2]) > _free(best[2]):
            best = found
        if _free(best[2]) == (1, 1):
            break
    if best is None:
        assert failure is not None
        raise InputError(
            f"No inputs were found that `{file.path}` runs on. {failure} "
            'Describe them: --input "x:float32[batch,sequence,40]".'
        )
    return best


def _tried(file: OnnxFile, example: ExampleCall) -> tuple[OnnxFile, Watched, ExampleCall]:
    """Decide the file's Ifs by one example, and find out which of its axes take other sizes."""
    feeds = {leaf.path: leaf.tensor.numpy() for leaf in example.tensors}
    try:
        file = without_ifs(file, [feeds], must_be_decided)
    except Exception as error:  # onnxruntime's errors have no common base class
        given = ", ".join(str(leaf) for leaf in example.tensors)
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"`{file.path}` fails on {given}: {reason}") from error
    check_bodies(file.model, f"`{file.path}`")
    watched = Watched(file)
    return file, watched, _same_branches(watched, find_dynamic_axes(watched, example))


def _with_guesses(file: OnnxFile, example: ExampleCall) -> ExampleCall:
    """Return the example with a note for each axis of one size that the file does not tell."""
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


def _same_branches(watched: Watched, example: ExampleCall) -> ExampleCall:
    """Return the example with the axes constant at which 1 takes another branch of an If."""
    for symbol in example.sizes:
        try:
            watched(example.resized({symbol: 1}))
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


def _free(example: ExampleCall) -> tuple[int, int]:
    symbols = {symbol for shape in example.shapes.values() for symbol in shape}
    return int(SEQUENCE in symbols), int(BATCH in symbols)
