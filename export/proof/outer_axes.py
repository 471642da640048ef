"""Which of batch and sequence is the outer axis of an output that counts both in one."""

from __future__ import annotations

import numpy as np

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.proof.difference import TOLERANCE
from edgernn.export.proof.graph_runs import Arrays
from edgernn.export.proof.samples import Samples
from edgernn.join_chunks import BATCH_OUTER, SEQUENCE_OUTER

__all__ = ["outer_axes"]


def outer_axes(samples: Samples) -> dict[str, str]:
    """Return the axis of each output of batch · sequence entries, its outer factor first.

    Two sequences are run together, then the first of them alone: where its entries come first in
    the output of both, the batch is the outer axis.

    Returns:
        Name of such an output → `BATCH_OUTER` or `SEQUENCE_OUTER`.
    """
    contract = samples.contract
    axes = {
        port.name: axis
        for port in contract.data_outputs("sequence")
        for axis, size in enumerate(port.shape)
        if size in (BATCH_OUTER, SEQUENCE_OUTER)
    }
    if not axes:
        return {}
    steps = contract.within(SEQUENCE, 3)
    data, states = samples.data(samples.at(2, steps)), samples.states(2)
    both, _ = samples.run(data, states)
    alone, _ = samples.run(*_first_sequence(samples, data, states))
    return {
        name: BATCH_OUTER
        if np.allclose(both[name].take(range(steps), axis), alone[name], atol=TOLERANCE)
        else SEQUENCE_OUTER
        for name, axis in axes.items()
    }


def _first_sequence(samples: Samples, data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
    """Return data and states of the first sequence of a batch alone."""
    contract = samples.contract
    graph = contract.graphs["sequence"]
    ports = {state.name: graph.input(state.input) for state in contract.states}
    ports |= {port.name: port for port in contract.data_inputs("sequence")}

    def first(arrays: Arrays) -> Arrays:
        axes = {name: ports[name].axis(BATCH) for name in arrays}
        return {
            name: array if (axis := axes[name]) is None else array.take([0], axis)
            for name, array in arrays.items()
        }

    return first(data), first(states)
