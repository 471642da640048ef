"""One call at a time."""

from __future__ import annotations

import threading

from edgernn.errors import StateError

__all__ = ["Turn"]


class Turn:
    """Lets one thread at a time into a `with` block; the others wait.

    Within a block, the same thread cannot enter it again, as a signal handler or `__del__` would.
    """

    __slots__ = ("_entered", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entered = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._entered:
            self._lock.release()
            raise StateError(
                "The pool was called while a call of it runs in the same thread, as from a signal "
                "handler or `__del__`. Call it after the other call has returned."
            )
        self._entered = True

    def __exit__(self, *exception: object) -> None:
        self._entered = False
        self._lock.release()
