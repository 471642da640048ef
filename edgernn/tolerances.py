"""How much graphs may differ from the model that they were made from, by precision."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CEILING", "LOOSEST", "TOLERANCE", "TOLERANCES"]

TOLERANCE = 1e-5
"""The largest difference that passes for float32, relative to the numbers' scale."""

CEILING = 1e-3
"""The largest difference that rounding excuses, relative to the numbers' scale."""

TOLERANCES: Mapping[str, float] = {"float32": TOLERANCE, "float16": 2e-2, "int8": 5e-2, "int4": 1.0}
"""Precision → the largest difference from eager torch in float32 that passes."""

LOOSEST: Mapping[str, float] = {"float32": CEILING, "float16": 0.2, "int8": 0.5, "int4": 2.0}
"""Precision → the loosest tolerance that may be asked for. Beyond it, a graph that is wrong would
pass: in float32, rounding is no reason for more than `CEILING`."""
