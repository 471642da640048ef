"""Loops over time as people write them: what they read, what they write, how far they step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case


class Walker(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.cell = nn.GRUCell(width, 6)

    def start(self, x):
        return x.new_zeros(x.shape[0], 6)


class OwnOutput(Walker):
    """Keeps all its states in one tensor, and reads the one before from there."""

    def forward(self, x):
        states = torch.zeros(x.shape[0], x.shape[1] + 1, 6)
        for t in range(x.shape[1]):
            states[:, t + 1] = self.cell(x[:, t], states[:, t])
        return states[:, 1:]


class NoneAtFirst(Walker):
    def forward(self, x):
        h, outputs = self.start(x), None
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            step = h.unsqueeze(1)
            outputs = step if outputs is None else torch.cat([outputs, step], 1)
        return outputs


class PutInFront(Walker):
    def forward(self, x):
        h, outputs = self.start(x), None
        for t in range(x.shape[1] - 1, -1, -1):
            h = self.cell(x[:, t], h)
            step = h.unsqueeze(1)
            outputs = step if outputs is None else torch.cat([step, outputs], dim=-2)
        return outputs


class Masked(Walker):
    def forward(self, x, lengths):
        h, outputs = self.start(x), []
        for t in range(x.shape[1]):
            valid = (t < lengths).float().unsqueeze(1)
            h = valid * self.cell(x[:, t], h) + (1 - valid) * h
            outputs.append(h)
        return torch.stack(outputs, 1)


class Windows(Walker):
    def __init__(self):
        super().__init__(9)

    def forward(self, x):
        h, outputs = self.start(x), []
        for t in range(x.shape[1] - 2):
            h = self.cell(x[:, t : t + 3].flatten(1), h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class Strided(Walker):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, stride=2, padding=1)

    def forward(self, x):
        frames = self.conv(x.transpose(1, 2)).transpose(1, 2)
        h, outputs = self.start(x), []
        for t in range(frames.shape[1]):
            h = self.cell(frames[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class Pooled(Walker):
    def forward(self, x):
        frames = F.max_pool1d(x.transpose(1, 2), 2).transpose(1, 2)
        h, outputs = self.start(x), []
        for frame in frames.unbind(1):
            h = self.cell(frame, h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class EveryOther(Walker):
    def forward(self, x):
        h, outputs = self.start(x), []
        for t in range(0, x.shape[1], 2):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class Retention(nn.Module):
    """Keeps a matrix for each head; parts of one projection taken step by step."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(3, 24, bias=False)
        self.register_buffer("decay", 1 - 2.0 ** (-5 - torch.arange(2)))
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x):
        batch, steps, _ = x.shape
        q, k, v = (part.view(batch, steps, 2, 4) for part in self.projection(x).chunk(3, -1))
        state, outputs = torch.zeros(batch, 2, 4, 4), []
        for t in range(steps):
            state = self.decay.view(1, 2, 1, 1) * state + k[:, t, :, :, None] * v[:, t, :, None]
            outputs.append((q[:, t, :, None] @ state).reshape(batch, 8))
        outputs = torch.stack(outputs, 1)
        return self.norm(outputs.view(-1, 8)).view(batch, steps, 8)


class Pointer(nn.Module):
    """Points at one step of the source after the other, each at most once."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 6, batch_first=True)
        self.decoder = nn.LSTMCell(3, 6)
        self.query, self.key = nn.Linear(6, 6), nn.Linear(6, 6)
        self.score = nn.Linear(6, 1)

    def forward(self, src):
        memory, (h, c) = self.encoder(src)
        h, c, token = h[0], c[0], torch.zeros(src.shape[0], 3)
        taken, outputs = torch.zeros(src.shape[:2]), []
        for _ in range(src.shape[1]):
            h, c = self.decoder(token, (h, c))
            energy = torch.tanh(self.query(h).unsqueeze(1) + self.key(memory))
            weights = torch.softmax(self.score(energy).squeeze(-1) - 1e4 * taken, 1)
            best = weights.argmax(1)
            taken = taken + F.one_hot(best, src.shape[1])
            token = src.gather(1, best.view(-1, 1, 1).expand(-1, 1, 3)).squeeze(1)
            outputs.append(weights)
        return torch.stack(outputs, 1)


class OtherCellLater(nn.Module):
    """A loop whose cell changes, over a number of steps that the spec fixes."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GRUCell(3, 4), nn.GRUCell(3, 4)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            h = (self.first if t < 3 else self.second)(x[:, t], h)
        return h


CASES = (
    Case(
        "a state read from the output so far",
        "What a step wrote is what the next reads: a state.",
        OwnOutput,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
        example=(2, 6),
    ),
    Case(
        "an output that begins as None",
        "The first step is one of the loop, though it joins nothing.",
        NoneAtFirst,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
        example=(2, 6),
    ),
    Case(
        "outputs put in front of each other",
        "A loop that goes backward may grow its output at the other end.",
        PutInFront,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence)",
        example=(2, 6),
    ),
    Case(
        "the number of the step compared",
        "An operator that takes a number takes that of the step at any length.",
        Masked,
        "x: float32[batch, sequence, 3], lengths: int64[batch]; h[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence)",
        data=lambda batch, sequence: {
            "x": torch.randn(batch, sequence, 3),
            "lengths": torch.randint(1, sequence + 1, (batch,)),
        },
        example=lambda: (torch.randn(2, 6, 3), torch.tensor([6, 4])),
    ),
    Case(
        "windows that overlap",
        "Each step takes a few of the sequence; sizes that have no window are not tried.",
        Windows,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence - 2, "
        "6] (sequence)",
        example=(2, 8),
        sizes=((1, 3), (3, 11), (5, 4)),
    ),
    Case(
        "a loop after a stride",
        "It has one step more when the sequence has two more.",
        Strided,
        "x: float32[batch, sequence, 3]; h[batch, 6], conv_context[batch, 3, 1] -> output: "
        "float32[batch, sequence//2, 6] (sequence + step)",
        example=(2, 8),
        sizes=((1, 2), (3, 12), (5, 4)),
    ),
    Case(
        "a loop after a pool",
        "From one size to the next it need not take a step more.",
        Pooled,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence//2, 6] "
        "(sequence + step)",
        example=(2, 8),
        sizes=((1, 2), (3, 12), (5, 4)),
    ),
    Case(
        "a loop over every other step",
        "A range of a stride.",
        EveryOther,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, (sequence + "
        "1)//2, 6] (sequence)",
        example=(2, 6),
    ),
    Case(
        "parts of a projection and a view of the outputs",
        "A part split off before the loop is one tensor; stacked outputs lie in memory as torch's.",
        Retention,
        "x: float32[batch, sequence, 3]; h[batch, 2, 4, 4] -> output: float32[batch, sequence, "
        "8] (sequence + step)",
        example=(2, 6),
    ),
    Case(
        "a decoder that points at its source",
        "`one_hot` of as many classes as the source has steps.",
        Pointer,
        "src: float32[batch, sequence, 3]; encoder_h[1, batch, 6], encoder_c[1, batch, 6], "
        "loop_h0[batch, 3] -> output: float32[batch, sequence, sequence] (sequence)",
        example=(2, 5),
    ),
    Case(
        "a loop over a constant number of steps",
        "A call that starts from a state of its own is a whole sequence: the batch alone varies.",
        OtherCellLater,
        "x: float32[batch, 5, 3]; first_h[batch, 4] -> output: float32[batch, 4] (sequence)",
        example=lambda: ["x:float32[batch,5,3]"],
        sizes=((1, 5), (3, 5)),
        notes=(
            "There is no step graph: forward loops over a constant number of steps, from a state "
            "of its own at every call.",
        ),
    ),
)
