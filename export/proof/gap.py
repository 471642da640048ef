"""How far two runs are apart, and in which way."""

from __future__ import annotations

import numpy as np

from edgernn.export.proof.runs import Arrays
from edgernn.report import difference

__all__ = ["gap_at", "worst"]


def worst(expected: tuple[Arrays, Arrays], got: tuple[Arrays, Arrays]) -> tuple[str, float]:
    """Return the port or state that differs most, and by how much."""
    wanted, have = {**expected[0], **expected[1]}, {**got[0], **got[1]}
    differences = {name: difference(have[name], array) for name, array in wanted.items()}
    name = max(differences, key=lambda one: differences[one], default="")
    return name, differences.get(name, 0.0)


def gap_at(port: str, expected: tuple[Arrays, Arrays], got: tuple[Arrays, Arrays]) -> str:
    """Say by how much a port differs, or in which way where no number tells."""
    wanted, have = ({**pair[0], **pair[1]}[port] for pair in (expected, got))
    if wanted.shape != have.shape:
        return f"in shape: {have.shape} where {wanted.shape} was expected"
    if not np.array_equal(np.isfinite(wanted), np.isfinite(have)):
        return "in where it is NaN or infinite"
    return f"by {difference(have, wanted):.1e}"
