"""What a module keeps from call to call: found by calling it, and changing what it holds.

    self.past = x[:, -2:]               memory: the next call reads it
    self.calls += 1                     none, where nothing reads it
    self.table = torch.arange(4)        none: a cache that is the same after every call

The module is called several times in a row; memory is what later results depend on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import same_content
from edgernn.export.streaming.attribute_leaves import Leaf, owners_of, shape_of
from edgernn.export.streaming.initial_memory import check_finite, find_initial
from edgernn.export.streaming.live_leaves import CALLS, STEADY, extremes, live_leaves
from edgernn.export.streaming.memory_axes import MemoryAxes
from edgernn.export.streaming.memory_probe import (
    Call,
    MemoryProbe,
    Values,
    same_leaf,
    same_results,
    vary,
)
from edgernn.export.streaming.other_memory import check_only_numbers_matter
from edgernn.export.streaming.overwritten_attributes import overwritten_attributes
from edgernn.export.streaming.refused_memory import memory_refusal
from edgernn.untrusted_text import first_line

__all__ = ["Memory", "MemoryTensor", "find_memory"]


@dataclass(frozen=True)
class MemoryTensor:
    """One tensor that a module keeps from call to call.

    Attributes:
        path: Its path on the module, such as `encoder.hidden[0]`.
        initial: What the first call starts from, with 1 for the batch axis.
        shape: Per axis its size, or `batch`.
        dtype: The dtype that the module holds it in.
        is_number: Whether that is a number of Python's.
    """

    path: str
    initial: torch.Tensor
    shape: tuple[int | str, ...]
    dtype: torch.dtype
    is_number: bool = False


@dataclass(frozen=True)
class Memory:
    """What a module keeps from call to call.

    Attributes:
        tensors: The tensors, in the order of the attributes; none where later results depend on
            none of the numbers that forward changes.
        values: The attributes that hold them, and others that must have another value than before
            the first call, as they are after some calls.
        changed: The paths of all attributes that forward gives new values.
    """

    tensors: tuple[MemoryTensor, ...]
    values: Values
    changed: tuple[str, ...]

    @property
    def attributes(self) -> list[str]:
        """The paths of the attributes that hold the tensors."""
        paths = [one.path for one in self.tensors]
        return owners_of(self.values, paths)

    @property
    def numbers(self) -> list[str]:
        """The paths of the attributes that hold numbers of Python's."""
        return owners_of(self.values, [one.path for one in self.tensors if one.is_number])


def find_memory(module: nn.Module, example: ExampleCall) -> tuple[Memory | None, ExampleCall]:
    """Return what `module` keeps from call to call, and the call that fits it.

    The result is None where forward gives no attribute another value.

    A dynamic axis of the example for which the memory does not fit becomes a constant, with a note.

    Raises:
        UnsupportedModelError: The module keeps what cannot be a state; it names the attributes.
    """
    changed = _changed(module, example)
    if not changed:
        return None, example
    probe = MemoryProbe(module, changed)
    data = [vary(module, example, seed) for seed in range(CALLS)]
    try:
        calls = probe.calls(data)
    except Exception as error:
        reason = f"a second call, after the first, fails: {first_line(error)}"
        raise memory_refusal(module, changed, reason) from error
    live = list(live_leaves(probe, calls, data))
    if not live:
        check_only_numbers_matter(probe, calls, data)
        return Memory((), {}, tuple(changed)), example
    _check_steady(module, calls, live)
    _check_real(module, calls[-1], live)
    values = _steady_values(probe, calls, data[-1], live)
    shapes = MemoryAxes(probe, example, {path: calls[-1].leaves[path] for path in live})
    if (fixed := shapes.constant(calls[-2].after, data)) is not None:
        axis, size, reason = fixed
        note = f"`{axis}` is the constant {size}: {reason}"
        constant = example.with_constants({axis: size})
        return find_memory(module, replace(constant, notes=(*example.notes, note)))
    initial = find_initial(probe, values, {path: calls[-2].leaves[path] for path in live}, data)
    check_finite(module, initial)
    tensors = tuple(
        MemoryTensor(
            path,
            initial[path],
            shapes.of(path),
            _tensor(leaf).dtype,
            not isinstance(leaf, torch.Tensor),
        )
        for path in live
        for leaf in (calls[-1].leaves[path],)
    )
    uneven = [one for one in tensors if not _is_same_for_all(one)]
    if uneven:
        path, size = uneven[0].path, example.sizes[BATCH]
        note = (
            f"`{BATCH}` is the constant {size}: `self.{path}` starts from another value for each "
            "sequence."
        )
        constant = example.with_constants({BATCH: size})
        return find_memory(module, replace(constant, notes=(*example.notes, note)))
    narrowed = tuple(replace(one, initial=_for_one(one)) for one in tensors)
    return Memory(narrowed, values, tuple(changed)), example


def _changed(module: nn.Module, example: ExampleCall) -> list[str]:
    """Return the attributes that calls give other values: the first one, later ones, large data."""
    found = dict.fromkeys(overwritten_attributes(module, example))
    later = [(example,) * CALLS] if found else []  # such as a chain of values, all equal at first
    for row in (*later, *((one,) for one in extremes(example))):
        with contextlib.suppress(Exception):
            found |= dict.fromkeys(overwritten_attributes(module, *row))
    return list(found)


def _check_steady(module: nn.Module, calls: Sequence[Call], live: Sequence[str]) -> None:
    """Raise UnsupportedModelError for memory whose shape changes from call to call."""
    seen = [one.leaves for one in calls[-STEADY:]]
    growing = [
        path
        for path in live
        if len({shape_of(one[path]) if path in one else None for one in seen}) > 1
    ]
    if growing:
        reason = "its shape changes from call to call, and a state has a constant one"
        raise memory_refusal(module, owners_of(calls[-1].after, growing), reason)


def _check_real(module: nn.Module, call: Call, live: Sequence[str]) -> None:
    """Raise UnsupportedModelError for complex memory."""
    if found := [path for path in live if _tensor(call.leaves[path]).is_complex()]:
        raise memory_refusal(
            module,
            owners_of(call.after, found),
            "the numbers of a state are real",
            "Keep `torch.view_as_real(z)`, and read it with `torch.view_as_complex`.",
        )


def _steady_values(
    probe: MemoryProbe, calls: Sequence[Call], example: ExampleCall, live: Sequence[str]
) -> Values:
    """Return the attributes that a call must find as earlier calls leave them."""
    before, base = calls[-2].after, calls[-1]
    values = {name: before[name] for name in owners_of(before, live)}
    run = probe.try_call(example, values)
    if run is not None and same_results(run, base) and _same_leaves(run, base, live):
        return values
    for name in before:
        if name not in values:
            less = {one: value for one, value in before.items() if one != name}
            run = probe.try_call(example, less)
            if run is None or not (same_results(run, base) and _same_leaves(run, base, live)):
                values[name] = before[name]
    return values


def _same_leaves(one: Call, other: Call, paths: Sequence[str]) -> bool:
    got, wanted = one.leaves, other.leaves
    return all(path in got and same_leaf(got[path], wanted[path]) for path in paths)


def _tensor(leaf: Leaf) -> torch.Tensor:
    return leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf)


def _is_same_for_all(one: MemoryTensor) -> bool:
    first = _for_one(one)
    return same_content(first.expand_as(one.initial), one.initial)


def _for_one(one: MemoryTensor) -> torch.Tensor:
    """Return the initial value with 1 for the batch axis."""
    axis = one.shape.index(BATCH) if BATCH in one.shape else None
    return one.initial if axis is None else one.initial.narrow(axis, 0, 1)
