"""Recurrent cells straight from the equations of ONNX's operator documentation.

For the attributes that torch has no word for: other activations, `clip`, `input_forget` and
`linear_before_reset=0`. One layer, one direction, weights in ONNX's gate order. `clip` bounds what
goes into the gates, not the cell state before its activation, as ONNX Runtime and OpenVINO have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["cell"]

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "Tanh": np.tanh,
    "Relu": lambda a: np.maximum(a, 0),
}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def cell(kind: str, weights: Any, attributes: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """Return a function of (batch, input) and the states that gives the next states."""
    w, r, (b, c) = weights[0], weights[1], np.split(weights[2], 2)
    names = attributes.get("activations", DEFAULTS[kind])
    clip = attributes.get("clip", np.inf)
    last = ACTIVATIONS[names[-1]]

    def f(a: Any) -> Any:
        return ACTIVATIONS[names[0]](np.clip(a, -clip, clip))

    def g(a: Any) -> Any:
        return ACTIVATIONS[names[1]](np.clip(a, -clip, clip))

    def rnn(x: Any, states: Any) -> Any:
        return [f(x @ w.T + states[0] @ r.T + b + c)]

    def gru(x: Any, states: Any) -> Any:
        (h,) = states
        xz, xr, xn = np.split(x @ w.T + b, 3, 1)
        hz, hr, hn = np.split(h @ r.T + c, 3, 1)
        z, reset = f(xz + hz), f(xr + hr)
        if attributes.get("linear_before_reset", 1) == 0:
            rows = len(c) // 3
            n = g(xn + (reset * h) @ r[-rows:].T + c[-rows:])
        else:
            n = g(xn + reset * hn)
        return [(1 - z) * n + z * h]

    def lstm(x: Any, states: Any) -> Any:
        i, o, forget, n = np.split(x @ w.T + states[0] @ r.T + b + c, 4, 1)
        i = f(i)
        keep = 1 - i if attributes.get("input_forget") else f(forget)
        after = keep * states[1] + i * g(n)
        return [f(o) * last(after), after]

    return {"LSTM": lstm, "GRU": gru, "RNN": rnn}[kind]
