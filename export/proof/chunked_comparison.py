"""A run in chunks, each from the final state of the one before, compared with a whole run.

whole      x[0:9] → y[0:9]
chunks     x[0:4] → y[0:4], state → x[4:9] → y[4:9]     compared as they come
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import SEQUENCE
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_function import GraphFunction, feature_ports
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.reference import RunResult
from edgernn.join_chunks import join_chunks

__all__ = ["compare_chunks", "random_lengths", "run_chunks"]

_BLOCK = 64
"""The least number of hops that are joined and compared together."""


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
        stepwise: Whether the chunks are single hops, without the sequence axis where a hop is one
            step.
    """
    frames, contract, expected = sampler.frames, sampler.contract, case.expected
    ports = [p for p in contract.data_outputs("sequence") if p.name in expected.outputs]
    axes = {port.name: frames.axes[port.name] for port in ports if port.name in frames.axes}
    ranks = {port.name: len(port.shape) for port in ports}
    # Outputs with an axis that counts steps together with something else are joined at the end.
    merged = [p for p in ports if p.name not in axes and any(SEQUENCE in (a or "") for a in p.axes)]
    comparison = Comparison(feature_ports(contract))
    block: list[Arrays] = []
    merged_chunks: list[Arrays] = []
    start, last, total = 0, RunResult({}, {}), sum(lengths)
    for end, last in run_chunks(sampler, run, case, lengths, stepwise):
        block.append({name: last.outputs[name] for name in axes})
        merged_chunks.append({port.name: last.outputs[port.name] for port in merged})
        if end - start >= _BLOCK * frames.hop or end == total:
            joined = {
                name: _joined([o[name] for o in block], axis, ranks[name] if stepwise else 0)
                for name, axis in axes.items()
            }
            hops = case.hops_before + start // frames.hop
            wanted = _expected_frames(sampler, case, start, None if end == total else end)
            comparison.add(frames.of_graph(joined, hops), wanted)
            block, start = [], end
    rest = {
        port.name: join_chunks(port, [c[port.name] for c in merged_chunks], case.batch, stepwise)
        for port in merged
    }
    others = {name: array for name, array in expected.outputs.items() if name not in axes}
    comparison.add({**last.outputs, **rest}, others)
    comparison.add(last.states, expected.states)
    return comparison


def _joined(parts: Sequence[NDArray[Any]], axis: int, rank: int) -> NDArray[Any]:
    """Join the frames of chunks, or of steps whose rank is below `rank`: they have no such axis."""
    return np.stack(parts, axis) if parts[0].ndim < rank else np.concatenate(parts, axis)


def _expected_frames(
    sampler: InputSampler, case: ComparisonCase, start: int, stop: int | None
) -> Arrays:
    """Return what is expected of the steps from `start` to `stop` of a case, or to its end."""
    frames = sampler.frames
    wanted: dict[str, NDArray[Any]] = {}
    for name, axis in frames.axes.items():
        if name in case.expected.outputs:
            skipped = frames.undefined(name, case.hops_before)

            def place(step: int, name: str = name, skipped: int = skipped) -> int:
                return max(0, step // frames.hop * frames.per_hop(name) - skipped)

            span = slice(place(start), None if stop is None else place(stop))
            wanted[name] = case.expected.outputs[name][(*(slice(None),) * axis, span)]
    return wanted


def random_lengths(rng: np.random.Generator, steps: int, hop: int = 1) -> list[int]:
    """Return random lengths of chunks in whole hops, whose sum is `steps`."""
    hops = steps // hop
    count = min(hops - 1, 6)
    cuts = sorted(rng.choice(np.arange(1, hops), count, replace=False)) if count else []
    return [hop * int(length) for length in np.diff([0, *cuts, hops])]


def run_chunks(
    sampler: InputSampler,
    run: GraphFunction,
    case: ComparisonCase,
    lengths: Sequence[int],
    stepwise: bool = False,
) -> Iterator[tuple[int, RunResult]]:
    """Yield the result of each chunk, with the step at which it ends; see `compare_chunks`."""
    axes = {port.name: port.axis(SEQUENCE) for port in sampler.contract.data_inputs("sequence")}
    states = case.start(sampler)
    start = 0
    for length in lengths:
        span = start if stepwise and length == 1 else range(start, start + length)
        chunk = {
            name: array if (axis := axes[name]) is None else array.take(span, axis)
            for name, array in case.data.items()
        }
        chunk |= {name: np.full_like(case.data[name], length) for name in sampler.lengths}
        result = run(chunk, states)
        states = result.states
        start += length
        yield start, result
