"""What a module keeps from call to call: found by calling it, and changing what it holds.

    self.past = x[:, -2:]               memory: the next call reads it
    self.calls += 1                     none, where nothing reads it
    self.table = torch.arange(4)        none: a cache that is the same after every call

The module is called several times in a row. The numbers that differ from call to call are changed,
one by one, and what then comes out differently depends on them. Memory is what results depend on,
and what that in turn depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.streaming.attribute_leaves import Leaf, leaves_of, with_leaves
from edgernn.export.streaming.initial_memory import find_initial
from edgernn.export.streaming.memory_probe import (
    Call,
    MemoryProbe,
    Values,
    same_leaf,
    same_results,
    vary,
)
from edgernn.export.streaming.overwritten_attributes import overwritten_attributes
from edgernn.export.streaming.refused_memory import memory_refusal
from edgernn.untrusted_text import first_line

__all__ = ["Memory", "MemoryTensor", "find_memory"]

_CALLS = 12
"""Calls in a row, after which what fills up, such as a list of the last frames, is full."""

_STEADY = 4
"""The last of them, which must be alike."""

_COUNTS = (1, 2, 3, 7, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024, 10_000)
"""Calls after which a forward that counts them may do something else."""


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
        tensors: The tensors, in the order of the attributes.
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
        return _owners(self.values, paths)

    @property
    def numbers(self) -> list[str]:
        """The paths of the attributes that hold numbers of Python's."""
        return _owners(self.values, [one.path for one in self.tensors if one.is_number])


def find_memory(module: nn.Module, example: ExampleCall) -> tuple[Memory | None, ExampleCall]:
    """Return what `module` keeps from call to call, if anything, and the call that fits it.

    A dynamic axis of the example for which the memory does not fit becomes a constant, with a note.

    Raises:
        UnsupportedModelError: The module keeps what cannot be a state; it names the attributes.
    """
    changed = overwritten_attributes(module, example)
    if not changed:
        return None, example
    probe = MemoryProbe(module, changed)
    data = [vary(module, example, seed) for seed in range(_CALLS)]
    try:
        calls = probe.calls(data)
    except Exception as error:
        reason = f"a second call, after the first, fails: {first_line(error)}"
        raise memory_refusal(module, changed, reason) from error
    live = list(_live_leaves(probe, calls, data[-1]))
    if not live:
        return None, example
    _check_steady(module, calls, live)
    values = _steady_values(probe, calls, data[-1], live)
    shapes = _Shapes(probe, example, {path: calls[-1].leaves[path] for path in live})
    if (fixed := shapes.constant(calls[-2].after, data)) is not None:
        axis, size, reason = fixed
        note = f"`{axis}` is the constant {size}: {reason}"
        constant = example.with_constants({axis: size})
        return find_memory(module, replace(constant, notes=(*example.notes, note)))
    initial = find_initial(probe, values, {path: calls[-2].leaves[path] for path in live}, data)
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


def _live_leaves(probe: MemoryProbe, calls: Sequence[Call], example: ExampleCall) -> Iterator[str]:
    """Yield the paths of the numbers that later results depend on, directly or by others."""
    before, base = calls[-2], calls[-1]
    leaves = before.leaves
    last = [one.leaves for one in calls[-_STEADY:]]
    # what has come to rest may depend on data all the same, such as whether a level was ever high
    first = [
        one.leaves for data in _extremes(example) if (one := probe.try_call(data, {})) is not None
    ]
    moving = [
        path
        for path, leaf in leaves.items()
        if not all(path in one and same_leaf(one[path], leaf) for one in last)
        or not all(same_leaf(one[path], first[0][path]) for one in first if path in one)
    ]
    effects = {
        path: _effects(probe, before.after, base, example, path, _step(calls, path))
        for path in moving
    }
    live = {path for path in moving if "" in effects[path]}
    while more := {path for path in moving if effects[path] & live} - live:
        live |= more
    yield from (path for path in moving if path in live)


def _extremes(example: ExampleCall) -> Iterator[ExampleCall]:
    """Yield the example with zeros for its real numbers, with large ones, and negative."""
    for factor in (0, 10, -3):
        yield example.with_tensors(
            {
                one.path: factor * one.tensor
                for one in example.tensors
                if one.tensor.is_floating_point()
            }
        )


def _effects(
    probe: MemoryProbe, values: Values, base: Call, example: ExampleCall, path: str, step: Any
) -> set[str]:
    """Return the paths of the other numbers that depend on one, and "" where results do."""
    leaf = next(
        one for name, value in values.items() for p, one in leaves_of(value, name) if p == path
    )
    found: set[str] = set()
    expected = base.leaves
    for other in _others(leaf, step):
        run = probe.try_call(example, with_leaves(values, {path: other}))
        if run is None or not same_results(run, base):
            return {""}
        got = run.leaves
        found |= {
            one
            for one in expected
            if one != path and not (one in got and same_leaf(got[one], expected[one]))
        }
    return found


def _others(leaf: Leaf, step: Any) -> Iterator[Leaf]:
    """Yield other values for a number: for one that counts, what it will be after more calls."""
    if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool:
        yield ~leaf
    elif isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        generator = torch.Generator().manual_seed(0)
        for scale in (1, 30):
            noise = torch.randn(leaf.shape, generator=generator)
            yield leaf.nan_to_num() + scale * noise.to(leaf.dtype)
    elif isinstance(leaf, bool):
        yield not leaf
    elif isinstance(leaf, float):
        yield from (leaf + 1.37, leaf - 41.0)
    else:
        yield from (leaf + step * calls for count in _COUNTS for calls in (count - 1, count))


def _step(calls: Sequence[Call], path: str) -> Any:
    """Return by how much an integer grows from call to call."""
    last, before = (one.leaves.get(path) for one in (calls[-1], calls[-2]))
    if last is None or before is None or isinstance(last, bool) or isinstance(before, bool):
        return 1
    if isinstance(last, torch.Tensor) or isinstance(before, torch.Tensor):
        return 1
    return (last - before) or 1


def _check_steady(module: nn.Module, calls: Sequence[Call], live: Sequence[str]) -> None:
    """Raise UnsupportedModelError for memory whose shape changes from call to call."""
    seen = [one.leaves for one in calls[-_STEADY:]]
    growing = [
        path
        for path in live
        if len({_shape(one[path]) if path in one else None for one in seen}) > 1
    ]
    if growing:
        reason = "its shape changes from call to call, and a state has a constant one"
        raise memory_refusal(module, _owners(calls[-1].after, growing), reason)


def _steady_values(
    probe: MemoryProbe, calls: Sequence[Call], example: ExampleCall, live: Sequence[str]
) -> Values:
    """Return the attributes that a call must find as earlier calls leave them."""
    before, base = calls[-2].after, calls[-1]
    values = {name: before[name] for name in _owners(before, live)}
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


class _Shapes:
    """The axes of memory that are the batch, found by calls at another size of every axis."""

    def __init__(
        self, probe: MemoryProbe, example: ExampleCall, leaves: Mapping[str, Leaf]
    ) -> None:
        self._probe = probe
        self._example = example
        self._sizes = {path: _shape(leaf) for path, leaf in leaves.items()}
        self._shapes: dict[str, list[int | str]] = {p: [*one] for p, one in self._sizes.items()}

    def of(self, path: str) -> tuple[int | str, ...]:
        """Return the size of every axis, or the name of a dynamic one."""
        return tuple(self._shapes[path])

    def constant(self, values: Values, data: Sequence[ExampleCall]) -> tuple[str, int, str] | None:
        """Return a dynamic axis of the example that must be a constant, its size, and why.

        Raises:
            UnsupportedModelError: Memory grows with another axis than the batch.
        """
        for symbol, size in self._example.sizes.items():
            try:
                other = self._example.resized({symbol: size + 1})
                calls = self._probe.calls([vary(self._probe.module, other, n) for n in range(3)])
            except Exception as error:
                return symbol, size, f"at another size a second call fails ({first_line(error)})."
            for path, sizes in self._sizes.items():
                leaf = calls[-1].leaves.get(path)
                if leaf is None or len(_shape(leaf)) != len(sizes):
                    return symbol, size, f"at another size `self.{path}` has another form."
                for axis, now in enumerate(_shape(leaf)):
                    if now != sizes[axis] and symbol != BATCH:
                        raise memory_refusal(
                            self._probe.module,
                            _owners(values, [path]),
                            f"it grows with `{symbol}`, and of the axes of a state only the batch "
                            "may be dynamic",
                        )
                    if now != sizes[axis]:
                        self._shapes[path][axis] = BATCH
        shared = next(self._shared(values, data), None)
        if shared is None:
            return None
        return BATCH, 1, f"all sequences of a call share `self.{shared}`."

    def _shared(self, values: Values, data: Sequence[ExampleCall]) -> Iterator[str]:
        """Yield memory that is computed from the data of all sequences of a batch together."""
        if BATCH not in self._example.sizes:
            return
        one, other = (self._probe.call(example, values).leaves for example in data[-2:])
        for path, shape in self._shapes.items():
            if BATCH not in shape and not same_leaf(one[path], other[path]):
                yield path


def _is_part(path: str, attribute: str) -> bool:
    return path == attribute or (path.startswith(attribute) and path[len(attribute)] in ".[")


def _owners(values: Values, paths: Sequence[str]) -> list[str]:
    """Return the attributes that hold some numbers."""
    return [name for name in values if any(_is_part(path, name) for path in paths)]


def _same_leaves(one: Call, other: Call, paths: Sequence[str]) -> bool:
    got, wanted = one.leaves, other.leaves
    return all(path in got and same_leaf(got[path], wanted[path]) for path in paths)


def _shape(leaf: Leaf) -> tuple[int, ...]:
    return tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else ()


def _tensor(leaf: Leaf) -> torch.Tensor:
    return leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf)


def _is_same_for_all(one: MemoryTensor) -> bool:
    first = _for_one(one)
    return torch.equal(first.expand_as(one.initial), one.initial)


def _for_one(one: MemoryTensor) -> torch.Tensor:
    """Return the initial value with 1 for the batch axis."""
    axis = one.shape.index(BATCH) if BATCH in one.shape else None
    return one.initial if axis is None else one.initial.narrow(axis, 0, 1)
