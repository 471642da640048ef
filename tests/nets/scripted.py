"""Models to script or trace, and their TorchScript archives."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Out(NamedTuple):
    """What the tagger returns."""

    scores: Tensor
    last: Tensor


class Tagger(nn.Module):
    """Embedding, dropout, an LSTM with its own zeros, a head; returns a named tuple."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Embedding(7, 4), nn.Dropout(0.5))
        self.rnn = nn.LSTM(4, 3, 2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(3, 5)

    def forward(self, tokens):
        h = torch.zeros(2, tokens.size(0), 3)
        y, (h, _) = self.rnn(self.embed(tokens), (h, h))
        return Out(self.head(y), h)


class LastState(nn.Module):
    """Time-major, many layers, only the last hidden state used."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return torch.log_softmax(self.fc(h[-1]), dim=1)


class OptionalState(nn.Module):
    """A state that is optional, a flag, keyword arguments."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, bidirectional=True)

    def forward(self, x, hx: Tensor | None = None, scale: float = 2.0, double: bool = False):
        y, h = self.gru(x, hx)
        return {"y": y * scale if not double else y * (2 * scale), "h": h}


class CellLoop(nn.Module):
    """A Python loop over time around a cell."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 3)

    def forward(self, x):
        h, c = torch.zeros(x.size(1), 3), torch.zeros(x.size(1), 3)
        outputs: list[Tensor] = []
        for t in range(x.size(0)):
            h, c = self.cell(x[t], (h, c))
            outputs.append(h)
        return torch.stack(outputs), (h, c)


class Flat(nn.Module):
    """Sizes that are multiplied, divided and compared."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 6, nonlinearity="relu", batch_first=True)

    def forward(self, x):
        y, _ = self.rnn(x)
        n, t = y.size(0), y.size(1)
        flat = y.contiguous().view(n * t, y.size(2) // 2, 2)
        return flat.mean(dim=-1).view(n, t, -1) / t


class Packed(nn.Module):
    """Sequences of several lengths."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = self.lstm(packed)
        return pad_packed_sequence(y, batch_first=True)[0]


class Learned(nn.Module):
    """A learned initial state, and a plain tensor attribute."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(1, 1, 3))
        self.shift = torch.arange(3.0)

    def forward(self, x):
        return self.gru(x, self.h0.expand(-1, x.size(0), -1).contiguous())[0] + self.shift


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.rnn = nn.GRU(3, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def tokens(batch, sequence):
    """Return ids (batch, sequence) as the only argument."""
    return (torch.randint(7, (batch, sequence)),)


def features(first, second):
    """Return numbers (first, second, 4) as the only argument."""
    return (torch.randn(first, second, 4),)


def packed(batch, sequence):
    """Return numbers (batch, sequence, 4) and lengths, one of them full and one 1."""
    return torch.randn(batch, sequence, 4), torch.tensor(
        [1, sequence] + [min(2, sequence)] * (batch - 2)
    )


CASES = {
    "tagger": (Tagger, tokens, "lstm"),
    "last state": (LastState, features, "lstm"),
    "optional": (OptionalState, features, "gru"),
    "flat": (Flat, features, "rnn_relu"),
    "packed": (Packed, packed, "lstm"),
    "learned": (Learned, features, "gru"),
    "tied": (Tied, tokens, "gru"),
}


def quietly(make, *args, **kwargs):
    """Call something of torch without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*args, **kwargs)


def archive(tmp_path: Path, model: nn.Module, *example, how="scripted") -> Path:
    """Script or trace a model and save it; return the file."""
    made = (
        quietly(torch.jit.script, model)
        if how == "scripted"
        else quietly(torch.jit.trace, model, example, strict=False)
    )
    quietly(torch.jit.save, made, tmp_path / "m.pt")
    return tmp_path / "m.pt"
