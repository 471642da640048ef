"""Which lines of the model's code run at one size only."""

from __future__ import annotations

import sys

import torch

from edgernn.export.code_lines.new_lines import first_new_line


def double_many(x: torch.Tensor) -> torch.Tensor:
    total = x[0]
    for step in range(1, len(x)):
        total = total + x[step] if step < 3 else 2 * total
    return total


def test_a_part_of_a_line_counts() -> None:
    """A condition inside a line takes its other side from the fourth step on."""
    line = double_many.__code__.co_firstlineno + 3
    few, three, four = (torch.ones(size) for size in (2, 3, 4))
    found = first_new_line(lambda: double_many(three), lambda: double_many(four))
    assert found is not None
    assert (found.file, found.number) == (__file__, line)
    assert found.code == "total = total + x[step] if step < 3 else 2 * total"
    assert first_new_line(lambda: double_many(few), lambda: double_many(three)) is None


def test_a_tracer_of_others_is_put_back() -> None:
    """Such as that of a debugger, also after a failure."""
    before = sys.gettrace()
    first_new_line(lambda: None, lambda: None)
    assert sys.gettrace() is before
