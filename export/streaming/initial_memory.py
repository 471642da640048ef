"""What the memory of a module starts from, as tensors of the shape that later calls find.

A module may hold nothing before its first call, and make what it starts from:

    if self.level is None:
        self.level = self.start.expand(len(x), -1)

Every tensor of that shape that the first call sees or makes, whatever the data, may be it, and so
may zeros. It is what gives the same results and the same memory as the first call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import attributes_of, same_content
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.streaming.attribute_leaves import Leaf, leaves_of, with_leaves
from edgernn.export.streaming.memory_probe import Call, MemoryProbe, Values
from edgernn.export.streaming.refused_memory import memory_refusal

__all__ = ["check_finite", "find_initial"]

_MOST = 12
"""Values that are tried for one tensor."""

_MOST_TOGETHER = 300
"""Values that are tried for all of them together."""

_DATA = 3


def find_initial(
    probe: MemoryProbe, values: Values, leaves: Mapping[str, Leaf], data: Sequence[ExampleCall]
) -> dict[str, torch.Tensor]:
    """Return what each tensor of memory starts from, at the example's batch.

    Args:
        probe: The module.
        values: The attributes that hold the memory, as they are after some calls.
        leaves: The memory among them.
        data: Calls of the module.

    Raises:
        UnsupportedModelError: No value gives what the first call gives, for all data.
    """
    examples = data[:_DATA]
    first = [probe.call(example, {}) for example in examples]
    found = _Candidates(probe, values, leaves, examples).by_path()
    tried = itertools.islice(itertools.product(*found.values()), _MOST_TOGETHER)
    for combination in tried:
        start = dict(zip(found, combination, strict=True))
        chosen = with_leaves(values, start)
        if all(
            (run := probe.try_call(example, chosen)) is not None and _agrees(run, one, leaves)
            for example, one in zip(examples, first, strict=True)
        ):
            return {path: torch.as_tensor(value).clone() for path, value in start.items()}
    names = [n for n in values if any(p == n or p.startswith((f"{n}.", f"{n}[")) for p in leaves)]
    reason = "the first call starts from what no tensor gives for all data"
    raise memory_refusal(probe.module, names, reason)


def check_finite(module: nn.Module, initial: Mapping[str, torch.Tensor]) -> None:
    """Check that memory starts from numbers that a contract can hold.

    Raises:
        UnsupportedModelError: A tensor starts from NaN or infinity; it names the tensors.
    """
    names = [path for path, value in initial.items() if not value.isfinite().all()]
    if names:
        reason = "it starts from NaN or infinity, which no contract holds"
        raise memory_refusal(module, names, reason, "Start from finite numbers, such as 1e30.")


class _Candidates:
    """The values that memory may start from."""

    def __init__(
        self,
        probe: MemoryProbe,
        values: Values,
        leaves: Mapping[str, Leaf],
        examples: Sequence[ExampleCall],
    ) -> None:
        self._leaves = leaves
        held = attributes_of(probe.module)
        self._rest = {
            path: leaf
            for name in values
            if name in held
            for path, leaf in leaves_of(held[name], name)
        }
        shapes = {one.shape for one in leaves.values() if isinstance(one, torch.Tensor)}
        one, other = (_seen(probe, example, shapes) for example in examples[:2])
        self._seen = [t for t in one if any(same_content(t, u) for u in other)]
        parts = (*probe.module.parameters(), *probe.module.buffers())
        self._held = [part.detach() for part in parts]

    def by_path(self) -> dict[str, list[Leaf]]:
        """Return the values to try for each tensor, the likeliest first."""
        return {path: list(self._of(path, leaf)) for path, leaf in self._leaves.items()}

    def _of(self, path: str, leaf: Leaf) -> Iterator[Leaf]:
        if not isinstance(leaf, torch.Tensor):
            yield from [self._rest[path]] if path in self._rest else [type(leaf)()]
            return
        rest = self._rest.get(path)
        zeros = torch.zeros_like(leaf)
        given = [] if rest is None else [torch.as_tensor(rest)]
        found: list[torch.Tensor] = []
        for one in (*given, zeros, *self._seen, *self._held, zeros + 1):
            spread = _spread(one, leaf)
            if spread is not None and not any(same_content(spread, other) for other in found):
                found.append(spread)
                yield spread
            if len(found) == _MOST:
                return


class _Watch(TorchFunctionMode):
    """Keeps copies of the tensors of some shapes that functions of torch take and return."""

    def __init__(self, shapes: set[torch.Size]) -> None:
        super().__init__()
        self._shapes = shapes
        self.seen: list[torch.Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for _, tensor in (*tensor_leaves(args), *tensor_leaves(result)):
            if tensor.shape in self._shapes:
                self.seen.append(tensor.detach().clone())
        return result


def _seen(probe: MemoryProbe, example: ExampleCall, shapes: set[torch.Size]) -> list[torch.Tensor]:
    """Return what functions of torch take and return in the first call, of some shapes."""
    watch = _Watch(shapes)
    probe.call(example, {}, lambda: watch)
    return watch.seen


def _spread(value: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor | None:
    """Return a value in the shape and dtype of `leaf`, or None where it does not fit."""
    try:
        return value.expand(leaf.shape).to(leaf.dtype).clone()
    except RuntimeError:
        return None


def _agrees(run: Call, first: Call, paths: Mapping[str, Leaf]) -> bool:
    """Return whether a call gives the results and the memory that the first call gives.

    Memory that the first call leaves smaller is spread over the batch, as in arithmetic.
    """
    got, wanted = run.leaves, first.leaves
    pairs: list[tuple[Leaf | None, Leaf | None]] = []
    pairs += [(run.results.get(path), one) for path, one in first.results.items()]
    pairs += [(one := got.get(path), _as(wanted[path], one)) for path in paths if path in wanted]
    return all(
        one is not None and other is not None and _is_close(one, other) for one, other in pairs
    )


def _as(value: Leaf, leaf: Leaf | None) -> Leaf | None:
    """Return a value in the shape of `leaf`, where both are tensors."""
    if isinstance(value, torch.Tensor) and isinstance(leaf, torch.Tensor):
        return _spread(value, leaf)
    return value


def _is_close(one: Leaf, other: Leaf) -> bool:
    a, b = torch.as_tensor(one), torch.as_tensor(other)
    return a.shape == b.shape and bool(
        torch.allclose(a.double(), b.double(), 1e-5, 1e-6, equal_nan=True)
    )
