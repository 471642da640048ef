"""Run artifacts and graphs through ONNX Runtime, without torch.

Importing this package does not import onnxruntime; `load` does.
"""

from __future__ import annotations

from edgernn.runtime.generation import generate
from edgernn.runtime.model import Model, Result, load
from edgernn.runtime.pool import PoolStream, StreamPool
from edgernn.runtime.stream import Stream

__all__ = ["Model", "PoolStream", "Result", "Stream", "StreamPool", "generate", "load"]
