"""Train an nn.LSTM behind word vectors that are given, and export it from memory.

Writes tagger.edgernn into the current folder.
"""

from __future__ import annotations

import click
import torch
from torch import nn

import edgernn

WORDS = ("the", "a", "dog", "cat", "sleeps")
VECTORS = torch.tensor(
    [
        [0.9, 0.1, 0.0, 0.0],
        [0.8, 0.0, 0.1, 0.0],
        [0.0, 0.9, 0.7, 0.1],
        [0.1, 0.8, 0.9, 0.0],
        [0.0, 0.1, 0.0, 0.9],
    ]
)
KINDS = torch.tensor([0, 0, 1, 1, 2])  # article, noun, verb
LEARNING_STEPS = 80

State = tuple[torch.Tensor, torch.Tensor]


class Tagger(nn.Module):
    """Tells the kind of every word; the LSTM's three outputs are the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(VECTORS)
        self.lstm = nn.LSTM(4, 3)

    def forward(self, words: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Return scores, `(sequence, batch, 3)`, and the next state.

        Args:
            words: Ids, `(sequence, batch)` int64.
            state: h and c, `(1, batch, 3)` each.
        """
        scores, state = self.lstm(self.embedding(words), state)
        return scores, state


def zeros(batch: int) -> State:
    """Return the state to start from."""
    return torch.zeros(1, batch, 3), torch.zeros(1, batch, 3)


@click.command()
def main() -> None:
    """Train the tagger and export it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Tagger()
    optimizer = torch.optim.Adam(model.lstm.parameters(), lr=0.05)
    for _ in range(LEARNING_STEPS):
        words = torch.randint(len(WORDS), (6, 16))
        scores, _ = model(words, zeros(16))
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), KINDS[words].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sentence = torch.tensor([[WORDS.index(word)] for word in ["the", "dog", "sleeps"]])
    artifact = edgernn.export_model(
        model,
        "tagger.edgernn",
        inputs=(sentence, zeros(1)),
        force=True,
    )
    click.echo(f"loss {loss.item():.3f}, {artifact.contract.parity}")


if __name__ == "__main__":
    main()
