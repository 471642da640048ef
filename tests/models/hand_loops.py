"""Loops over time written by hand, around whatever people carry from step to step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case


class LightGRU(nn.Module):
    """Two gates, batch norm on all steps at once, a loop without a cell; layer by layer."""

    def __init__(self, layers=2):
        super().__init__()
        widths = [3] + [6] * layers
        self.inputs = nn.ModuleList(nn.Linear(i, 12, bias=False) for i in widths[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm1d(12) for _ in range(layers))
        self.states = nn.ModuleList(nn.Linear(6, 12, bias=False) for _ in range(layers))

    def forward(self, x):
        for inputs, norm, states in zip(self.inputs, self.norms, self.states, strict=True):
            gates = inputs(x)
            gates = norm(gates.reshape(-1, 12)).reshape(x.shape[0], x.shape[1], 12)
            h, hidden = torch.zeros(x.shape[0], 6), []
            for k in range(gates.shape[1]):
                candidate, update = (gates[:, k] + states(h)).chunk(2, 1)
                update = torch.sigmoid(update)
                h = update * h + (1 - update) * torch.relu(candidate)
                hidden.append(h)
            x = torch.stack(hidden, 1)
        return x


class GrowingOutput(nn.Module):
    """Lengthens its output step by step, and returns the last state of two."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(3 + 4 + 4, 4)

    def forward(self, x):
        h, before = torch.zeros(len(x), 4), torch.zeros(len(x), 4)
        outputs = torch.empty(len(x), 0, 4)
        for x_t in x.unbind(1):
            h, before = torch.tanh(self.step(torch.cat([x_t, h, before], 1))), h
            outputs = torch.cat([outputs, h.unsqueeze(1)], dim=1)
        return outputs


class AttentiveDetector(nn.Module):
    """A convolution before the loop, attention over all of its steps behind it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.cell = nn.LSTMCell(8, 6)
        self.score = nn.Linear(6, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        frames = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        state = (torch.zeros(x.shape[0], 6), torch.zeros(x.shape[0], 6))
        hidden = []
        for t in range(frames.shape[1]):
            state = self.cell(frames[:, t], state)
            hidden.append(state[0])
        hidden = torch.stack(hidden, 1)
        weights = torch.softmax(self.score(hidden), 1)
        return self.head((hidden * weights).sum(1))


class LayerByLayer(nn.Module):
    """A loop for each of its layers, over a list of steps."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(3, 6), nn.GRUCell(6, 6)])

    def forward(self, x):
        steps = list(x.unbind(1))
        for cell in self.cells:
            h, outputs = None, []
            for step in steps:
                h = cell(step, h)
                outputs.append(h)
            steps = outputs
        return torch.stack(steps, 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = nn.Linear(36, 12)
        self.v = nn.Linear(12, 1, bias=False)

    def forward(self, hidden, memory):
        hidden = hidden.unsqueeze(1).repeat(1, memory.shape[0], 1)
        energy = torch.tanh(self.energy(torch.cat((hidden, memory.permute(1, 0, 2)), 2)))
        return F.softmax(self.v(energy).squeeze(2), dim=1)


class Translator(nn.Module):
    """Attends to the encoder at every target step, and feeds its own best token back."""

    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(20, 8)
        self.encoder = nn.GRU(8, 12, bidirectional=True)
        self.bridge = nn.Linear(24, 12)
        self.target = nn.Embedding(15, 8)
        self.attention = Attention()
        self.decoder = nn.GRU(32, 12)
        self.head = nn.Linear(44, 15)

    def forward(self, src, trg):
        steps, batch = trg.shape
        outputs = torch.zeros(steps, batch, 15)
        memory, h = self.encoder(self.source(src))
        h = torch.tanh(self.bridge(torch.cat((h[-2], h[-1]), 1)))
        token = trg[0, :]
        for t in range(1, steps):
            embedded = self.target(token.unsqueeze(0))
            weights = self.attention(h, memory).unsqueeze(1)
            context = torch.bmm(weights, memory.permute(1, 0, 2)).permute(1, 0, 2)
            y, after = self.decoder(torch.cat((embedded, context), 2), h.unsqueeze(0))
            h = after.squeeze(0)
            scores = self.head(
                torch.cat((y.squeeze(0), context.squeeze(0), embedded.squeeze(0)), 1)
            )
            outputs[t] = scores
            token = scores.argmax(1)
        return outputs


class Context(nn.Module):
    """A decoder that sees the encoder's last output at every step."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 6, batch_first=True)
        self.cell = nn.LSTMCell(2 + 6, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x, y):
        _, (h, c) = self.encoder(x)
        context, h, c = h[-1], h[-1], c[-1]
        outputs = []
        for t in range(y.size(1)):
            h, c = self.cell(torch.cat([y[:, t], context], 1), (h, c))
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class OwnSolver(nn.Module):
    """A liquid time constant cell: a few turns of a solver of its own within each step."""

    def __init__(self):
        super().__init__()
        self.inputs, self.states = nn.Linear(3, 6), nn.Linear(6, 6)
        self.tau, self.a = nn.Parameter(torch.rand(6)), nn.Parameter(torch.randn(6))

    def forward(self, x):
        h, outputs = torch.zeros(x.shape[0], 6), []
        for t in range(x.shape[1]):
            for _ in range(4):
                f = torch.sigmoid(self.inputs(x[:, t]) + self.states(h))
                h = (h + 0.1 * f * self.a) / (1 + 0.1 * (1 / (self.tau + 1) + f))
            outputs.append(h)
        return torch.stack(outputs, 1)


class LooksFarBack(nn.Module):
    """Each step reads the state of two steps ago out of a list."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(3 + 4, 4)

    def forward(self, x):
        states = [torch.zeros(x.shape[0], 4), torch.ones(x.shape[0], 4)]
        for t in range(x.shape[1]):
            states.append(torch.tanh(self.step(torch.cat([x[:, t], states[-2]], 1))))
        return torch.stack(states[2:], 1)


class AttendsToItself(nn.Module):
    """Each step reads all of the steps before."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        states = [torch.zeros(x.shape[0], 4)]
        for t in range(x.shape[1]):
            states.append(self.cell(x[:, t], torch.stack(states).mean(0)))
        return torch.stack(states[1:], 1)


class Frames(nn.Module):
    """The same small network on every frame."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 4)

    def forward(self, x):
        return torch.stack([self.net(x[:, t]) for t in range(x.size(1))], 1)


CASES = (
    Case(
        "a loop around no cell",
        "Each loop's state is a port.",
        LightGRU,
        "x: float32[batch, sequence, 3]; loop_h[batch, 6], loop_2_h[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)",
        example=(2, 5),
    ),
    Case(
        "outputs joined step by step",
        "`torch.cat` of what is there and one more step.",
        GrowingOutput,
        "x: float32[batch, sequence, 3]; h0[batch, 4], h1[batch, 4] -> output: float32[batch, "
        "sequence, 4] (sequence + step)",
        example=(2, 5),
    ),
    Case(
        "what looks over time around a loop",
        "It stays outside of the loop as it is.",
        AttentiveDetector,
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: float32[batch, 2] "
        "(sequence)",
    ),
    Case(
        "a loop over the steps of another",
        "What the first loop leaves in a list, the second takes step by step.",
        LayerByLayer,
        "x: float32[batch, sequence, 3]; cells_0_h[batch, 6], cells_1_h[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)",
    ),
    Case(
        "a greedy decoder of any length with attention",
        "Its loop begins at the second step and takes nothing but its own token.",
        Translator,
        "src: int64[sequence, batch], trg: int64[trg_dim0, batch]; encoder_h[2, batch, 12] -> "
        "output: float32[trg_dim0, batch, 15] (sequence)",
        symbols=15,
        example=(2, 5),
    ),
    Case(
        "what is the same at all steps",
        "It comes into the loop from outside; source and target have lengths of their own.",
        Context,
        "x: float32[batch, sequence, 3], y: float32[batch, y_dim1, 2]; encoder_h[1, batch, 6], "
        "encoder_c[1, batch, 6] -> output: float32[batch, y_dim1, 2] (sequence)",
        example=(2, 5),
    ),
    Case(
        "a fixed number of turns within each step",
        "They stay unrolled; the loop is the one that grows with the sequence.",
        OwnSolver,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
        example=(2, 5),
    ),
    Case(
        "a loop that reads the last step but one",
        "It is handed on twice.",
        LooksFarBack,
        "x: float32[batch, sequence, 3]; h0[batch, 4], h1[batch, 4] -> output: float32[batch, "
        "sequence, 4] (sequence + step)",
        example=(2, 5),
    ),
)
