"""Files of one step that have an axis for it: which axis that is, found out by running the file."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.foreign.evaluate_values import evaluate
from edgernn.export.foreign.instrumented import Watched
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.recurrent_operators import Input, recurrent_nodes

__all__ = ["mark_steps", "own_axes"]

_STEPS = 3
_MOST = 64


def own_axes(
    file: OnnxFile, watched: Watched, example: ExampleCall, states: Collection[str]
) -> dict[str, int]:
    """Return the axes of size 1 along which a file of one step would take more steps.

    Args:
        file: The file; its sequences have one step each.
        watched: The same, watched.
        example: Inputs that it takes.
        states: Names of its inputs and outputs that are states.

    Returns:
        Name of an input or output → its axis; empty where no axis is that of the steps.
    """
    before = watched(example)
    if not recurrent_nodes(file.model.graph):
        return {}
    for axes in _choices(example, states):
        longer = example.with_axes(dict.fromkeys(axes.items(), _STEPS))
        free = _with_free(file, axes)
        if not _runs_along(free, longer):
            continue
        try:
            grown = _grown(before, Watched(free)(longer), states)
        except Exception:  # the file itself counts on one step behind the layer
            grown = {}
        if grown is not None:
            return {**axes, **grown}
    return {}


def _runs_along(file: OnnxFile, longer: ExampleCall) -> bool:
    """Return whether the first layer of a file has more steps with a longer input."""
    x = recurrent_nodes(file.model.graph)[0].inputs[Input.X]
    assert x is not None
    feeds = {leaf.path: leaf.tensor.numpy() for leaf in longer.tensors}
    try:
        (steps,) = evaluate(file.model, [x], feeds, f"`{file.path}`")
    except Exception:  # onnxruntime's errors have no common base class
        return False
    return bool(steps.shape[0] == _STEPS)


def mark_steps(model: ir.Model, axes: Mapping[str, int]) -> ir.Model:
    """Return a copy of `model` whose ports have the sequence at the axes given by their names."""
    model = model.clone()
    for value in (*model.graph.inputs, *model.graph.outputs):
        axis = axes.get(value.name or "")
        if axis is not None and value.shape is not None:
            dims = list(value.shape)
            dims[axis] = ir.SymbolicDim(SEQUENCE)
            value.shape = ir.Shape(dims)
    return model


def _choices(example: ExampleCall, states: Collection[str]) -> Iterator[dict[str, int]]:
    """Yield sets of axes of size 1, at most one of each input, large sets first."""
    options: list[list[tuple[str, int] | None]] = []
    for leaf in example.tensors:
        if leaf.path not in states:
            found = [(leaf.path, axis) for axis, size in enumerate(leaf.shape) if size == 1]
            options.append([*found, None])
    choices = [[one for one in choice if one] for choice in itertools.product(*options)]
    for choice in sorted(filter(None, choices), key=len, reverse=True)[:_MOST]:
        yield dict(choice)


def _with_free(file: OnnxFile, axes: Mapping[str, int]) -> OnnxFile:
    """Return the file with some axes of its inputs free."""
    model = file.model.clone()
    for value in (*model.graph.inputs, *model.graph.outputs):
        dims = list(value.shape or ())
        axis = axes.get(value.name or "")
        if axis is not None:
            dims[axis] = ir.SymbolicDim(None)
        if value in model.graph.outputs:
            dims = [ir.SymbolicDim(None) for _ in dims]
        value.shape = ir.Shape(dims) if value.shape is not None else None
    return replace(file, model=model)


def _grown(before: ForwardRun, after: ForwardRun, states: Collection[str]) -> dict[str, int] | None:
    """Return the axis of each output that is longer, or None where a state is."""
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
