"""Train a large LSTM and its bidirectional twin to tell where a mark stands.

Writes lstm.pt and bilstm.pt into the current folder: bare state_dicts, which `edgernn export` needs
no code for.
"""

from __future__ import annotations

import click
import torch
from torch import nn

INPUT_SIZE, HIDDEN_SIZE, LAYERS = 512, 256, 2
LEARNING_STEPS = 6


def lstm() -> nn.LSTM:
    """Return the LSTM, untrained: it knows the past only."""
    return nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, LAYERS, batch_first=True)


def bilstm() -> nn.LSTM:
    """Return its twin, untrained: it knows the future too, and cannot run step by step."""
    return nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, LAYERS, batch_first=True, bidirectional=True)


def train(layer: nn.LSTM) -> tuple[float, float]:
    """Teach each half of the outputs whether the mark has been met in its direction.

    Returns:
        The first and the last loss.
    """
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.003)
    losses = []
    for _ in range(LEARNING_STEPS):
        x = torch.randn(8, 12, INPUT_SIZE)
        marks = torch.zeros(8, 12, 1)
        marks[range(8), torch.randint(12, (8,))] = 1
        met = [marks.cumsum(1), marks.flip(1).cumsum(1).flip(1)]
        target = torch.cat([m.expand(-1, -1, HIDDEN_SIZE) for m in met], 2)
        outputs, _ = layer(x + 2 * marks)
        loss = nn.functional.mse_loss(outputs, target[..., : outputs.size(2)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


@click.command()
def main() -> None:
    """Train both and save their weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, layer in (("lstm", lstm()), ("bilstm", bilstm())):
        first, last = train(layer)
        torch.save(layer.state_dict(), f"{name}.pt")
        click.echo(f"{name}: loss {first:.3f} → {last:.3f}")


if __name__ == "__main__":
    main()
