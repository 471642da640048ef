"""Train a character model that goes on writing a text.

Writes char.pt, its weights, and char.json, its symbols, into the current folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch import nn

TEXT = " ".join((Path(__file__).parents[2] / "LICENSE").read_text("utf-8").split())
SYMBOLS = "".join(sorted(set(TEXT)))
BATCH, CHUNK = 32, 50


class Char(nn.Module):
    """Scores what may follow each character of a text."""

    def __init__(self, hidden_size: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), 32)
        self.gru = nn.GRU(32, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, len(SYMBOLS))

    def forward(
        self, ids: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, `(batch, sequence, symbols)`, and the next state, `(1, batch, 128)`.

        Args:
            ids: Characters, `(batch, sequence)` int64.
            state: What the last call returned, or None at the start of a text.
        """
        outputs, state = self.gru(self.embedding(ids), state)
        return self.head(outputs), state


def chunks() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield ids and the ids that follow them, `(32, 50)` each, for one reading of the text.

    The text is cut into 32 columns that are read side by side; a chunk goes on where the chunk
    before it ended.
    """
    ids = torch.tensor([SYMBOLS.index(character) for character in TEXT])
    columns = ids[: len(ids) // BATCH * BATCH].reshape(BATCH, -1)
    for start in range(0, columns.size(1) - 1, CHUNK):
        part = columns[:, start : start + CHUNK + 1]
        yield part[:, :-1], part[:, 1:]


@click.command()
@click.option("--readings", default=40, show_default=True, help="How often to read the text.")
def main(readings: int) -> None:
    """Train the model on the licence of this repository and save it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Char()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.006)
    for _ in range(readings):
        state = None
        for ids, following in chunks():
            scores, state = model(ids, state)
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), following.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state = state.detach()
    torch.save(model.state_dict(), "char.pt")
    Path("char.json").write_text(json.dumps(list(SYMBOLS)), "utf-8")
    click.echo(f"loss {loss.item():.3f} after {readings} readings")


if __name__ == "__main__":
    main()
