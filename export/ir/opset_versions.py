"""The ONNX operator sets that graphs can have."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["IR_VERSIONS"]

IR_VERSIONS: Mapping[int, int] = {
    13: 7,
    14: 7,
    15: 8,
    16: 8,
    17: 8,
    18: 8,
    19: 9,
    20: 9,
    21: 10,
    22: 10,
    23: 11,
    24: 12,
    25: 13,
}
"""Opset → the lowest IR version that may hold it."""
