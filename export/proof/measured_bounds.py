"""The sizes and lengths for which a sequence graph agrees with the model: both are run.

Some of the bounds that torch notes are its own: it assumes that no dynamic size is 1, nor any size
computed from one. Where the graph agrees with the model beyond a bound, there is no bound. Torch
does not note the length of a table of positions: forward fails for more steps.

    noted: sequence ≤ 64    graph = model at 65, 66, 71, 129, 1000    → no bound
    noted: sequence ≤ 64    graph ≠ model at 65                       → 64

A model may pad its outputs to the longest sequence. A graph cannot: it returns as many steps as its
inputs have. So it is right only where one sequence is as long as the inputs.

    x (batch, 6, size), lengths [4, 2]    model → (batch, 4, size)    graph → (batch, 6, size)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.ir.dataflow import ancestors
from edgernn.export.proof.comparison_cases import LONGEST
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.parity import Prover
from edgernn.export.trace.bounds import Bounds

__all__ = ["find_full_lengths", "measure_bounds"]

_LOOKUPS = ("Gather", "GatherElements", "GatherND")
_COUNTS = ("Range", "CumSum")
_SEARCHED_BEYOND = 4

_STEPS = (24, 6)
_SEQUENCES = 8
_DRAWS = 4


def measure_bounds(sampler: InputSampler, noted: Bounds, model: ir.Model) -> Bounds:
    """Return the bounds that a sequence graph really has.

    Args:
        sampler: The model and what it is run on, with the noted bounds in its contract.
        noted: The bounds that torch notes.
        model: The sequence graph.
    """
    contexts = [one.input for one in sampler.contract.states if one.name in sampler.contexts]
    looks_up_positions = _looks_up_positions(model.graph, contexts)
    if not (noted.most or noted.least or looks_up_positions):
        return noted
    search = _BoundSearch(sampler, model)
    most = {axis: search.most(axis, size) for axis, size in noted.most.items()}
    least = {axis: search.least(axis, size) for axis, size in noted.least.items()}
    if SEQUENCE not in most and looks_up_positions:
        most[SEQUENCE] = search.most_of_model(SEQUENCE)
    return replace(
        noted,
        most={axis: size for axis, size in most.items() if size},
        least={axis: size for axis, size in least.items() if size > 1},
    )


class _BoundSearch:
    """Runs a graph and the model at sizes beyond the bounds of their contract."""

    def __init__(self, sampler: InputSampler, model: ir.Model) -> None:
        contract = sampler.contract
        traced = sampler.traced_sizes
        self._sizes = {axis: contract.within(axis, size) for axis, size in traced.items()}
        self._prover = Prover(sampler.with_contract(replace(contract, most={}, least={})))
        self._run = graph_function("sequence", contract, model)
        self._takes_chunks = bool(sampler.contexts)

    def least(self, axis: str, size: int) -> int:
        """Return the smallest size of an axis at which the graph agrees with the model.

        A graph that takes chunks takes fewer steps than a convolution of the model, which fails.
        """
        takes_fewer = axis == SEQUENCE and self._takes_chunks
        while size > 1 and (
            self._agrees(axis, size - 1) or (takes_fewer and not self._runs(axis, size - 1))
        ):
            size -= 1
        return size

    def most(self, axis: str, size: int) -> int:
        """Return the largest size of an axis at which both agree, 0 for no bound."""
        limit = self.most_of_model(axis)
        end = limit or max(LONGEST, size + 1)
        beyond = {size + 1, size + 2, size + 7, 2 * size + 1, end}
        if all(self._agrees(axis, other) for other in sorted(beyond) if other <= end):
            return limit
        last = size + _SEARCHED_BEYOND
        while size < last and self._agrees(axis, size + 1):
            size += 1
        return size

    def most_of_model(self, axis: str) -> int:
        """Return the largest size of an axis at which the model runs, 0 if it runs at 1,000."""

        def runs(size: int) -> bool:
            return self._runs(axis, size)

        return 0 if runs(LONGEST) else _last_true(runs, self._sizes[axis], LONGEST)

    def _runs(self, axis: str, size: int) -> bool:
        return self._prover.runs({**self._sizes, axis: size})

    def _agrees(self, axis: str, size: int) -> bool:
        return self._prover.agrees(self._run, {**self._sizes, axis: size})


def _last_true(predicate: Callable[[int], bool], low: int, high: int) -> int:
    """Return the last number for which a predicate is true: it is at `low` and not at `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if predicate(middle) else (low, middle)
    return low


def _looks_up_positions(graph: ir.Graph, contexts: Collection[str]) -> bool:
    """Return whether a constant table is indexed by numbers that the graph counts.

    A graph that takes chunks counts in a state: one of the inputs `contexts`.
    """
    indices = [
        node.inputs[1]
        for node in graph.all_nodes()
        if node.op_type in _LOOKUPS and node.inputs[0] and node.inputs[0].const_value is not None
    ]
    sources = {value for index in indices if index for value in ancestors(index)}
    nodes = (value.producer() for value in sources)
    return any(value.name in contexts for value in sources) or any(
        node is not None and node.op_type in _COUNTS for node in nodes
    )


def find_full_lengths(sampler: InputSampler, model: ir.Model) -> tuple[str, ...]:
    """Return the inputs of lengths whose longest must be the number of steps.

    Args:
        sampler: The model and what it is run on, with the true bounds in its contract.
        model: The sequence graph.
    """
    contract, names, traced = sampler.contract, tuple(sampler.lengths), sampler.traced_sizes
    if not names:
        return ()
    run = graph_function("sequence", contract, model)
    prover, constants = Prover(sampler), contract.constants
    candidates = [
        {
            **traced,
            BATCH: constants.get(BATCH, contract.within(BATCH, _SEQUENCES)),
            SEQUENCE: constants.get(SEQUENCE, contract.within(SEQUENCE, steps)),
        }
        for steps in _STEPS
    ]
    sizes = next((one for one in candidates if prover.agrees(run, one)), traced)
    if sizes[SEQUENCE] == 1:
        return ()

    def agrees_where_all_are_short(short: Sequence[str]) -> bool:
        return all(prover.agrees(run, sizes, short) for _ in range(_DRAWS))

    full = tuple(name for name in names if not agrees_where_all_are_short([name]))
    return full if full or agrees_where_all_are_short(names) else names
