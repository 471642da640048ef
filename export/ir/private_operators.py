"""The operators that edgernn writes while a graph is made, and lowers before it is finished."""

from __future__ import annotations

__all__ = ["EDGERNN", "LOOP", "PAD", "RUNNING", "TORCH"]

TORCH = "torch"
"""Domain of recurrent calls as torch makes them: one node per call, with torch's arguments."""

LOOP = "loop"
"""`torch::loop`: one loop over time."""

PAD = "pad_packed_sequence"
"""`torch::pad_packed_sequence`: zeros after the end of each sequence."""

EDGERNN = "edgernn"
"""Domain of what ONNX has no operator for: an LSTM with a projection, and `Running`."""

RUNNING = "Running"
"""`edgernn::Running`: running results along an axis."""
