"""Every form of graph that the matrix loads, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.matrix.cells import Cell
from tests.matrix.gelu import Gelu
from tests.matrix.layers import Layer

__all__ = ["AVOIDED", "EMITTED", "Form"]

Form = Layer | Cell | Gelu

_KINDS = ("LSTM", "GRU", "RNN")


def _with(**attributes: Any) -> dict[str, Any]:
    return {"attributes": tuple(attributes.items())}


EMITTED: Mapping[str, Form] = {
    **{kind: Layer(kind) for kind in _KINDS},
    **{f"{kind} bidirectional": Layer(kind, bidirectional=True) for kind in _KINDS},
    **{f"{kind} stacked": Layer(kind, 2) for kind in _KINDS},
    **{f"{kind} stacked bidirectional": Layer(kind, 2, True) for kind in _KINDS},
    **{f"{kind} after an embedding": Layer(kind, embedding=True) for kind in _KINDS},
    **{f"{kind} in float16": Layer(kind, dtype="float16") for kind in _KINDS},
    "RNN with relu": Layer("RNN", relu=True),
    **{f"{kind} cell": Cell(kind) for kind in _KINDS},
    **{f"{kind} cell after an embedding": Cell(kind, embedding=True) for kind in _KINDS},
    **{f"{kind} cell in int8": Cell(kind, int8=True) for kind in _KINDS},
    **{f"{kind} cell over Scan": Cell(kind, "Scan") for kind in _KINDS},
    "GELU": Gelu(False),
}
"""What edgernn writes."""

AVOIDED: Mapping[str, Form] = {
    **{f"{kind} with sequence_lens": Layer(kind, lengths=True) for kind in _KINDS},
    **{f"{kind} reverse alone": Layer(kind, reverse=True) for kind in _KINDS},
    **{f"{kind} with layout=1": Layer(kind, batch_first=True) for kind in _KINDS},
    **{f"{kind} without bias": Layer(kind, bias=False) for kind in _KINDS},
    **{f"{kind} without initial state": Layer(kind, states=False) for kind in _KINDS},
    **{f"{kind} in float64": Layer(kind, dtype="float64") for kind in _KINDS},
    **{f"{kind} with clip": Layer(kind, **_with(clip=0.1)) for kind in _KINDS},
    "LSTM with relu": Layer("LSTM", **_with(activations=["Sigmoid", "Relu", "Tanh"])),
    "GRU with relu": Layer("GRU", **_with(activations=["Sigmoid", "Relu"])),
    "LSTM activations named": Layer("LSTM", **_with(activations=["Sigmoid", "Tanh", "Tanh"])),
    "GRU activations named": Layer("GRU", **_with(activations=["Sigmoid", "Tanh"])),
    "LSTM with input_forget": Layer("LSTM", **_with(input_forget=1)),
    "GRU with linear_before_reset=0": Layer("GRU", **_with(linear_before_reset=0)),
    "LSTM with sequence_lens, frozen": Layer("LSTM", lengths=True, frozen=(6, 2)),
    "LSTM without initial state, frozen": Layer("LSTM", states=False, frozen=(6, 2)),
    "LSTM without initial state, batch 1": Layer("LSTM", states=False, frozen=(6, 1)),
    "GRU without initial state, frozen": Layer("GRU", states=False, frozen=(6, 2)),
    "LSTM cell over Loop": Cell("LSTM", "Loop"),
    "GELU, halved first": Gelu(True),
    "IR version 14": Layer("LSTM", ir_version=14),
}
"""What edgernn does not write; other people's files have it."""
