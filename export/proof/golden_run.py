"""A short recorded run of the model, with which any host can check itself."""

from __future__ import annotations

import numpy as np

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import failure_reason
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.input_sampler import InputSampler

__all__ = ["record_golden_run"]

_STEPS = 8


def record_golden_run(sampler: InputSampler, batch: int, steps: int | None) -> ComparisonCase:
    """Run the model on random data, from states that it can be in.

    Args:
        sampler: The model, and what it is run on.
        batch: The number of sequences.
        steps: The constant number of steps. None for eight, or for the traced number where the
            model does not take eight.

    Raises:
        UnsupportedModelError: Its results are not finite at any of these.
    """
    reason = "its results are NaN"
    few = sampler.contract.within(SEQUENCE, _STEPS)
    for length in (steps,) if steps else (few, sampler.traced_sizes[SEQUENCE]):
        sizes = sampler.sizes_at(batch, length)
        for states_of in (sampler.draw_states, sampler.draw_states, sampler.initial_states):
            try:
                data, states = sampler.draw_data(sizes), states_of(batch)
                expected = sampler.run_reference(data, states)
            except Exception as error:
                reason = failure_reason(error)
                continue
            arrays = [array for part in expected for array in part.values()]
            if all(np.isfinite(array).all() for array in arrays):
                return ComparisonCase(sizes, data, expected, states)
            if not any(np.isnan(array).any() for array in arrays):
                reason = "its results are infinite; mask with a finite number, such as -1e9"
    raise UnsupportedModelError(
        f"No run of {sampler.reference.name} could be recorded for hosts to compare with: {reason}."
        " Give example tensors of the kind that it was trained on."
    )
