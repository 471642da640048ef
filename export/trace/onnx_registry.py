"""torch's table of ONNX functions, made once per process."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

from torch.onnx._internal.exporter._registration import ONNXRegistry

__all__ = ["cache_onnx_registry"]

_made_once = staticmethod(functools.cache(ONNXRegistry.from_torchlib))


@contextlib.contextmanager
def cache_onnx_registry() -> Iterator[None]:
    """Let `torch.onnx.export` reuse the table of its first call in this process.

    Otherwise it makes one at every call and parses the source of some 500 functions for it, which
    takes longer than the export of a small model.
    """
    with mock.patch.object(ONNXRegistry, "from_torchlib", _made_once):
        yield
