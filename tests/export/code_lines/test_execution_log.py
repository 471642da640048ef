"""What the model's code did, line by line."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from edgernn.export.code_lines.execution_log import (
    first_new_line,
    growing_loops,
    iterations_of,
    log_execution,
)

WEIGHT = nn.Parameter(torch.ones(3))


def accumulate(x: Tensor) -> Tensor:
    total = torch.zeros(3)
    for t in range(x.shape[0]):
        total = total + WEIGHT * x[t]
    for _ in range(2):
        total = total * 2
    return total


FIRST = accumulate.__code__.co_firstlineno


def log(steps: int):
    return log_execution(lambda: accumulate(torch.ones(steps, 3)))


def test_lines_and_calls_in_order() -> None:
    """Each line as it begins, then the functions of torch that it calls."""
    entries = log(1)
    assert [entry.function for entry in entries if entry.line.number == FIRST + 3] == [
        "",
        "__getitem__",
        "mul",
        "add",
    ]
    step, product = (
        next(entry for entry in entries if entry.function == name)
        for name in ("__getitem__", "mul")
    )
    assert (step.numbers, step.shapes) == ((0,), ((1, 3),))
    assert product.weights == (id(WEIGHT),)


def test_a_loop_grows_with_the_size() -> None:
    """One over a constant range does not."""
    (loop,) = growing_loops({size: log(size) for size in (2, 5)})
    assert (loop.line.number, loop.end) == (FIRST + 2, FIRST + 3)


def test_iterations_of_a_loop() -> None:
    """Without the line of the loop itself."""
    (loop,) = growing_loops({size: log(size) for size in (2, 5)})
    iterations = iterations_of(log(5), loop)
    assert len(iterations) == 5
    assert {entry.line.number for entry in iterations[0]} == {FIRST + 3}


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
