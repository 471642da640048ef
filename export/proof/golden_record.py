"""A short recorded run of the model, by which any host can prove itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import UnsupportedModelError
from edgernn.export.proof.graph_runs import Arrays
from edgernn.export.proof.samples import Samples

__all__ = ["Golden", "record"]

_STEPS = 8


@dataclass(frozen=True)
class Golden:
    """A recorded run.

    Attributes:
        batch: The number of sequences.
        steps: The number of steps of each.
        data: Data by port name.
        states: The states that it starts from, by name.
        expected: Outputs by port name and final states by name.
    """

    batch: int
    steps: int
    data: Arrays
    states: Arrays
    expected: tuple[Arrays, Arrays]

    def by_port(self, contract: Contract) -> Arrays:
        """Return all arrays by the names of the ports."""
        arrays = {**self.data, **self.expected[0]}
        for state in contract.states:
            arrays[state.input] = self.states[state.name]
            arrays[state.output] = self.expected[1][state.name]
        return arrays


def record(samples: Samples, batch: int, steps: int | None) -> Golden:
    """Run the model on random data, from states that it can reach.

    Args:
        samples: The model and what it is run on.
        batch: The number of sequences.
        steps: The number of steps of each, the only one; None for eight, or for as many as were
            traced where the model does not take eight.

    Raises:
        UnsupportedModelError: What it gives is not finite at any of these.
    """
    reason = "its results are NaN"
    few = samples.contract.within(SEQUENCE, _STEPS)
    for length in (steps,) if steps else (few, samples.traced[SEQUENCE]):
        for draw in (samples.states, samples.states, samples.start):
            try:
                data, states = samples.data(samples.at(batch, length)), draw(batch)
                expected = samples.run(data, states)
            except Exception as error:
                reason = str(error).strip().partition("\n")[0].rstrip(".")
                continue
            arrays = [array for part in expected for array in part.values()]
            if all(np.isfinite(array).all() for array in arrays):
                return Golden(batch, length, data, states, expected)
            if not any(np.isnan(array).any() for array in arrays):
                reason = "its results are infinite; mask with a finite number, such as -1e9"
    raise UnsupportedModelError(
        f"No run of {samples.reference.name} could be recorded for hosts to compare with: {reason}."
        " Give example tensors of the kind that it was trained on."
    )
