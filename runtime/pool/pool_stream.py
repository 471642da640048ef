"""One stream of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import ArrayLike, NDArray

from edgernn.facts import Facts, ShownAsFacts
from edgernn.runtime.check_inputs import format_steps

if TYPE_CHECKING:
    from edgernn.runtime.pool.stream_pool import Outputs, StreamPool

__all__ = ["PoolStream"]


class PoolStream(ShownAsFacts):
    """One stream of a `StreamPool`; `StreamPool.open` returns it.

    It is one sequence: its data has no batch axis. In a `with` block it is closed at the end.

    Attributes:
        pool: The pool that it belongs to.
    """

    __slots__ = ("_row", "pool")

    def __init__(self, pool: StreamPool, row: int) -> None:
        self.pool = pool
        self._row = row

    def _facts(self) -> tuple[str, Facts]:
        title = f"PoolStream of {self.pool.contract.source}"
        if self.closed:
            return title, [("closed", "yes")]
        rest = self.rest
        return title, [
            ("row", f"{self._row:,}"),
            ("steps", f"{self.steps:,} so far"),
            *([("rest", f"{format_steps(rest)} kept")] if rest else []),
        ]

    @property
    def closed(self) -> bool:
        """Whether the stream was closed."""
        return self._row < 0

    @property
    def row(self) -> int:
        """The place in `pool.streams`, and of its row in arrays of all streams.

        When another stream is closed, the last one of the pool takes its place.
        """
        return self.pool._row_of(self)

    @property
    def steps(self) -> int:
        """The number of steps that were run since the stream was opened or reset."""
        return self.pool._steps(self)

    @property
    def rest(self) -> int:
        """The number of steps that are kept until they fill a hop."""
        return self.pool._rest_steps(self)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the state, as `Stream.snapshot` does: it fits `model.stream()` too."""
        return self.pool._snapshot(self)

    def restore(self, snapshot: Mapping[str, ArrayLike]) -> None:
        """Continue from a snapshot of a stream of the same model, in a pool or by itself.

        Args:
            snapshot: What `snapshot` returned, for a batch of 1; `steps` does not change.

        Raises:
            StateError: A name, dtype, shape or value is not this model's; or the stream is closed.
        """
        self.pool._restore(self, snapshot)

    def reset(self) -> None:
        """Return to the initial state; a rest is dropped."""
        self.pool._reset(self)

    def finish(self, pad: float | None = None, **named: ArrayLike) -> Outputs:
        """End the sequence, and return the outputs that come only then, as `Stream.finish` does.

        Args:
            pad: A value that fills the rest up to a hop; None to leave the rest out.
            named: The data inputs that have no axis of steps, if there are any.

        Returns:
            The outputs, without a batch axis. The stream then takes no more steps before `reset`
            or `restore`.

        Raises:
            InputError: The stream has finished, an input is missing, or does not take the padding.
        """
        return self.pool._finish(self, pad, named)

    def close(self) -> None:
        """Close the stream; closing it again does nothing."""
        if not self.closed:
            self.pool.close(self)

    def __enter__(self) -> PoolStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A stream of a pool cannot be copied or pickled. Copy it with "
            "pool.open(stream.snapshot()), and pickle stream.snapshot()."
        )
