"""torch's table of ONNX functions, made once per process."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

from torch.onnx._internal.exporter._registration import ONNXRegistry

__all__ = ["one_registry"]

_made_once = staticmethod(functools.cache(ONNXRegistry.from_torchlib))


@contextlib.contextmanager
def one_registry() -> Iterator[None]:
    """Let `torch.onnx.export` take the table that it made at an earlier call.

    It makes a new one at every call otherwise, and parses the source of some 500 functions for it,
    which takes longer than the export of a small model.
    """
    with mock.patch.object(ONNXRegistry, "from_torchlib", _made_once):
        yield
