"""Whether a sequence graph is the model where every sequence ends before the last step.

A model that pads to the longest sequence gives fewer steps then, which no graph does: its number of
steps is that of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.proof.graph_runs import session_of
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.samples import Samples

__all__ = ["full_lengths"]

_STEPS = (24, 6)
_SEQUENCES = 8
_DRAWS = 4


def full_lengths(samples: Samples, model: ir.Model) -> tuple[str, ...]:
    """Return the inputs of lengths whose longest must be the number of steps.

    Args:
        samples: The model and what it is run on, under a contract with the bounds that it has.
        model: The sequence graph.
    """
    contract, names, traced = samples.contract, tuple(samples.lengths), samples.traced
    if not names:
        return ()
    run = session_of("sequence", contract, ir.serde.serialize_model(model).SerializeToString())
    prover, constants = Prover(samples), contract.constants
    tried = [
        {
            **traced,
            BATCH: constants.get(BATCH, contract.within(BATCH, _SEQUENCES)),
            SEQUENCE: constants.get(SEQUENCE, contract.within(SEQUENCE, steps)),
        }
        for steps in _STEPS
    ]
    sizes = next((one for one in tried if prover.agrees(run, one)), traced)
    if sizes[SEQUENCE] == 1:
        return ()

    def right(short: Sequence[str]) -> bool:
        return all(prover.agrees(run, sizes, short) for _ in range(_DRAWS))

    full = tuple(name for name in names if not right([name]))
    return full if full or right(names) else names
