"""Runs that go on from where the graphs have got to, whole and in parts.

The reference takes whole sequences: it cannot be given what the graphs keep of the past. Where a
stream goes on, the sequence graph in one call says what parts must give:

    sequence graph    x[0:3] → state    x[3:12] → y[3:12], state
    either graph                        x[3:7] → y[3:7], state → x[7:12] → y[7:12], state
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgernn.contract import SEQUENCE
from edgernn.export.proof.chunked_comparison import run_chunks
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.graph_function import GraphFunction
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.reference import RunResult

__all__ = ["complete_states", "continued_cases"]


def continued_cases(
    sampler: InputSampler, run: GraphFunction, sizes: Sequence[AxisSizes]
) -> Iterator[ComparisonCase]:
    """Yield runs from states that a graph has reached, with what it returns for them in one call.

    States that may have any value are random where the run starts, and again where it goes on.

    Args:
        sampler: The model; its contract has the ports of the data.
        run: The sequence graph.
        sizes: The size of every axis of each run.
    """
    frames = sampler.frames
    for one in sizes:
        for hops in dict.fromkeys((1, frames.first_hops - 1, frames.first_hops + 2)):
            steps, most = hops * frames.hop, sampler.contract.most.get(SEQUENCE)
            if not hops or (most is not None and steps + one[SEQUENCE] > most):
                continue  # a position beyond its table
            case = ComparisonCase(one, sampler.draw_data(one), hops_before=hops)
            before = sampler.draw_data({**one, SEQUENCE: steps})
            states = run(before, sampler.draw_states(case.batch, steps)).states
            states = sampler.with_random_layers(states)
            outputs, final_states = run(case.data, states)
            outputs = frames.of_graph(outputs, hops)
            expected = RunResult(outputs, final_states)
            names = (*outputs, *final_states)
            yield replace(case, states=states, expected=expected, from_graph=names)


def complete_states(
    sampler: InputSampler, run: GraphFunction | None, case: ComparisonCase, call_steps: int | None
) -> ComparisonCase:
    """Return a case of a new stream with the final states that only the sequence graph has.

    Args:
        sampler: The model.
        run: The sequence graph; without it, those states stay unknown.
        case: A run of whole hops.
        call_steps: The constant number of steps that a call takes; None for any number.
    """
    missing = {state.name for state in sampler.contract.states} - set(case.expected.states)
    steps = case.sizes[SEQUENCE]
    size = call_steps or steps
    if run is None or not missing or steps % size:
        return case
    for _, last in run_chunks(sampler, run, case, [size] * (steps // size)):
        result = last
    states = {**result.states, **case.expected.states}
    expected = RunResult(case.expected.outputs, states)
    return replace(case, expected=expected, from_graph=missing)
