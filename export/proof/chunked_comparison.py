"""A run in chunks, each from the final state of the one before, compared with a whole run.

whole      x[0:9] → y[0:9]
chunks     x[0:4] → y[0:4], state → x[4:9] → y[4:9]     compared as they come
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgernn.contract import SEQUENCE
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_function import GraphFunction, feature_ports
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.reference import RunResult
from edgernn.join_chunks import join_chunks

__all__ = ["compare_chunks", "random_lengths"]

_BLOCK = 64
"""The least number of steps that are joined and compared together."""


def compare_chunks(
    sampler: InputSampler,
    run: GraphFunction,
    case: ComparisonCase,
    lengths: Sequence[int],
    stepwise: bool = False,
) -> Comparison:
    """Run a case in chunks and compare blocks of them, without a second copy of all outputs.

    Args:
        sampler: The model; its contract has the ports of the data.
        run: What runs the chunks.
        case: Data, the states to start from, and what the whole run returns.
        lengths: The number of steps of each chunk.
        stepwise: Whether the chunks are single steps without the sequence axis.
    """
    contract, expected = sampler.contract, case.expected
    ports = [p for p in contract.data_outputs("sequence") if p.name in expected.outputs]
    axes = {port.name: axis for port in ports if (axis := port.axis(SEQUENCE)) is not None}
    # Outputs with an axis that counts steps together with something else are joined at the end.
    merged = [
        p.name for p in ports if p.name not in axes and any(SEQUENCE in (a or "") for a in p.axes)
    ]

    def join(chunks: Sequence[Arrays]) -> Arrays:
        return {
            port.name: join_chunks(port, [c[port.name] for c in chunks], case.batch, stepwise)
            for port in ports
            if port.name in chunks[0]
        }

    comparison = Comparison(feature_ports(contract))
    block: list[Arrays] = []
    merged_chunks: list[Arrays] = []
    start, last = 0, RunResult({}, {})
    for end, last in _run_chunks(sampler, run, case, lengths, stepwise):
        block.append({name: last.outputs[name] for name in axes})
        merged_chunks.append({name: last.outputs[name] for name in merged})
        if end - start >= _BLOCK or end == sum(lengths):
            span = range(start, end)
            wanted = {name: expected.outputs[name].take(span, axis) for name, axis in axes.items()}
            comparison.add(join(block), wanted)
            block, start = [], end
    others = {name: array for name, array in expected.outputs.items() if name not in axes}
    comparison.add({**last.outputs, **join(merged_chunks)}, others)
    comparison.add(last.states, expected.states)
    return comparison


def random_lengths(rng: np.random.Generator, steps: int) -> list[int]:
    """Return random lengths of chunks whose sum is `steps`."""
    count = min(steps - 1, 6)
    cuts = sorted(rng.choice(np.arange(1, steps), count, replace=False)) if count else []
    return [int(length) for length in np.diff([0, *cuts, steps])]


def _run_chunks(
    sampler: InputSampler,
    run: GraphFunction,
    case: ComparisonCase,
    lengths: Sequence[int],
    stepwise: bool,
) -> Iterator[tuple[int, RunResult]]:
    """Yield the result of each chunk, with the step at which it ends."""
    axes = {port.name: port.axis(SEQUENCE) for port in sampler.contract.data_inputs("sequence")}
    states = sampler.initial_states(case.batch) if case.states is None else case.states
    start = 0
    for length in lengths:
        span = start if stepwise else range(start, start + length)
        chunk = {
            name: array if (axis := axes[name]) is None else array.take(span, axis)
            for name, array in case.data.items()
        }
        chunk |= {name: np.full_like(case.data[name], length) for name in sampler.lengths}
        result = run(chunk, states)
        states = result.states
        start += length
        yield start, result
