"""Times, rates and shares of `edgernn bench`, as people read them."""

from __future__ import annotations

from edgernn.runtime.measure.speed import Speed

__all__ = ["microseconds", "number_text", "share_percent", "share_phrase", "time_text"]

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_PHRASES = {
    "memory": "of the memory's bandwidth",
    "cache": "of the cache's bandwidth",
    "peak": "of the float32 peak",
}


def time_text(seconds: float) -> str:
    """Return a time with three digits in a unit that keeps it short: `8.62 µs`."""
    scale, unit = next((one for one in _UNITS if seconds >= one[0]), _UNITS[-1])
    return f"{number_text(seconds / scale)} {unit}"


def microseconds(seconds: float) -> str:
    """Return a time with three digits in µs, without the unit: `8.62`, `12,300`."""
    return number_text(seconds * 1e6)


def number_text(number: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, without an exponent; `-` for None."""
    if number is None:
        return "-"
    rounded = float(f"{number:.{digits}g}")
    if rounded < 1:
        return f"{rounded:g}"
    decimals = max(0, digits - len(f"{int(rounded)}"))
    return f"{rounded:,.{decimals}f}"


def share_percent(speed: Speed) -> str:
    """Return how near to its limit a speed is, in percent: `87`."""
    percent = 100 * speed.share
    return f"{percent:.0f}" if percent >= 1 else "<1"


def share_phrase(speed: Speed) -> str:
    """Return the same for a reader: `87 % of the memory's bandwidth`."""
    return f"{share_percent(speed)} % {_PHRASES[speed.bound.of]}"
