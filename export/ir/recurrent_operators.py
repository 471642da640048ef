"""What recurrent operators are: their gates, in torch's order and in ONNX's."""

from __future__ import annotations

__all__ = ["STILL"]

STILL = {"LSTM": (-1e4, 0.0, 1e4, 0.0), "GRU": (1e4, 0.0, 0.0)}
"""For each gate in ONNX's order, what drives it to hold the state still.

LSTM's input gate shut and forget gate open, GRU's update gate open. No gate of an RNN can.
"""
