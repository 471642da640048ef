"""A module left as it was found, whatever its forward keeps on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

__all__ = ["untouched"]

_TABLES = ("_parameters", "_buffers", "_modules")


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the attributes of `module` and its parts back to what they were before the block.

    A forward that keeps its state on the module, as `_, self.hidden = self.rnn(x, self.hidden)`
    does, starts every run from the state that the module came with. So does one that registers a
    weight of its layer anew, as weight drop does.
    """
    before = [
        (part, dict(vars(part)), {table: dict(vars(part)[table]) for table in _TABLES})
        for part in module.modules()
    ]
    try:
        yield
    finally:
        for part, attributes, tables in before:
            vars(part).clear()
            vars(part).update(attributes)
            for table, entries in tables.items():
                vars(part)[table].clear()
                vars(part)[table].update(entries)
