"""A model of ids, lengths and a state, and what it is called with."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from edgernn.export.call.example_call import ExampleCall


class Net(nn.Module):
    """Ids, lengths and states in; packs, warns and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.rnn = nn.GRU(3, 2, batch_first=True)
        self.calls = 0

    def forward(self, ids, lengths, hx=None, *, scale=1.0):
        self.calls += 1
        warnings.warn("an unusual size", stacklevel=2)
        rows = pack_padded_sequence(self.table(ids), lengths, True, enforce_sorted=False)
        return {"h": self.rnn(rows, hx)[1] * scale}


IDS = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 1]])
GIVEN = {"ids": IDS, "lengths": torch.tensor([2, 5])}


def shapes(example: ExampleCall) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs."""
    return {leaf.path: tuple(leaf.tensor.shape) for leaf in example.tensors}
