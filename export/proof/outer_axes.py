"""Which of batch and sequence is the outer axis of an output that counts both in one."""

from __future__ import annotations

import numpy as np

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.join_chunks import BATCH_OUTER, SEQUENCE_OUTER
from edgernn.tolerances import TOLERANCE

__all__ = ["find_outer_axes"]


def find_outer_axes(sampler: InputSampler) -> dict[str, str]:
    """Return the axis of each output of batch · sequence entries, its outer factor first.

    Two sequences are run together, then the first of them alone: where its entries come first in
    the output of both, the batch is the outer axis.

    Returns:
        Name of such an output → `BATCH_OUTER` or `SEQUENCE_OUTER`.
    """
    contract = sampler.contract
    axes = {
        port.name: axis
        for port in contract.data_outputs("sequence")
        for axis, size in enumerate(port.shape)
        if size in (BATCH_OUTER, SEQUENCE_OUTER)
    }
    if not axes:
        return {}
    steps = sampler.frames.whole_hops(contract.within(SEQUENCE, 3))
    data, states = sampler.draw_data(sampler.sizes_at(2, steps)), sampler.draw_states(2, steps)
    both, _ = sampler.run_reference(data, states)
    alone, _ = sampler.run_reference(*_first_sequence(sampler, data, states))
    return {
        name: BATCH_OUTER
        if np.allclose(both[name].take(range(steps), axis), alone[name], atol=TOLERANCE)
        else SEQUENCE_OUTER
        for name, axis in axes.items()
    }


def _first_sequence(sampler: InputSampler, data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
    """Return data and states of the first sequence of a batch alone."""
    contract = sampler.contract
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
