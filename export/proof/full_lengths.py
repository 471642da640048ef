"""Inputs of lengths whose longest must be the number of steps.

A model may pad its outputs to the longest sequence. A graph cannot: it returns as many steps as its
inputs have. So it is right only where one sequence is as long as the inputs.

    x (batch, 6, size), lengths [4, 2]    model → (batch, 4, size)    graph → (batch, 6, size)
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.parity import Prover

__all__ = ["find_full_lengths"]

_STEPS = (24, 6)
_SEQUENCES = 8
_DRAWS = 4


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
