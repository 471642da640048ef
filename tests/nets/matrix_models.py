"""Torch models whose exported graphs the matrix loads, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgernn.export.options import Precision
from tests.matrix.layers import HIDDEN, INPUT, SYMBOLS

__all__ = ["MODELS", "Model"]

_KINDS = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Model:
    """What `export_model` is given.

    Attributes:
        make: Makes the module; its weights are drawn from torch's generator.
        inputs: As for `export_model`.
        graphs: What it gives; a bidirectional layer has no step.
        sizes: Steps and batch where these are constant.
        precision: As for `export_model`.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    graphs: tuple[str, ...] = ("sequence", "step")
    sizes: tuple[int, int] | None = None
    precision: Precision = "float32"


class Tagger(nn.Module):
    """Embedding, a layer batch first, and a head with probabilities for every symbol."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.table = nn.Embedding(SYMBOLS, INPUT)
        self.rnn = getattr(nn, kind)(INPUT, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.rnn(self.table(ids))[0])
        return scores.log_softmax(2)


class Wide(nn.Module):
    """A layer with a head, wide enough for int4."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(INPUT, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.rnn(x)[0])
        return scores


class Last(nn.Module):
    """A head on the last step alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(INPUT, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.head(self.rnn(x)[0][:, -1]))


class Loop(nn.Module):
    """A loop over time around two stacked cells."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        cell = getattr(nn, f"{kind}Cell")
        self.kind, self.first, self.second = kind, cell(INPUT, HIDDEN), cell(HIDDEN, HIDDEN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states: list[Any] = [None, None]
        rows = []
        for x_t in x:
            for place, cell in enumerate((self.first, self.second)):
                states[place] = cell(x_t, states[place])
                x_t = states[place][0] if self.kind == "LSTM" else states[place]
            rows.append(x_t)
        return torch.stack(rows)


class Concatenated(nn.Module):
    """One step of a recurrence that no layer of torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(INPUT + HIDDEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.outer = nn.Linear(INPUT + HIDDEN, 2)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        joined = torch.cat((x, hidden), 1)
        return self.outer(joined).log_softmax(1), torch.tanh(self.norm(self.inner(joined)))


class Gated(nn.Module):
    """One step of a minimal gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(INPUT + HIDDEN, HIDDEN)
        self.new = nn.Linear(INPUT + HIDDEN, HIDDEN)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(torch.cat((x, hidden), 1)))
        new = torch.tanh(self.new(torch.cat((x, gate * hidden), 1)))
        return (1 - gate) * hidden + gate * new


class Packed(nn.Module):
    """Sequences that end at their own lengths."""

    def __init__(self, kind: str, bidirectional: bool) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(INPUT, HIDDEN, bidirectional=bidirectional)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        rows = pack_padded_sequence(x, lengths, enforce_sorted=False)
        y: torch.Tensor = pad_packed_sequence(self.rnn(rows)[0], total_length=x.shape[0])[0]
        return y


class Flattened(nn.Module):
    """All steps of all sequences as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(INPUT, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.head(self.rnn(x)[0].reshape(-1, HIDDEN))
        return rows


class Learned(nn.Module):
    """A layer that starts from a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(INPUT, HIDDEN)
        self.h = nn.Parameter(torch.rand(1, 1, HIDDEN))
        self.c = nn.Parameter(torch.rand(1, 1, HIDDEN))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[1]
        y: torch.Tensor = self.rnn(x, (self.h.repeat(1, batch, 1), self.c.repeat(1, batch, 1)))[0]
        return y


class Given(nn.Module):
    """A layer whose state goes in and out of forward."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(INPUT, HIDDEN, 2, batch_first=True)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        y, (h, c) = self.rnn(x, (h, c))
        return y, h, c


class Detector(nn.Module):
    """A convolution within each frame, before a layer, before a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)
        self.rnn = nn.GRU(2 * (INPUT + 3), HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        frames = self.conv(x.reshape(batch * steps, 1, width)).relu()
        score: torch.Tensor = self.head(self.rnn(frames.reshape(batch, steps, -1))[0])
        return score.sigmoid()


class Chosen(nn.Module):
    """The best symbols and their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(INPUT, HIDDEN, batch_first=True)
        self.norm = nn.LayerNorm(HIDDEN)
        self.head = nn.Sequential(nn.Linear(HIDDEN, SYMBOLS), nn.GELU())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.head(self.norm(self.rnn(x)[0]))
        return scores.softmax(-1), scores.argmax(-1)


_X = (f"x:float32[sequence,batch,{INPUT}]",)
_ROWS = (f"x:float32[batch,sequence,{INPUT}]",)
_LAYER = (f"input:float32[sequence,batch,{INPUT}]",)
_STEP = (f"x:float32[batch,{INPUT}]", f"hidden:float32[batch,{HIDDEN}]")
_STATES = tuple(f"{letter}:float32[2,batch,{HIDDEN}]" for letter in "hc")


def _layer(kind: str, layers: int = 1, **options: Any) -> Model:
    return Model(
        lambda: getattr(nn, kind)(INPUT, HIDDEN, layers, **options),
        _LAYER,
        _graphs(options.get("bidirectional", False)),
    )


def _graphs(bidirectional: bool) -> tuple[str, ...]:
    return ("sequence",) if bidirectional else ("sequence", "step")


_MODELS: Mapping[str, Model] = {
    **{kind: _layer(kind) for kind in _KINDS},
    **{f"{kind} stacked": _layer(kind, 2) for kind in _KINDS},
    "RNN with relu": _layer("RNN", nonlinearity="relu"),
    "RNN with relu stacked": _layer("RNN", 2, nonlinearity="relu"),
    **{f"{kind} bidirectional": _layer(kind, 2, bidirectional=True) for kind in _KINDS},
    "RNN with relu bidirectional": _layer("RNN", nonlinearity="relu", bidirectional=True),
    **{
        f"{kind} between embedding and head": Model(
            partial(Tagger, kind), ("ids:int64[batch,sequence]",)
        )
        for kind in _KINDS
    },
    "last step": Model(Last, _ROWS),
    **{f"{kind}Cell loop": Model(partial(Loop, kind), _X) for kind in _KINDS},
    "hand-written cell": Model(Concatenated, _STEP),
    "minimal gated unit": Model(Gated, _STEP),
    "LSTM projected": _layer("LSTM", proj_size=2),
    "LSTM projected bidirectional": _layer("LSTM", proj_size=2, bidirectional=True),
    **{
        f"{kind} packed{' bidirectional' * both}": Model(
            partial(Packed, kind, both),
            (*_X, "lengths:int64[batch]"),
            _graphs(both),
        )
        for kind in _KINDS
        for both in (False, True)
    },
    "flattened output": Model(Flattened, _ROWS),
    "learned initial state": Model(Learned, _X),
    "given states": Model(Given, (*_ROWS, *_STATES)),
    "constant batch": Model(Last, (f"x:float32[1,sequence,{INPUT}]",)),
    "convolution before": Model(Detector, (f"x:float32[batch,sequence,{INPUT + 5}]",)),
    "layer norm, GELU, argmax": Model(Chosen, _ROWS),
    "GRU with a head in int8": Model(partial(Wide, "GRU"), _ROWS, precision="int8"),
    "LSTM in int8": replace(_layer("LSTM"), precision="int8"),
    "RNN with a head in int4": Model(partial(Wide, "RNN"), _ROWS, precision="int4"),
}

_CONSTANT = (
    *(f"{kind} stacked" for kind in _KINDS),
    "LSTM bidirectional",
    "GRU between embedding and head",
    "last step",
    "GRUCell loop",
    "minimal gated unit",
    "LSTM projected",
    "LSTM packed",
    "GRU packed bidirectional",
    "flattened output",
    "learned initial state",
    "convolution before",
)

MODELS: Mapping[str, Model] = {
    **_MODELS,
    **{f"{name}, constant": replace(_MODELS[name], sizes=(6, 3)) for name in _CONSTANT},
}
"""What users bring, by name."""
