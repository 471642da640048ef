"""A module left as it was found, whatever its forward keeps on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

__all__ = ["untouched"]


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the attributes of `module` and its parts back to what they were before the block.

    A forward that keeps its state on the module, as `_, self.hidden = self.rnn(x, self.hidden)`
    does, starts every run from the state that the module came with.
    """
    before = [(part, dict(vars(part)), dict(part._buffers)) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes, buffers in before:
            vars(part).clear()
            vars(part).update(attributes)
            part._buffers.clear()
            part._buffers.update(buffers)
