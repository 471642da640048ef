"""Steps that look at something that is there for all of them."""

from __future__ import annotations

import torch
from torch import nn

from tests.models.case import Case


class AttentionStep(nn.Module):
    """One step of a decoder: attends to the encoder's outputs, then runs its cell."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(15, 8)
        self.query = nn.Linear(12, 10)
        self.cell = nn.GRUCell(8 + 10, 12)
        self.out = nn.Linear(12, 15)

    def forward(self, token, hidden, memory):
        weights = torch.softmax((memory @ self.query(hidden).unsqueeze(2)).squeeze(2), 1)
        context = (weights.unsqueeze(1) @ memory).squeeze(1)
        hidden = self.cell(torch.cat([self.embed(token), context], 1), hidden)
        return self.out(hidden), hidden


def over_tokens(model, token, memory):
    hidden, scores = torch.zeros(len(token), 12), []
    for one in token.unbind(1):
        score, hidden = model(one, hidden, memory)
        scores.append(score)
    return torch.stack(scores, 1)


CASES = (
    Case(
        "a memory with an axis of its own has no steps",
        "The sequence graph takes it once; a step takes it every time.",
        AttentionStep,
        "token: int64[batch, sequence], memory: float32[batch, memory_dim1, 10]; h[batch, 12] "
        "-> output: float32[batch, sequence, 15] (sequence + step)",
        symbols=15,
        example=lambda: (
            torch.zeros(2, dtype=torch.int64),
            torch.randn(2, 12),
            torch.randn(2, 7, 10),
        ),
        call=over_tokens,
    ),
)
