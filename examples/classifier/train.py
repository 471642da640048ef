"""Train a classifier whose forward is one step: a row and the hidden state in, both out.

Writes classifier.pt, its weights, and rows.npy, one sequence to try it on, into the current folder.
"""

from __future__ import annotations

import click
import numpy as np
import torch
from torch import nn

INPUT_SIZE, HIDDEN_SIZE, CLASSES = 768, 128, 2
ROWS = 6
LEARNING_STEPS = 40


class Classifier(nn.Module):
    """Tells after every row which of two classes the rows so far are of."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(INPUT_SIZE, HIDDEN_SIZE)
        self.linear = nn.Linear(HIDDEN_SIZE, CLASSES)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, row: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logarithms of the classes' probabilities, `(batch, 2)`, and the hidden state.

        Args:
            row: One row per sequence, `(batch, 768)` float32.
            hidden: What the last call returned, `(1, batch, 128)`; zeros at first.
        """
        output, hidden = self.rnn(row.unsqueeze(0), hidden)
        return self.softmax(self.linear(output[0])), hidden


def sequences(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows, `(6, count, 768)`, and the class of each sequence: which way its rows lean."""
    lean = torch.linspace(-1, 1, INPUT_SIZE).repeat(2, 1) * torch.tensor([[-1.0], [1.0]])
    classes = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randn(ROWS, count, INPUT_SIZE, generator=generator)
    return noise + 0.2 * lean[classes], classes


@click.command()
def main() -> None:
    """Train the classifier and save it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(LEARNING_STEPS):
        rows, classes = sequences(32, generator)
        hidden = torch.zeros(1, 32, HIDDEN_SIZE)
        for row in rows:
            scores, hidden = model(row, hidden)
        loss = nn.functional.nll_loss(scores, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "classifier.pt")
    rows, classes = sequences(1, generator)
    np.save("rows.npy", rows[:, 0].numpy())
    click.echo(f"loss {loss.item():.3f}; rows.npy is of class {classes.item()}")


if __name__ == "__main__":
    main()
