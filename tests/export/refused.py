"""A model that exports, and what it takes to see that something else does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgernn.errors import EdgernnError


class Tagger(nn.Module):
    """Ids in, scores and states out; the states may be given."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.rnn = nn.LSTM(4, 3, batch_first=True)
        self.head = nn.Linear(3, 7)

    def forward(self, tokens, hx: tuple[torch.Tensor, torch.Tensor] | None = None):
        y, hx = self.rnn(self.emb(tokens), hx)
        return self.head(y), hx


IDS = torch.zeros(2, 5, dtype=torch.int64)
STATES = ["hx[0]:float32[1,batch,3]", "hx[1]:float32[1,batch,3]"]


def refusal(kind: type[EdgernnError], function: Callable[[], object]) -> str:
    with pytest.raises(EdgernnError) as info:
        function()
    assert type(info.value) is kind
    return str(info.value)


def at(code: type | Callable[..., object], line: str) -> str:
    """Return how a message names the line of a class or function that begins with `line`."""
    file = inspect.getsourcefile(code)
    lines, first = inspect.getsourcelines(code)
    place = next(n for n, one in enumerate(lines) if one.strip().startswith(line.rstrip(" …")))
    return f" at {file}:{first + place} (`{line}`)"
