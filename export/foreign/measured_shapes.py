"""The shapes of a file's values in terms of its dynamic axes, found out by running it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from edgernn.axis_sizes import evaluate_size
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.foreign.instrumented import Watched
from edgernn.export.ir.onnx_session import Arrays

__all__ = ["Sizes"]

_STRIDES = (*range(2, 17), 20, 32, 40, 64, 80, 100, 128, 160, 200, 256, 320, 512)

_SMALL, _MORE = 64, 24
"""The sizes that are tried to tell rules apart, and how many of them at most."""

_Probe = tuple[dict[str, int], Arrays, dict[str, tuple[int, ...]]]


class Sizes:
    """What every axis is at any size of the dynamic axes.

    Args:
        watched: The file.
        example: Inputs that it takes, with its dynamic axes.
    """

    def __init__(self, watched: Watched, example: ExampleCall) -> None:
        self._watched = watched
        self._example = example
        self._tried: list[dict[str, int]] = []
        self._probes: list[_Probe] = []
        for place, sizes in enumerate(_first_sizes(example)):
            self._probe(sizes, needed=place == 0)
        self._symbols = list(self._probes[0][0])

    @property
    def runs(self) -> list[Arrays]:
        """Inputs at every size that was tried and that the file takes."""
        return [feeds for _, feeds, _ in self._probes]

    def of(self, name: str) -> tuple[int | str, ...]:
        """Return the shape of an output or a watched value; an axis of no known rule has a name."""
        _, _, shapes = self._probes[0]
        return tuple(
            self._rule(name, axis) or f"{name}_dim{axis}" for axis in range(len(shapes[name]))
        )

    def _rule(self, name: str, axis: int) -> int | str | None:
        """Return the size or the first expression that gives all sizes that were found.

        Where several do, the file is run at sizes at which they differ.
        """
        first = self._probes[0][2][name][axis]
        if all(shapes[name][axis] == first for _, _, shapes in self._probes):
            return first
        rules = self._fitting(self._rules(first), name, axis)
        for _ in range(_MORE):
            telling = self._telling(rules)
            if telling is None:
                break
            self._probe(telling)
            rules = self._fitting(rules, name, axis)
        return rules[0] if rules else None

    def _fitting(self, rules: Iterable[str], name: str, axis: int) -> list[str]:
        return [
            rule
            for rule in rules
            if all(
                evaluate_size(rule, sizes) == shapes[name][axis]
                for sizes, _, shapes in self._probes
            )
        ]

    def _telling(self, rules: Sequence[str]) -> dict[str, int] | None:
        """Return sizes that were not tried yet and at which rules differ from the first one."""
        base = self._probes[0][0]
        for symbol in self._symbols:
            for size in range(1, _SMALL):
                sizes = {**base, symbol: size}
                if sizes in self._tried:
                    continue
                if len({evaluate_size(rule, sizes) for rule in rules}) > 1:
                    return sizes
        return None

    def _probe(self, sizes: dict[str, int], needed: bool = False) -> None:
        """Run the file at some sizes, as far as it takes them."""
        self._tried.append(sizes)
        feeds = {leaf.path: leaf.tensor.numpy() for leaf in self._example.resized(sizes).tensors}
        try:
            values = self._watched.values(feeds)
        except Exception:
            if needed:
                raise
            return
        self._probes.append((sizes, feeds, {name: value.shape for name, value in values.items()}))

    def _rules(self, first: int) -> Iterator[str]:
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


def _first_sizes(example: ExampleCall) -> Iterator[dict[str, int]]:
    """Yield the example's sizes, then others."""
    sizes = example.sizes
    yield sizes
    for symbol, size in sizes.items():
        for other in (size + 1, 2 * size + 5, 7 * size + 12):
            yield {**sizes, symbol: other}
    yield {symbol: 3 * size + place for place, (symbol, size) in enumerate(sizes.items())}
