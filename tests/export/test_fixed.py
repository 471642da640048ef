"""The rules for axes that forward fixes while it is traced."""

from __future__ import annotations

import torch

from edgernn.export.example.call import Example
from edgernn.export.trace.fixed import fixed_axes

EXAMPLE = Example(
    {"x": torch.zeros(2, 5, 4), "mask": torch.zeros(2, 5, dtype=torch.bool)},
    {"x": ("batch", "sequence", 4), "mask": ("batch", "sequence")},
)


def violated(*axes: str) -> str:
    return f"Constraints violated ({', '.join(axes)})! For more information, run with …\n- more"


def test_a_fixed_batch():
    """The batch has an option of its own."""
    assert fixed_axes(EXAMPLE, violated("L['tensors'][0].size()[0]")) == (
        "forward fixes axis 0 of `x` (batch) while it is traced: it branches on that size, or "
        "a loop over it is written out. Give it as a number: --batch 1."
    )


def test_other_fixed_axes():
    """Other axes are given as numbers in the specs of their inputs."""
    failure = violated("L['tensors'][0].size()[1]", "L['tensors'][1].size()[1]")
    assert fixed_axes(EXAMPLE, failure) == (
        "forward fixes axis 1 of `x` (sequence) and axis 1 of `mask` (sequence) while it is "
        "traced: it branches on that size, or a loop over it is written out. "
        'Give it as a number: --input "x:float32[batch,5,4]" --input "mask:bool[batch,5]".'
    )


def test_other_failures():
    """What torch says of anything else stays as it is."""
    assert fixed_axes(EXAMPLE, "Could not guard on data-dependent expression") is None
    assert fixed_axes(EXAMPLE, violated("s0")) is None
