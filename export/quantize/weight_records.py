"""What became of each weight when a model was quantized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["WeightRecord", "describe_kept"]


@dataclass(frozen=True)
class WeightRecord:
    """One weight, and how it is stored.

    Attributes:
        name: The weight's name in the float32 graph.
        operator: The operator that reads it there.
        shape: Its shape there.
        stored: What it is stored as: `int8` or `float32`.
        reason: Why it stays float32, or is read as float32; empty where it is read in integers.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    stored: str
    reason: str = ""


def describe_kept(records: Iterable[WeightRecord]) -> tuple[str, ...]:
    """Return a note on the weights that stay float32, with operators and reasons, or none."""
    kept = dict.fromkeys(
        f"`{one.name}` ({one.operator}: {one.reason})" for one in records if one.stored == "float32"
    )
    return (f"Weights that stay float32: {', '.join(kept)}.",) if kept else ()
