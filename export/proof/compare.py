"""How far two runs are apart, at which port and in which way, and whether that passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.report import furthest, magnitude

__all__ = ["CEILING", "Comparison", "Difference", "compare"]

Arrays = Mapping[str, NDArray[Any]]

CEILING = 1e-3
"""What rounding may excuse at most, as a part of the numbers' scale."""

_SMALL = 100
"""How much more a difference may be of numbers that are small, as a part of their scale."""

_ROUNDING = 2e-7
"""The absolute difference that passes however small the numbers are: what is left where numbers of
magnitude 1 cancel out in float32."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of two runs at one port.

    Attributes:
        port: The port or state.
        absolute: The largest absolute difference; infinite where no number tells.
        scale: The largest magnitude that was expected.
        how: In words: by how much, or in which way.
    """

    port: str
    absolute: float
    scale: float
    how: str

    @property
    def amount(self) -> float:
        """The difference as `edgernn.report.difference` has it: relative where above 1."""
        return self.absolute / self._unit

    def allowed(self, tolerance: float, rounding: float = 0.0) -> float:
        """Return the largest amount that passes.

        Args:
            tolerance: The largest amount that passes where the scale is 1.
            rounding: What float32 itself costs the reference, as an amount. It excuses twice as
                much, but no more than `CEILING` of the scale.
        """
        small = max(_ROUNDING, _SMALL * tolerance * self.scale)
        least = min(tolerance * self._unit, small)
        excused = least + 2 * rounding * self._unit
        return min(excused, max(least, CEILING * self.scale)) / self._unit

    def passes(self, tolerance: float, rounding: float = 0.0) -> bool:
        """Return whether the difference is allowed; see `allowed`."""
        return self.amount <= self.allowed(tolerance, rounding)

    @property
    def _unit(self) -> float:
        return max(1.0, self.scale)


class Comparison:
    """What was compared of two runs, all at once or piece by piece.

    Args:
        expected: What is expected of the whole run, by port name: the scale of a difference.

    Attributes:
        compared: How many numbers were compared.
    """

    def __init__(self, expected: Arrays) -> None:
        self._scales = {name: magnitude(array) for name, array in expected.items()}
        self._found: dict[str, Difference] = {}
        self.compared = 0

    def add(self, got: Arrays, expected: Arrays) -> None:
        """Compare what was got with a part of what is expected, port by port."""
        for name, wanted in expected.items():
            have, scale = got[name], self._scales[name]
            self.compared += wanted.size
            absolute = furthest(have, wanted)
            known = self._found.get(name)
            if known is None or absolute > known.absolute:
                how = _how(have, wanted, absolute / max(1.0, scale))
                self._found[name] = Difference(name, absolute, scale, how)

    @property
    def largest(self) -> Difference:
        """The largest difference of all ports."""
        nothing = Difference("", 0.0, 0.0, "")
        return max(self._found.values(), key=lambda one: one.amount, default=nothing)

    def over(self, tolerance: float) -> list[Difference]:
        """Return the differences that do not pass, the largest first."""
        found = [one for one in self._found.values() if not one.passes(tolerance)]
        return sorted(found, key=lambda one: -one.amount)


def compare(got: tuple[Arrays, Arrays], expected: tuple[Arrays, Arrays]) -> Comparison:
    """Compare outputs and states of one run with those of another."""
    wanted = {**expected[0], **expected[1]}
    comparison = Comparison(wanted)
    comparison.add({**got[0], **got[1]}, wanted)
    return comparison


def _how(got: NDArray[Any], expected: NDArray[Any], amount: float) -> str:
    if got.shape != expected.shape:
        return f"in shape: {got.shape} where {expected.shape} was expected"
    if np.isfinite(amount):
        return f"by {amount:.1e}"
    return "in where it is NaN or infinite"
