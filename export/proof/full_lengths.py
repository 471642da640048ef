"""Whether a sequence graph is the model where every sequence ends before the last step.

A model that pads to the longest sequence gives fewer steps then, which no graph does: its number of
steps is that of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.proof.graph_runs import session_of
from edgernn.export.proof.parity import Prover

__all__ = ["full_lengths"]

_STEPS = (24, 6)
_SEQUENCES = 8
_DRAWS = 4


def full_lengths(prover: Prover, model: ir.Model) -> tuple[str, ...]:
    """Return the inputs of lengths whose longest must be the number of steps.

    Args:
        prover: Compares graphs with the model; its contract has the bounds that it really has.
        model: The sequence graph.
    """
    contract, names = prover.contract, tuple(prover.lengths)
    if not names:
        return ()
    run = session_of("sequence", contract, ir.serde.serialize_model(model).SerializeToString())
    own = replace(prover)  # what it draws and fails at is no part of the proof
    constants = contract.constants
    tried = [
        {
            **prover.sizes,
            BATCH: constants.get(BATCH, contract.within(BATCH, _SEQUENCES)),
            SEQUENCE: constants.get(SEQUENCE, contract.within(SEQUENCE, steps)),
        }
        for steps in _STEPS
    ]
    sizes = next((one for one in (*tried, prover.sizes) if own.agrees(run, one)), prover.sizes)
    if sizes[SEQUENCE] == 1:
        return ()

    def right(short: Sequence[str]) -> bool:
        return all(own.agrees(run, sizes, short) for _ in range(_DRAWS))

    full = tuple(name for name in names if not right([name]))
    return full if full or right(names) else names
