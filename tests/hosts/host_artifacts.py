"""The artifacts that every host runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import edgernn
from tests.nets.hop_models import Decoder

__all__ = ["ARTIFACTS", "write_artifact", "write_policy"]

SYMBOLS = (*"abcdefgh é", "ab", "?", "~")


class Characters(nn.Module):
    """A token LSTM with one score per symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, len(SYMBOLS))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, symbols) for tokens (batch, steps)."""
        scores: torch.Tensor = self.head(self.lstm(self.embedding(tokens))[0])
        return scores


class TwoLayers(nn.Module):
    """An LSTM with a learned initial state, and a GRU that starts from zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(3, 4, batch_first=True)
        self.second = nn.GRU(4, 5, batch_first=True)
        self.h = nn.Parameter(torch.linspace(-1, 1, 4).reshape(1, 1, 4))
        self.c = nn.Parameter(torch.linspace(1, -1, 4).reshape(1, 1, 4))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return features (batch, steps, 5) and the last of them for x (batch, steps, 3)."""
        start = [state.expand(-1, x.shape[0], -1).contiguous() for state in (self.h, self.c)]
        features = self.second(self.first(x, (start[0], start[1]))[0])[0]
        return {"features": features, "last": features[:, -1]}


class Policy(nn.Module):
    """Numbers, ids and flags to scores and a value: a projected LSTM of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.action = nn.Embedding(4, 3)
        self.lstm = nn.LSTM(5, 6, num_layers=2, proj_size=4, batch_first=True)
        self.value = nn.Linear(4, 1)

    def forward(
        self, x: torch.Tensor, last: torch.Tensor, done: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (batch, steps, 4) and (batch, steps, 1)."""
        action = self.action(last) * (~done)[..., None]
        scores = self.lstm(torch.cat([x, action], -1))[0]
        return scores, self.value(scores)


def write_policy(folder: Path) -> None:
    """Export a model with inputs of three types to the folder `model.edgernn` of a folder."""
    torch.manual_seed(0)
    inputs = ["x:float32[batch,sequence,2]", "last:int64[batch,sequence]"]
    edgernn.export_model(
        Policy().eval(),
        folder / "model.edgernn",
        inputs=[*inputs, "done:bool[batch,sequence]"],
    )


def write_artifact(name: str, folder: Path) -> None:
    """Export the model of that name to the folder `model.edgernn` of a folder."""
    make, options = ARTIFACTS[name]
    torch.manual_seed(0)
    edgernn.export_model(make().eval(), folder / "model.edgernn", **options)


ARTIFACTS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "characters": (
        Characters,
        {
            "inputs": ["tokens:int64[batch,sequence]"],
            "vocabulary": {"symbols": list(SYMBOLS), "unknown": 11, "padding": 12},
        },
    ),
    "two_layer_gru": (lambda: nn.GRU(3, 5, num_layers=2, batch_first=True), {}),
    "learned_start": (TwoLayers, {"inputs": ["x:float32[batch,sequence,3]"]}),
    "hops": (Decoder, {"inputs": ["wave:float32[batch,sequence]"]}),
}
"""Name → the model, and how it is exported."""
