"""Many independent streams that are stepped as one batch; entry `StreamPool`."""

from __future__ import annotations

from edgernn.runtime.pool.pool_stream import PoolStream
from edgernn.runtime.pool.stream_pool import StreamPool

__all__ = ["PoolStream", "StreamPool"]
