"""The shapes of a file's values as expressions of its dynamic axes, fitted to measured sizes.

The file is run at several sizes, and the simplest expression that gives all sizes is taken:

    sequence    5, 6, 15, 47
    measured    2, 3, 7, 23        → sequence//2
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.instrumented_file import InstrumentedFile
from edgernn.export.ir.onnx_session import Arrays

__all__ = ["FittedShapes"]

_STRIDES = (*range(2, 17), 20, 32, 40, 64, 80, 100, 128, 160, 200, 256, 320, 512)

_LARGEST_SIZE, _MAX_PROBES = 64, 24
"""Below which size, and how often at most, the file is run again to tell expressions apart."""

_Probe = tuple[dict[str, int], Arrays, dict[str, tuple[int, ...]]]
"""The sizes of the axes, the inputs, and the shape of each value of a run."""


class FittedShapes:
    """The shape of every value of a file at any size of the dynamic axes of an example."""

    def __init__(self, session: InstrumentedFile, example: ExampleCall) -> None:
        self._session = session
        self._example = example
        self._tried: list[dict[str, int]] = []
        self._probes: list[_Probe] = []
        contract = session.file.contract
        self._units = {SEQUENCE: 1 if contract is None else contract.hop}
        for place, sizes in enumerate(_first_sizes(example, self._units)):
            self._probe(sizes, needed=place == 0)
        self._symbols = list(self._probes[0][0])

    @property
    def runs(self) -> list[Arrays]:
        """Inputs at every size that was tried and that the file takes."""
        return [feeds for _, feeds, _ in self._probes]

    def of(self, name: str) -> tuple[int | str, ...]:
        """Return the shape of an output or an inner value; a size of no expression gets a name."""
        _, _, shapes = self._probes[0]
        return tuple(
            self._expression(name, axis) or f"{name}_dim{axis}" for axis in range(len(shapes[name]))
        )

    def _expression(self, name: str, axis: int) -> int | str | None:
        """Return the size or the first expression that gives all sizes that were measured.

        Where several do, the file is run at sizes at which they differ.
        """
        first = self._probes[0][2][name][axis]
        if all(shapes[name][axis] == first for _, _, shapes in self._probes):
            return first
        expressions = self._that_fit(self._candidates(first), name, axis)
        for _ in range(_MAX_PROBES):
            sizes = self._distinguishing_sizes(expressions)
            if sizes is None:
                break
            self._probe(sizes)
            expressions = self._that_fit(expressions, name, axis)
        return expressions[0] if expressions else None

    def _that_fit(self, expressions: Iterable[str], name: str, axis: int) -> list[str]:
        return [
            expression
            for expression in expressions
            if all(
                evaluate_size(expression, sizes) == shapes[name][axis]
                for sizes, _, shapes in self._probes
            )
        ]

    def _distinguishing_sizes(self, expressions: Sequence[str]) -> dict[str, int] | None:
        """Return sizes that were not tried and at which the expressions differ, or None."""
        base = self._probes[0][0]
        for symbol in self._symbols:
            for size in range(1, _LARGEST_SIZE):
                sizes = {**base, symbol: size * self._units.get(symbol, 1)}
                if sizes in self._tried:
                    continue
                if len({evaluate_size(expression, sizes) for expression in expressions}) > 1:
                    return sizes
        return None

    def _probe(self, sizes: dict[str, int], needed: bool = False) -> None:
        """Run the file at some sizes; where it fails and is not `needed`, nothing is noted."""
        self._tried.append(sizes)
        feeds = self._example.resized(sizes).arrays
        try:
            values = self._session.values(feeds)
        except Exception:
            if needed:
                raise
            return
        self._probes.append((sizes, feeds, {name: value.shape for name, value in values.items()}))

    def _candidates(self, first: int) -> Iterator[str]:
        """Yield expressions that give `first` at the first probe, simple ones first."""
        sizes = self._probes[0][0]
        yield from self._symbols
        for a, b in combinations(self._symbols, 2):
            yield f"{a}*{b}"
        for symbol in self._symbols:
            size = sizes[symbol]
            if first % size == 0:
                yield f"{first // size}*{symbol}"
            yield _shifted(symbol, first - size)
            for stride in _STRIDES:
                for shift in range(first * stride - size, (first + 1) * stride - size):
                    yield (
                        f"({_shifted(symbol, shift)})//{stride}" if shift else f"{symbol}//{stride}"
                    )
        for a, b in combinations(self._symbols, 2):
            product = sizes[a] * sizes[b]
            if first % product == 0:
                yield f"{first // product}*{a}*{b}"


def _shifted(symbol: str, shift: int) -> str:
    return f"{symbol} {'-' if shift < 0 else '+'} {abs(shift)}" if shift else symbol


def _first_sizes(example: ExampleCall, units: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield the example's sizes, then others; those of an axis in `units` are multiples of that."""
    sizes = example.sizes
    yield sizes
    for symbol, size in sizes.items():
        unit = units.get(symbol, 1)
        for other in (size + unit, 2 * size + 5 * unit, 7 * size + 12 * unit):
            yield {**sizes, symbol: other}
    yield {
        symbol: 3 * size + place * units.get(symbol, 1)
        for place, (symbol, size) in enumerate(sizes.items())
    }
