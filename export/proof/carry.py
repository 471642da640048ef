"""Whether a model can go on from a state: whether it returns the same in parts as whole."""

from __future__ import annotations

from edgernn.export.ir.onnx_session import failure_reason
from edgernn.export.proof.chunked_comparison import compare_chunks
from edgernn.export.proof.comparison_cases import ComparisonCase, ComparisonCases
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.tolerances import CEILING, TOLERANCE

__all__ = ["why_not_carried"]

_TOLERANCES = {6: 10 * TOLERANCE, 150: CEILING}
"""Hops of a run → the largest difference between whole and in parts that rounding explains."""


def why_not_carried(sampler: InputSampler) -> str:
    """Return why the model itself cannot go on from a state, or nothing where it can.

    A model whose outputs depend on the past alone returns the same whole and in parts. One that
    looks ahead, or at all steps together, does not.
    """
    frames, cases = sampler.frames, ComparisonCases(sampler)
    few, many = map(cases.allowed_steps, _TOLERANCES)
    tolerance_of_few, tolerance_of_many = _TOLERANCES.values()
    for lengths, tolerance in (
        (_thirds(few, frames.hop), tolerance_of_few),
        ([frames.hop] * (few // frames.hop), tolerance_of_few),
        (_thirds(many, frames.hop), tolerance_of_many),
    ):
        steps = sum(lengths)
        batch = cases.allowed_batch(2 if steps == few else 1)
        try:
            sizes = sampler.sizes_at(batch, steps)
            data, states = sampler.draw_data(sizes), sampler.draw_states(batch, steps)
            whole = ComparisonCase(sizes, data, sampler.run_reference(data, states), states)
            difference = compare_chunks(sampler, sampler.run_reference, whole, lengths).largest
        except Exception as error:
            if steps == many > few:
                continue  # more steps than forward takes in one call
            return (
                "its state cannot be carried on: forward fails on single steps "
                f"({failure_reason(error)})."
            )
        if difference.amount > tolerance:
            port = difference.port
            return (
                f"its state cannot be carried on: in parts, {sampler.reference.name} gives another "
                f"`{port}` than whole ({difference.how}). Something besides the state reads "
                "several steps, such as a convolution over time or a mean."
            )
    return ""


def _thirds(steps: int, hop: int) -> list[int]:
    """Return up to three lengths of different size, in whole hops, whose sum is `steps`."""
    hops = steps // hop
    lengths = hops // 3, hops // 2, hops - hops // 3 - hops // 2
    return [hop * length for length in lengths if length]
