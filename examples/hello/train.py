"""Train a model that reads `hello` and answers each symbol with the next: `ohlol`.

Writes hello.pt, its weights, and hello.txt, its symbols, into the current folder.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import nn

STEPS = 200
SYMBOLS = "helo"


class Hello(nn.Module):
    """An embedding into one of three recurrent layers; all three are in the state_dict.

    Args:
        kind: The layer that forward runs: `rnn`, `lstm` or `gru`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(len(SYMBOLS), 10)
        self.rnn = nn.RNN(10, len(SYMBOLS), batch_first=True)
        self.lstm = nn.LSTM(10, len(SYMBOLS), batch_first=True)
        self.gru = nn.GRU(10, len(SYMBOLS), batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next symbol, `(sequence, 4)` float32.

        Args:
            ids: Symbols, `(sequence, 1)` int64. The last line is why it must be one text: it puts
                the texts of a batch in one column.
        """
        embedded = self.embedding(ids).permute(1, 0, 2)
        zeros = torch.zeros(1, ids.size(1), len(SYMBOLS))
        layer: nn.Module = getattr(self, self.kind)
        outputs, _ = layer(embedded, (zeros, zeros) if self.kind == "lstm" else zeros)
        scores: torch.Tensor = outputs.view(-1, len(SYMBOLS))
        return scores


def rnn() -> Hello:
    """Return the model around nn.RNN, untrained."""
    return Hello("rnn")


def lstm() -> Hello:
    """Return the model around nn.LSTM, untrained."""
    return Hello("lstm")


def gru() -> Hello:
    """Return the model around nn.GRU, untrained."""
    return Hello("gru")


@click.command()
@click.option(
    "--kind", type=click.Choice(["rnn", "lstm", "gru"]), default="lstm", show_default=True
)
def main(kind: str) -> None:
    """Teach the model to answer `hello` with `ohlol`."""
    torch.set_num_threads(1)
    torch.manual_seed(4)
    model = Hello(kind)
    ids = _ids("hello").reshape(-1, 1)
    answer = _ids("ohlol")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(ids), answer)
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "hello.pt")
    Path("hello.txt").write_text("\n".join(SYMBOLS) + "\n", "utf-8")
    best = "".join(SYMBOLS[id_] for id_ in model(ids).argmax(1))
    click.echo(f"{kind}: loss {loss.item():.3f}, hello → {best}", err=True)


def _ids(text: str) -> torch.Tensor:
    return torch.tensor([SYMBOLS.index(symbol) for symbol in text])


if __name__ == "__main__":
    main()
