"""The rules for whether a model can go on from a state."""

from __future__ import annotations

from typing import Any

from edgernn.export.proof.carry import why_not_carried
from tests.nets.running_sum import running_sum, sampler


def test_a_model_of_the_past_can_be_carried_on():
    """Outputs that depend on the steps so far come out the same in parts."""
    assert why_not_carried(sampler()) == ""


def test_a_model_that_looks_ahead_cannot_be_carried_on():
    """A mean over time is another one over a part of the time."""

    def centred(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        return y - y.mean(1, keepdims=True), h

    reason = why_not_carried(sampler(centred))
    before, _, after = reason.partition(" (by ")
    assert before == (
        "its state cannot be carried on: in parts, the sum gives another `output` than whole"
    )
    assert after.endswith(
        "). Something besides the state reads several steps, such as a convolution over time or a "
        "mean."
    )


def test_a_model_that_fails_on_parts_cannot_be_carried_on():
    """What torch says of a single step is the reason."""

    def pairs(x: Any, h: Any) -> tuple[Any, Any]:
        if x.shape[1] < 2:
            raise ValueError("at least two steps.\nTry more.")
        return running_sum(x, h)

    assert why_not_carried(sampler(pairs)) == (
        "its state cannot be carried on: forward fails on single steps (at least two steps)."
    )
