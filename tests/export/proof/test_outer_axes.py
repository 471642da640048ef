"""The rules for outputs that count batch and sequence in one axis."""

from __future__ import annotations

from typing import Any

import pytest

from edgernn.export.proof.outer_axes import find_outer_axes
from tests.nets.running_sum import WIDTH, contract, running_sum, sampler


@pytest.mark.parametrize("outer", ["batch*sequence", "sequence*batch"])
@pytest.mark.parametrize("declared", ["batch*sequence", "sequence*batch"])
def test_the_outer_axis_is_found_out(declared, outer):
    """Which of the two is outside shows in the numbers, whatever the trace called the axis."""

    def flat(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        return (y if outer[0] == "b" else y.swapaxes(0, 1)).reshape(-1, WIDTH), h

    assert find_outer_axes(sampler(flat, contract(y=(declared, WIDTH)))) == {"output": outer}


def test_other_outputs_have_no_outer_axis():
    """Where batch and sequence are axes of their own, there is nothing to find out."""
    assert find_outer_axes(sampler()) == {}
