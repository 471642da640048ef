"""Which line first calls an operator."""

from __future__ import annotations

import torch

from edgernn.export.code_lines.source_line import FirstCallMode


def forward(x: torch.Tensor) -> torch.Tensor:
    x = x + 1
    x = x.sin()
    return x.cos().sin()


def test_the_line_of_the_first_call() -> None:
    """Of those that are asked for."""
    with FirstCallMode(lambda operator, _: "sin" in str(operator)) as mode:
        forward(torch.ones(2))
    assert mode.line is not None
    first = forward.__code__.co_firstlineno
    assert (mode.called, mode.line.file, mode.line.number) == ("sin", __file__, first + 2)


def test_without_a_call_there_is_no_line() -> None:
    """Nor a name."""
    with FirstCallMode(lambda operator, result: False) as mode:
        forward(torch.ones(2))
    assert (mode.called, mode.line) == ("", None)
