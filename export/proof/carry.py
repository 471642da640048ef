"""Whether a model can go on from a state: whether it gives the same in parts as whole."""

from __future__ import annotations

from edgernn.contract import SEQUENCE
from edgernn.export.proof.chunked_runs import Chunks
from edgernn.export.proof.difference import CEILING, TOLERANCE
from edgernn.export.proof.samples import Samples
from edgernn.export.proof.trials import Trials

__all__ = ["why_not_carried"]

_TOLERANCES = {6: 10 * TOLERANCE, 150: CEILING}
"""Steps of a run → the largest difference between whole and in parts that rounding explains."""


def why_not_carried(samples: Samples) -> str:
    """Return why the model itself cannot go on from a state, or nothing where it can.

    A model whose outputs depend on the past alone gives the same whole and in parts. One that looks
    ahead, or at all steps together, does not.
    """
    contract, trials = samples.contract, Trials(samples)
    few, many = (contract.within(SEQUENCE, steps) for steps in _TOLERANCES)
    few_off, many_off = _TOLERANCES.values()
    cuts = ((_thirds(few), few_off), ([1] * few, few_off), (_thirds(many), many_off))
    for parts, tolerance in cuts:
        chunks = Chunks(contract, parts, length_ports=samples.lengths)
        batch = trials.batch(2 if sum(parts) == few else 1)
        try:
            data, states = samples.data(samples.at(batch, sum(parts))), samples.states(batch)
            whole = samples.run(data, states)
            difference = chunks.compare(samples.run, data, states, whole).largest
        except Exception as error:
            if sum(parts) == many > few:
                continue  # more steps than forward takes in one call
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            return f"its state cannot be carried on: forward fails on single steps ({reason})."
        if difference.amount > tolerance:
            port = difference.port
            return (
                f"its state cannot be carried on: in parts, {samples.reference.name} gives another "
                f"`{port}` than whole ({difference.how}), so `{port}` depends on more than the "
                "steps so far."
            )
    return ""


def _thirds(steps: int) -> list[int]:
    """Cut `steps` into up to three parts of different lengths."""
    parts = steps // 3, steps // 2, steps - steps // 3 - steps // 2
    return [part for part in parts if part]
