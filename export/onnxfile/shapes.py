"""The shapes of a file's values in terms of its dynamic axes, found out by running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from edgernn.export.example.call import Example
from edgernn.export.onnxfile.session import Arrays
from edgernn.export.onnxfile.watched import Watched
from edgernn.sizes import size_of

__all__ = ["Sizes"]

_STRIDES = (*range(2, 17), 20, 32, 40, 64, 80, 100, 128, 160, 200, 256, 320, 512)

_Probe = tuple[dict[str, int], Arrays, dict[str, tuple[int, ...]]]


class Sizes:
    """What every axis is at any size of the dynamic axes.

    Args:
        watched: The file.
        example: Inputs that it takes, with its dynamic axes.
    """

    def __init__(self, watched: Watched, example: Example) -> None:
        self._probes = list(_probes(watched, example))
        self._symbols = list(self._probes[0][0])

    @property
    def runs(self) -> list[Arrays]:
        """Inputs at every size that was tried and that the file takes."""
        return [feeds for _, feeds, _ in self._probes]

    def of(self, name: str) -> tuple[int | str, ...]:
        """Return the shape of an output or a watched value; an axis of no known rule has a name."""
        shapes = [shapes[name] for _, _, shapes in self._probes]
        return tuple(
            self._rule([shape[axis] for shape in shapes]) or f"{name}_dim{axis}"
            for axis in range(len(shapes[0]))
        )

    def _rule(self, found: Sequence[int]) -> int | str | None:
        """Return the size or the first expression that gives all sizes that were found."""
        if len(set(found)) == 1:
            return found[0]
        for rule in self._rules(found[0]):
            if all(
                size_of(rule, sizes) == size
                for (sizes, _, _), size in zip(self._probes, found, strict=True)
            ):
                return rule
        return None

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


def _probes(watched: Watched, example: Example) -> Iterator[_Probe]:
    """Run the file at the example's sizes, then at others as far as it takes them."""
    sizes = {
        symbol: leaf.tensor.shape[axis]
        for leaf in example.leaves
        for axis, symbol in enumerate(leaf.shape)
        if isinstance(symbol, str)
    }
    others = [
        {**sizes, symbol: other}
        for symbol, size in sizes.items()
        for other in (size + 1, 2 * size + 5, 7 * size + 12)
    ]
    others.append({symbol: 3 * size + place for place, (symbol, size) in enumerate(sizes.items())})
    for place, changed in enumerate((sizes, *others)):
        feeds = {leaf.path: leaf.tensor.numpy() for leaf in example.resized(changed).leaves}
        try:
            values = watched.values(feeds)
        except Exception:
            if place == 0:
                raise
            continue
        yield changed, feeds, {name: value.shape for name, value in values.items()}
