"""The axes of memory that are the batch, and those that no state may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.streaming.attribute_leaves import Leaf, owners_of, shape_of
from edgernn.export.streaming.memory_probe import MemoryProbe, Values, same_leaf, vary
from edgernn.export.streaming.refused_memory import memory_refusal
from edgernn.untrusted_text import first_line

__all__ = ["MemoryAxes"]


class MemoryAxes:
    """The axes of memory that are the batch, found by calls at another size of every axis."""

    def __init__(
        self, probe: MemoryProbe, example: ExampleCall, leaves: Mapping[str, Leaf]
    ) -> None:
        self._probe = probe
        self._example = example
        self._sizes = {path: shape_of(leaf) for path, leaf in leaves.items()}
        self._shapes: dict[str, list[int | str]] = {p: [*one] for p, one in self._sizes.items()}

    def of(self, path: str) -> tuple[int | str, ...]:
        """Return the size of every axis, or the name of a dynamic one."""
        return tuple(self._shapes[path])

    def constant(self, values: Values, data: Sequence[ExampleCall]) -> tuple[str, int, str] | None:
        """Return a dynamic axis of the example that must be a constant, its size, and why.

        Raises:
            UnsupportedModelError: Memory grows with another axis than the batch.
        """
        for symbol, size in self._example.sizes.items():
            try:
                other = self._example.resized({symbol: size + 1})
                calls = self._probe.calls([vary(self._probe.module, other, n) for n in range(3)])
            except Exception as error:
                return symbol, size, f"at another size a second call fails ({first_line(error)})."
            for path, sizes in self._sizes.items():
                leaf = calls[-1].leaves.get(path)
                if leaf is None or len(shape_of(leaf)) != len(sizes):
                    return symbol, size, f"at another size `self.{path}` has another form."
                for axis, now in enumerate(shape_of(leaf)):
                    if now != sizes[axis] and symbol != BATCH:
                        raise memory_refusal(
                            self._probe.module,
                            owners_of(values, [path]),
                            f"it grows with `{symbol}`, and of the axes of a state only the batch "
                            "may be dynamic",
                        )
                    if now != sizes[axis]:
                        self._shapes[path][axis] = BATCH
        shared = next(self._shared(values, data), None)
        if shared is None:
            return None
        return BATCH, 1, f"all sequences of a call share `self.{shared}`."

    def _shared(self, values: Values, data: Sequence[ExampleCall]) -> Iterator[str]:
        """Yield memory that is computed from the data of all sequences of a batch together."""
        if BATCH not in self._example.sizes:
            return
        one, other = (self._probe.call(example, values).leaves for example in data[-2:])
        for path, shape in self._shapes.items():
            if BATCH not in shape and not same_leaf(one[path], other[path]):
                yield path
