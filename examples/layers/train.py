"""Train a bare nn.LSTM and nn.GRU to average what they read, and export both.

Writes lstm.edgernn and gru.edgernn into the current folder. Nothing stands around the layers: their
call is the model's forward, time-major, and the initial states are given.
"""

from __future__ import annotations

import click
import torch
from torch import nn

import edgernn

INPUT_SIZE, HIDDEN_SIZE, LAYERS = 10, 20, 2
SEQUENCE, BATCH = 5, 3
LEARNING_STEPS = 60


def lstm() -> nn.LSTM:
    """Return the LSTM, untrained."""
    return nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, LAYERS)


def gru() -> nn.GRU:
    """Return the GRU, untrained."""
    return nn.GRU(INPUT_SIZE, HIDDEN_SIZE, LAYERS)


def train(layer: nn.RNNBase) -> float:
    """Teach the first 10 outputs the mean of all inputs so far; return the last loss."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    counts = torch.arange(1, SEQUENCE + 1).reshape(-1, 1, 1)
    for _ in range(LEARNING_STEPS):
        x = torch.randn(SEQUENCE, 32, INPUT_SIZE)
        outputs, _ = layer(x)
        loss = nn.functional.mse_loss(outputs[..., :INPUT_SIZE], x.cumsum(0) / counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@click.command()
def main() -> None:
    """Train and export both layers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, layer in (("lstm", lstm()), ("gru", gru())):
        loss = train(layer)
        x = torch.randn(SEQUENCE, BATCH, INPUT_SIZE)
        h = torch.zeros(LAYERS, BATCH, HIDDEN_SIZE)
        inputs = (x, (h, h) if name == "lstm" else h)
        artifact = edgernn.export_model(layer, f"{name}.edgernn", inputs=inputs, force=True)
        click.echo(f"{name}: loss {loss:.3f}, {artifact.contract.parity}")


if __name__ == "__main__":
    main()
