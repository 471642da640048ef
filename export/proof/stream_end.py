"""The last frames of a stream: the padding of the contract, fed after the end, against the model.

model             x[0:9] → y[0:9], the last one from padding inside
sequence graph    x[0:9] and one step of padding → a frame that is undefined, y[0:9]
"""

from __future__ import annotations

import numpy as np

from edgernn.contract import SEQUENCE
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_function import GraphFunction, feature_ports
from edgernn.export.proof.input_sampler import InputSampler

__all__ = ["compare_end", "end_steps"]


def end_steps(sampler: InputSampler) -> int:
    """Return the steps of padding after the end that give the tail of every output."""
    frames, tails = sampler.frames, sampler.contract.tails
    return frames.hop * max(-(-tail // frames.per_hop(name)) for name, tail in tails.items())


def compare_end(sampler: InputSampler, run: GraphFunction, case: ComparisonCase) -> Comparison:
    """Compare all frames of the model with those of a stream that is fed padding after its end.

    Args:
        sampler: The model; its contract has padding.
        run: The sequence graph.
        case: Data of a new stream, and the states that it starts from.
    """
    contract, frames = sampler.contract, sampler.frames
    data = _padded(sampler, case.data, end_steps(sampler))
    got = frames.of_graph(run(data, case.start(sampler)).outputs)
    expected = sampler.run_to_end(case.data, case.states)
    comparison = Comparison(feature_ports(contract))
    for name, axis in frames.axes.items():
        if name in expected:
            end = slice(expected[name].shape[axis])
            first = got[name][(*(slice(None),) * axis, end)]
            comparison.add({name: first}, {name: expected[name]})
    return comparison


def _padded(sampler: InputSampler, data: Arrays, steps: int) -> Arrays:
    """Return data with so many steps of padding after the end."""
    axes = {port.name: port.axis(SEQUENCE) for port in sampler.contract.data_inputs("sequence")}
    padded = dict(data)
    for name, value in sampler.contract.padding.items():
        if (axis := axes[name]) is not None:
            widths = [(0, 0)] * data[name].ndim
            widths[axis] = (0, steps)
            padded[name] = np.pad(data[name], widths, constant_values=value)
    return padded
