"""Differences of two runs: how large, at which port, and whether they pass.

A difference is held against the magnitude of the numbers around it. Each column along the last axis
of a port has a scale of its own, because features may be of different magnitudes:

    expected [0.5, 4.0]    got [0.6, 4.1]    differences 0.1 and 0.1 / 4
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.reference import RunResult
from edgernn.tolerances import CEILING

__all__ = ["Comparison", "Difference", "compare"]

_SMALL_FACTOR = 100
"""How many times the tolerance a difference of small numbers may be, relative to their scale."""

_LEAST_SCALE = 0.01
"""The least scale of a column, relative to its port's: rounding of large numbers is everywhere."""

_BLOCK = 1 << 20
"""The number of elements that are compared at once."""

_CANCELLATION = 2e-7
"""An absolute difference that always passes: what is left where float32 numbers of magnitude 1
cancel out."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of two runs at one port.

    Attributes:
        port: The port or state.
        absolute: The largest absolute difference; infinite where shapes differ or one is NaN.
        scale: The largest magnitude expected in its column, of numbers that differ: a number that
            is the same in both, such as that of a mask, is no measure for others.
        port_scale: The largest such magnitude of the whole port.
        how: A phrase: by how much it differs, or in which way.
    """

    port: str
    absolute: float
    scale: float
    port_scale: float
    how: str

    @property
    def amount(self) -> float:
        """The difference, relative to the scale where that is above 1."""
        return self.absolute / self._unit

    def allowed(self, tolerance: float, rounding: float = 0.0) -> float:
        """Return the largest amount that passes.

        Args:
            tolerance: The largest amount that passes where the scale is 1.
            rounding: The absolute error of the reference in float32. It excuses twice as much, but
                at most `CEILING` of the scale of the port.
        """
        small = max(_CANCELLATION, _SMALL_FACTOR * tolerance * self.scale)
        least = min(tolerance * self._unit, small)
        return min(least + 2 * rounding, max(least, CEILING * self.port_scale)) / self._unit

    def passes(self, tolerance: float, rounding: float = 0.0) -> bool:
        """Return whether the difference is allowed; see `allowed`."""
        return self.amount <= self.allowed(tolerance, rounding)

    @property
    def _unit(self) -> float:
        return max(1.0, self.scale)


class _PortComparison:
    """The largest differences of one port, by columns along its last axis.

    Args:
        port: The port or state.
        shape: Its shape.
        has_features: Whether its last axis is one of features; otherwise it is one column.

    Attributes:
        is_empty: Whether no number was expected so far.
    """

    def __init__(self, port: str, shape: tuple[int, ...], has_features: bool) -> None:
        self._port = port
        self._width = shape[-1] if has_features and shape else 1
        self._largest = np.zeros(self._width)
        self._scales = np.zeros(self._width)
        self._is_integer = False
        self._failure = ""
        self.is_empty = True

    def add(self, got: NDArray[Any], expected: NDArray[Any]) -> None:
        """Compare two arrays of the same shape, block by block in float64."""
        self.is_empty = self.is_empty and not expected.size
        if got.shape != expected.shape:
            self._failure = f"in shape: {got.shape} where {expected.shape} was expected"
            return
        if not expected.size:
            return
        self._is_integer = expected.dtype.kind in "biu"
        rows = max(1, _BLOCK // self._width)
        columns = [array.reshape(-1, self._width) for array in (got, expected)]
        for start in range(0, len(columns[0]), rows):
            actual, wanted = (a[start : start + rows].astype(np.float64) for a in columns)
            is_different = actual != wanted  # equal infinities are no difference
            with np.errstate(invalid="ignore"):
                differences = np.where(is_different, np.abs(actual - wanted), 0.0)
            if not np.isfinite(differences).all():
                self._failure = self._failure or "in where it is NaN or infinite"
                return
            scales = np.where(is_different, np.abs(wanted), 0.0).max(0, initial=0.0)
            self._largest = np.maximum(self._largest, differences.max(0, initial=0.0))
            self._scales = np.maximum(self._scales, scales)

    def differences(self) -> list[Difference]:
        """Return the largest difference by `amount`, and the largest relative to its scale."""
        if self._failure:
            return [Difference(self._port, np.inf, 0.0, 0.0, self._failure)]
        port_scale = float(self._scales.max(initial=0.0))
        scales = np.maximum(self._scales, _LEAST_SCALE * port_scale)
        if self._is_integer:
            scales = np.ones_like(scales)  # a large count is as exact as a small one
        columns = {
            int(np.argmax(self._largest / np.maximum(1.0, scales))),
            int(np.argmax(self._largest / np.maximum(scales, np.finfo(np.float64).tiny))),
        }
        found = [(float(self._largest[i]), float(scales[i])) for i in sorted(columns)]
        return [
            Difference(self._port, size, scale, port_scale, f"by {size / max(1, scale):.1e}")
            for size, scale in found
        ]


class Comparison:
    """The comparison of two runs, whole or part by part.

    Args:
        features: Names of the ports whose last axis is one of features, each with its own scale.

    Attributes:
        compared: How many numbers were compared.
    """

    def __init__(self, features: Collection[str] = ()) -> None:
        self._features = features
        self._ports: dict[str, _PortComparison] = {}
        self.compared = 0

    def add(self, got: Arrays, expected: Arrays) -> None:
        """Compare a part of the runs, port by port."""
        for name, wanted in expected.items():
            if name not in self._ports:
                self._ports[name] = _PortComparison(name, wanted.shape, name in self._features)
            self.compared += wanted.size
            self._ports[name].add(got[name], wanted)

    def is_empty(self, port: str) -> bool:
        """Return whether there was nothing to compare at a port."""
        return port not in self._ports or self._ports[port].is_empty

    @property
    def largest(self) -> Difference:
        """The largest difference of all ports."""
        nothing = Difference("", 0.0, 0.0, 0.0, "")
        return max(self._differences(), key=lambda one: one.amount, default=nothing)

    def violations(self, tolerance: float) -> list[Difference]:
        """Return the differences that do not pass, the largest first."""
        found = [one for one in self._differences() if not one.passes(tolerance)]
        return sorted(found, key=lambda one: -one.amount)

    def rounding(self, port: str) -> float:
        """Return the absolute difference at a port, as a measure of rounding there.

        It is at least the largest `amount` of all ports: where one port shows less, it does so by
        chance.
        """
        found = self._ports[port].differences() if port in self._ports else []
        own = max((one.absolute for one in found), default=0.0)
        return max(own, self.largest.amount)

    def _differences(self) -> list[Difference]:
        return [one for port in self._ports.values() for one in port.differences()]


def compare(got: RunResult, expected: RunResult, features: Collection[str] = ()) -> Comparison:
    """Compare outputs and states of one run with those of another; see `Comparison`."""
    comparison = Comparison(features)
    comparison.add({**got.outputs, **got.states}, {**expected.outputs, **expected.states})
    return comparison
