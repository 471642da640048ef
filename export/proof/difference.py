"""How far two runs are apart, at which port and in which way, and whether that passes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CEILING", "TOLERANCE", "Comparison", "Difference", "compare"]

Arrays = Mapping[str, NDArray[Any]]

TOLERANCE = 1e-5
"""The largest difference that passes for float32, as a part of the numbers' scale."""

CEILING = 1e-3
"""What rounding may excuse at most, as a part of the numbers' scale."""

_SMALL = 100
"""How much more a difference may be of numbers that are small, as a part of their scale."""

_FLOOR = 0.01
"""The least scale of a column, as a part of the port's: rounding of large numbers shows in all."""

_BLOCK = 1 << 20

_ROUNDING = 2e-7
"""The absolute difference that passes however small the numbers are: what is left where numbers of
magnitude 1 cancel out in float32."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of two runs at one port.

    Attributes:
        port: The port or state.
        absolute: The largest absolute difference; infinite where no number tells.
        scale: The largest magnitude that was expected beside it, of numbers that are not the same
            in both: a constant, such as that of a mask, says nothing of the others.
        whole: The largest magnitude of all such numbers of the port.
        how: In words: by how much, or in which way.
    """

    port: str
    absolute: float
    scale: float
    whole: float
    how: str

    @property
    def amount(self) -> float:
        """The difference, as a part of the scale where that is above 1."""
        return self.absolute / self._unit

    def allowed(self, tolerance: float, rounding: float = 0.0) -> float:
        """Return the largest amount that passes.

        Args:
            tolerance: The largest amount that passes where the scale is 1.
            rounding: What float32 itself costs the reference, absolute. It excuses twice as much,
                but no more than `CEILING` of the port's numbers.
        """
        small = max(_ROUNDING, _SMALL * tolerance * self.scale)
        least = min(tolerance * self._unit, small)
        return min(least + 2 * rounding, max(least, CEILING * self.whole)) / self._unit

    def passes(self, tolerance: float, rounding: float = 0.0) -> bool:
        """Return whether the difference is allowed; see `allowed`."""
        return self.amount <= self.allowed(tolerance, rounding)

    @property
    def _unit(self) -> float:
        return max(1.0, self.scale)


class _Columns:
    """What was found of one port, by the place in its last axis if that is one of features."""

    def __init__(self, port: str, shape: tuple[int, ...], features: bool) -> None:
        self.port = port
        self._width = shape[-1] if features and shape else 1
        self._apart = np.zeros(self._width)
        self._scales = np.zeros(self._width)
        self._broken = ""

    def add(self, got: NDArray[Any], expected: NDArray[Any]) -> None:
        if got.shape != expected.shape:
            self._broken = f"in shape: {got.shape} where {expected.shape} was expected"
            return
        if not expected.size:
            return
        rows = max(1, _BLOCK // self._width)
        one, other = (array.reshape(-1, self._width) for array in (got, expected))
        for start in range(0, len(one), rows):
            mine, theirs = (a[start : start + rows].astype(np.float64) for a in (one, other))
            differ = mine != theirs  # equal infinities are no difference
            with np.errstate(invalid="ignore"):
                apart = np.where(differ, np.abs(mine - theirs), 0.0)
            if not np.isfinite(apart).all():
                self._broken = self._broken or "in where it is NaN or infinite"
                return
            scales = np.where(differ, np.abs(theirs), 0.0).max(0, initial=0.0)
            self._apart = np.maximum(self._apart, apart.max(0, initial=0.0))
            self._scales = np.maximum(self._scales, scales)

    def differences(self) -> list[Difference]:
        """Return the largest difference, and the largest as a part of its column's numbers."""
        if self._broken:
            return [Difference(self.port, np.inf, 0.0, 0.0, self._broken)]
        whole = float(self._scales.max(initial=0.0))
        scales = np.maximum(self._scales, _FLOOR * whole)
        places = {
            int(np.argmax(self._apart / np.maximum(1.0, scales))),
            int(np.argmax(self._apart / np.maximum(scales, np.finfo(np.float64).tiny))),
        }
        return [self._at(place, float(scales[place]), whole) for place in sorted(places)]

    def _at(self, place: int, scale: float, whole: float) -> Difference:
        absolute = float(self._apart[place])
        return Difference(self.port, absolute, scale, whole, f"by {absolute / max(1, scale):.1e}")


class Comparison:
    """What was compared of two runs, all at once or piece by piece.

    Args:
        features: Names of the ports whose last axis is one of features, each of its own scale.

    Attributes:
        compared: How many numbers were compared.
    """

    def __init__(self, features: Collection[str] = ()) -> None:
        self._features = features
        self._ports: dict[str, _Columns] = {}
        self.compared = 0

    def add(self, got: Arrays, expected: Arrays) -> None:
        """Compare what was got with a part of what is expected, port by port."""
        for name, wanted in expected.items():
            if name not in self._ports:
                self._ports[name] = _Columns(name, wanted.shape, name in self._features)
            self.compared += wanted.size
            self._ports[name].add(got[name], wanted)

    @property
    def largest(self) -> Difference:
        """The largest difference of all ports."""
        nothing = Difference("", 0.0, 0.0, 0.0, "")
        return max(self._found(), key=lambda one: one.amount, default=nothing)

    def over(self, tolerance: float) -> list[Difference]:
        """Return the differences that do not pass, the largest first."""
        found = [one for one in self._found() if not one.passes(tolerance)]
        return sorted(found, key=lambda one: -one.amount)

    def rounding(self, port: str) -> float:
        """Return the absolute difference at a port, taken for what rounding costs there.

        It is at least that of another port: where one shows little of it, that is by chance.
        """
        own = max((one.absolute for one in self._ports[port].differences()), default=0.0)
        return max(own, self.largest.amount)

    def _found(self) -> list[Difference]:
        return [found for port in self._ports.values() for found in port.differences()]


def compare(
    got: tuple[Arrays, Arrays], expected: tuple[Arrays, Arrays], features: Collection[str] = ()
) -> Comparison:
    """Compare outputs and states of one run with those of another; see `Comparison`."""
    comparison = Comparison(features)
    comparison.add({**got[0], **got[1]}, {**expected[0], **expected[1]})
    return comparison
