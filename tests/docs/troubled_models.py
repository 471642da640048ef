"""Models as strangers write them, each with what stops its export, and the same mended."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "AllEarlier",
    "AllPast",
    "Branch",
    "Chosen",
    "Keeping",
    "LastStep",
    "LastTwo",
    "Noise",
    "Normed",
    "Sine",
    "SineOfTorch",
    "Step",
    "Sum",
    "Tagger",
    "TwoArguments",
    "lstm",
]


def lstm(**options: bool) -> nn.LSTM:
    """Return a layer with 3 features and 4 hidden units."""
    return nn.LSTM(3, 4, batch_first=True, **options)


class Tagger(nn.Module):
    """Ids in, one score per tag out."""

    def __init__(self, tags: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = nn.GRU(6, 8, batch_first=True)
        self.head = nn.Linear(8, tags)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the scores."""
        y, _ = self.rnn(self.embedding(ids))
        return self.head(y)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)


class TwoArguments(_Layer):
    """Arguments whose shapes do not follow from the layer."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the output for both side by side."""
        return self.rnn(torch.cat((left, right), 2))[0]  # type: ignore[no-any-return]


class Step(nn.Module):
    """One step whose state has the name of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.update = nn.Linear(7, 4)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return an output and the next state."""
        memory = self.update(torch.cat((x, memory), 1)).tanh()
        return memory.sum(1), memory


class AllPast(_Layer):
    """A memory of all steps so far."""

    def __init__(self) -> None:
        super().__init__()
        self.past = torch.zeros(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for what differs from the mean so far."""
        self.past = torch.cat((self.past.expand(x.shape[0], -1, -1), x), 1)
        return self.rnn(x - self.past.mean(1, keepdim=True))[0]  # type: ignore[no-any-return]


class LastStep(_Layer):
    """A memory of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.past = torch.zeros(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for what differs from the step before."""
        before = torch.cat((self.past.expand(x.shape[0], -1, -1), x), 1)
        self.past = before[:, -1:]
        return self.rnn(x - before[:, :-1])[0]  # type: ignore[no-any-return]


class Noise(_Layer):
    """Noise on the input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for the noisy input."""
        return self.rnn(x + torch.randn_like(x))[0]  # type: ignore[no-any-return]


class Branch(_Layer):
    """A choice by what the data is."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, or twice it."""
        y, _ = self.rnn(x)
        if y.sum() > 0:
            y = y * 2
        return y  # type: ignore[no-any-return]


class Chosen(_Layer):
    """The same choice, by torch.where."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, or twice it."""
        y, _ = self.rnn(x)
        return torch.where(y > 0, y * 2, y)


class Sine(_Layer):
    """A function of NumPy's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for the sine."""
        return self.rnn(torch.from_numpy(np.sin(x.numpy())))[0]  # type: ignore[no-any-return]


class SineOfTorch(_Layer):
    """The same function of torch's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for the sine."""
        return self.rnn(x.sin())[0]  # type: ignore[no-any-return]


class AllEarlier(nn.Module):
    """A loop that reads all of its own outputs so far."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of every step."""
        h = x.new_zeros(x.shape[0], 4)
        outputs: list[Tensor] = []
        for t in range(x.shape[1]):
            if outputs:
                h = h + torch.stack(outputs, 1).softmax(1).sum(1)
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class LastTwo(AllEarlier):
    """A loop that reads its last two outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of every step."""
        before = h = x.new_zeros(x.shape[0], 4)
        outputs: list[Tensor] = []
        for t in range(x.shape[1]):
            before, h = h, self.cell(x[:, t], before + h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class Normed(_Layer):
    """An operator of opset 17."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed output."""
        return self.norm(self.rnn(x)[0])  # type: ignore[no-any-return]


class Sum(nn.Module):
    """A running sum, whose sine float16 rounds too coarsely."""

    def forward(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sine of a hundred times the sum, and the sum."""
        total = total + x
        return (100 * total).sin(), total


class Keeping(nn.Module):
    """One step that returns its state, or keeps it."""

    def __init__(self, returns: bool = True) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)
        self.head = nn.Linear(4, 1)
        self.returns = returns

    def forward(self, x: Tensor, h: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the output, and the next state."""
        h = self.cell(x, h)
        return (self.head(h), h) if self.returns else self.head(h)
