"""The axes of steps in a file of one step, such as x (batch, 1, 40), found by running the file."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.foreign.instrumented_file import InstrumentedFile, evaluate
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.recurrent_operators import Input, recurrent_nodes

__all__ = ["find_step_axes", "mark_sequence_axes"]

_STEPS = 3
"""How many steps a file of one step is given."""
_MAX_CANDIDATES = 64


def find_step_axes(
    session: InstrumentedFile, example: ExampleCall, states: Collection[str]
) -> dict[str, int]:
    """Return the axes of size 1 that are those of the steps, in a file of one step.

    `states` are the names of its inputs and outputs that are states.

    Returns:
        Name of an input or output → its axis; empty where no axis is that of the steps.
    """
    file, before = session.file, session(example)
    if not recurrent_nodes(file.model.graph):
        return {}
    for axes in _candidate_axes(example, states):
        longer = example.with_axes(dict.fromkeys(axes.items(), _STEPS))
        free = _with_dynamic_axes(file, axes)
        if not _has_more_steps(free, longer):
            continue
        try:
            longer_axes = _longer_outputs(before, InstrumentedFile(free)(longer), states)
        except Exception:  # the file itself needs one step after the layer
            longer_axes = {}
        if longer_axes is not None:
            return {**axes, **longer_axes}
    return {}


def _has_more_steps(file: OnnxFile, longer: ExampleCall) -> bool:
    """Return whether the first layer of a file has as many steps as a longer input."""
    x = recurrent_nodes(file.model.graph)[0].inputs[Input.X]
    assert x is not None
    try:
        (steps,) = evaluate(file.model, [x], longer.arrays, f"`{file.path}`")
    except Exception:  # onnxruntime's errors have no common base class
        return False
    return bool(steps.shape[0] == _STEPS)


def mark_sequence_axes(
    model: ir.Model, axes: Mapping[str, int], symbol: str | None = SEQUENCE
) -> ir.Model:
    """Return a copy of `model` whose ports have the sequence at the axes given by their names."""
    model = model.clone()
    for value in (*model.graph.inputs, *model.graph.outputs):
        axis = axes.get(value.name or "")
        if axis is not None and value.shape is not None:
            dims = list(value.shape)
            dims[axis] = ir.SymbolicDim(symbol)
            value.shape = ir.Shape(dims)
    return model


def _candidate_axes(example: ExampleCall, states: Collection[str]) -> Iterator[dict[str, int]]:
    """Yield sets of axes of size 1, at most one of each input, large sets first."""
    options: list[list[tuple[str, int] | None]] = []
    for leaf in example.tensors:
        if leaf.path not in states:
            found = [(leaf.path, axis) for axis, size in enumerate(leaf.shape) if size == 1]
            options.append([*found, None])
    choices = [[one for one in choice if one] for choice in itertools.product(*options)]
    for choice in sorted(filter(None, choices), key=len, reverse=True)[:_MAX_CANDIDATES]:
        yield dict(choice)


def _with_dynamic_axes(file: OnnxFile, axes: Mapping[str, int]) -> OnnxFile:
    """Return the file with axes of its inputs dynamic, and all axes of its outputs."""
    model = mark_sequence_axes(file.model, axes, symbol=None)
    for value in model.graph.outputs:
        value.shape = None if value.shape is None else ir.Shape([None] * len(value.shape))
    return replace(file, model=model)


def _longer_outputs(
    before: ForwardRun, after: ForwardRun, states: Collection[str]
) -> dict[str, int] | None:
    """Return the axis along which each output is longer, or None where a state is longer."""
    axes: dict[str, int] = {}
    for name, old in before.results.items():
        new = after.results[name]
        both = zip(old.shape, new.shape, strict=False)
        changed = [axis for axis, (size, other) in enumerate(both) if size != other]
        if changed and name in states:
            return None
        if [(old.shape[axis], new.shape[axis]) for axis in changed] == [(1, _STEPS)]:
            axes[name] = changed[0]
    return axes
