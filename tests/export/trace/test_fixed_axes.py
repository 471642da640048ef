"""The rules for axes that forward fixes while it is traced."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.explain_failure import explain_failure

EXAMPLE = ExampleCall(
    {"x": torch.zeros(2, 5, 4), "mask": torch.zeros(2, 5, dtype=torch.bool)},
    {"x": ("batch", "sequence", 4), "mask": ("batch", "sequence")},
)


class Pairs(nn.Module):
    """forward takes an even number of sequences."""

    def forward(self, x, mask):
        return x.unflatten(0, (-1, 2)) * mask.unflatten(0, (-1, 2))[..., None]


class Any(nn.Module):
    def forward(self, x, mask):
        return x * mask[..., None]


def fixed(module: nn.Module, *axes: str) -> str:
    said = f"Constraints violated ({', '.join(axes)})! For more information, run with …\n- more"
    message = explain_failure(module, EXAMPLE, ValueError(said))
    return message.removeprefix(f"`{type(module).__name__}` cannot be traced: ")


def test_a_fixed_batch():
    """It is one sequence in the advice, and stands in the specs of all inputs."""
    assert fixed(Any(), "L['tensors'][0].size()[0]") == (
        "forward fixes axis 0 of `x` (batch) while it is traced: it branches on that size, or "
        "loops over it. Give it as a number, such as "
        'inputs=["x:float32[1,sequence,4]", "mask:bool[1,sequence]"].'
    )


def test_a_batch_that_cannot_be_one():
    """Then it is what the example has."""
    said = fixed(Pairs(), "L['tensors'][0].size()[0]")
    assert said.endswith('inputs=["x:float32[2,sequence,4]", "mask:bool[2,sequence]"].')


def test_other_fixed_axes():
    """Other axes are given as numbers in the specs of their inputs."""
    assert fixed(Any(), "L['tensors'][0].size()[1]", "L['tensors'][1].size()[1]") == (
        "forward fixes axis 1 of `x` (sequence) and axis 1 of `mask` (sequence) while it is "
        "traced: it branches on that size, or loops over it. Give it as a number, such as "
        'inputs=["x:float32[batch,5,4]", "mask:bool[batch,5]"].'
    )


def test_other_failures():
    """Other errors of torch are explained by their text."""
    message = explain_failure(Any(), EXAMPLE, ValueError("Could not guard on an expression"))
    assert message == (
        "`Any` cannot be traced: torch fails: ValueError: Could not guard on an expression. Write "
        "that line with torch's functions on tensors, or leave it to the caller."
    )
    assert fixed(Any(), "s0").startswith("torch fails: ValueError: Constraints violated (s0)")
