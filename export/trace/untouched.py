"""A module left as it was found, whatever its forward keeps on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["untouched"]

_TABLES = ("_parameters", "_buffers", "_modules")


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put the attributes of `module` and its parts back to what they were before the block.

    A forward that keeps its state on the module, as `_, self.hidden = self.rnn(x, self.hidden)`
    does, starts every run from the state that the module came with. So does one that registers a
    weight anew, or puts it into a layer's list of weights.
    """
    before = [
        (vars(part), dict(vars(part)), dict(_contents(vars(part)))) for part in module.modules()
    ]
    try:
        yield
    finally:
        for attributes, own, contents in before:
            attributes.clear()
            attributes.update(own)
            for name, content in contents.items():
                held = own[name]
                held.clear()
                (held.update if isinstance(held, dict) else held.extend)(content)


def _contents(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield by name what a forward may change within an attribute: weights and lists."""
    for name, value in attributes.items():
        if name in _TABLES or type(value) in (dict, list):
            yield name, value.copy()
