"""Memory that is not in numbers: a text, the length of a list, whether a call is the first.

if self.phase == "start": …            a call reads what no tensor can hold
y = y / len(self.log)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.streaming.memory_probe import Call, MemoryProbe
from edgernn.export.streaming.refused_memory import memory_refusal

__all__ = ["check_only_numbers_matter"]

_REASON = (
    "later results depend on something other than numbers that change from call to call, such as "
    "a text, the length of a list, an array of NumPy, or whether a call is the first"
)
_REMEDY = (
    "Keep a tensor instead, such as the number of calls, and choose with "
    "torch.where(condition, a, b)."
)


def check_only_numbers_matter(
    probe: MemoryProbe, calls: Sequence[Call], data: Sequence[ExampleCall]
) -> None:
    """Check that calls in a row return what each of them returns as the first one.

    Args:
        probe: The module, in which no number that forward changes matters.
        calls: Calls of it in a row.
        data: The arguments of each call.

    Raises:
        UnsupportedModelError: Later results depend on something else; it names the attributes.
    """
    for before, later, example in zip(calls, calls[1:], data[1:], strict=False):
        if not _is_close(probe.call(example, {}), later):
            names = [
                name
                for name, value in before.after.items()
                if (run := probe.try_call(example, {name: value})) is None
                or not _is_close(run, probe.call(example, {}))
            ]
            raise memory_refusal(probe.module, names or [*before.after], _REASON, _REMEDY)


def _is_close(one: Call, other: Call) -> bool:
    """Return whether two calls returned the same, but for rounding."""
    return list(one.results) == list(other.results) and all(
        tensor.shape == other.results[path].shape
        and torch.allclose(tensor.double(), other.results[path].double(), equal_nan=True)
        for path, tensor in one.results.items()
    )
