"""The parts of a call that run as one batch each, and their run despite interrupts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import ProviderError
from edgernn.runtime.pool.pool_states import Rows

__all__ = ["Part", "complete", "parts_of", "run_parts"]


@dataclass(frozen=True)
class Part:
    """Streams of a call that run as one batch.

    Attributes:
        rows: Their rows.
        entries: Their places in the call.
        block: The block that they are, in the order of its rows; None where they are not a block.
    """

    rows: Rows
    entries: slice | NDArray[np.intp]
    block: int | None = None


def parts_of(rows: Rows, size: int, whole: int) -> list[Part]:
    """Return the parts of a call: whole blocks in place, and what is left by up to `size` rows.

    Args:
        rows: The rows of the call, each once.
        size: The number of rows of a block.
        whole: The number of first rows whose blocks run in place, where all of them are in the
            call.
    """
    order = None if (np.diff(rows) > 0).all() else np.argsort(rows)
    ordered = rows if order is None else rows[order]
    parts, left = [], [np.zeros(0, np.intp)]
    starts = np.searchsorted(ordered, np.arange(0, int(ordered[-1]) + 1, size))
    for block, (start, stop) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        if start == stop:
            continue
        if stop - start == min(size, whole - block * size):
            entries = slice(start, stop) if order is None else order[start:stop]
            parts.append(Part(ordered[start:stop], entries, block))
        else:
            left.append(np.arange(start, stop))
    rest = np.concatenate(left)
    for start in range(0, len(rest), size):
        found = rest[start : start + size]
        in_line = order is None and found[-1] - found[0] == len(found) - 1
        entries = slice(found[0], found[-1] + 1) if in_line else found
        entries = entries if order is None else order[found]
        parts.append(Part(ordered[found], entries))
    return parts


def run_parts(parts: Sequence[Part], run: Callable[[Part], Callable[[], None]]) -> None:
    """Run parts one after another; an interrupt after the first waits until all are done.

    Args:
        parts: The parts, at least one.
        run: Runs a part without a change of any stream, and returns the function that makes its
            result the state of its streams; this one may be run again where it was interrupted.

    Raises:
        ProviderError: ONNX Runtime failed; the message says which streams have made the step.
        BaseException: The interrupt, such as KeyboardInterrupt. No stream has changed, or all have.
    """
    progress = _Progress(parts, run)
    progress.commit = run(parts[0])
    try:
        complete(progress.go_on)
    except ProviderError as error:
        raise ProviderError(progress.partial_failure(error)) from error


def complete(action: Callable[[], None]) -> None:
    """Run an action to its end; an interrupt, such as KeyboardInterrupt, waits until then.

    Args:
        action: May be run again where it was interrupted.
    """
    interrupt: BaseException | None = None
    while True:
        try:
            action()
            break
        except Exception:
            raise
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


class _Progress:
    """How far a call is.

    Attributes:
        done: The number of parts whose streams have changed.
        commit: What changes the streams of the part after them, once it has run.
    """

    def __init__(self, parts: Sequence[Part], run: Callable[[Part], Callable[[], None]]) -> None:
        self.parts, self.run = parts, run
        self.done = 0
        self.commit: Callable[[], None] | None = None

    def go_on(self) -> None:
        """Run what is left.

        Nothing is called between the two assignments, so no signal handler runs there.
        """
        while self.done < len(self.parts):
            if self.commit is None:
                self.commit = self.run(self.parts[self.done])
            self.commit()
            self.done, self.commit = self.done + 1, None

    def partial_failure(self, error: ProviderError) -> str:
        """Return the message of a failure after some of the parts."""
        ahead = sum(len(part.rows) for part in self.parts[: self.done])
        count = sum(len(part.rows) for part in self.parts)
        reason = str(error).removesuffix(" No state was changed.")
        return (
            f"{reason} {ahead} of the {count} streams have made this step, and the others have not "
            "changed: see `stream.steps`."
        )
