"""Models written as tutorials and well-known packages write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case, by_steps


class Tagger(nn.Module):
    """One sentence at a time: `len` of it, and a batch made by hand."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.lstm = nn.LSTM(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, sentence):
        embedded = self.words(sentence)
        y, _ = self.lstm(embedded.view(len(sentence), 1, -1))
        return F.log_softmax(self.head(y.view(len(sentence), -1)), dim=1)


class Names(nn.Module):
    """One letter of a name: the letter is as wide as the scores of the next one."""

    def __init__(self):
        super().__init__()
        self.i2h = nn.Linear(3 + 7 + 5, 5)
        self.i2o = nn.Linear(3 + 7 + 5, 7)
        self.o2o = nn.Linear(5 + 7, 7)

    def forward(self, category, input, hidden):
        both = torch.cat((category, input, hidden), 1)
        hidden = self.i2h(both)
        return F.log_softmax(self.o2o(torch.cat((hidden, self.i2o(both)), 1)), 1), hidden


class StackedCells(nn.Module):
    """Cells of which each takes its row of one stacked state."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(4, 6), nn.LSTMCell(6, 6)])

    def forward(self, x, hx=None):
        if hx is None:
            zeros = x.new_zeros(2, x.shape[0], 6)
            hx = (zeros, zeros)
        hs, cs = [], []
        for row, cell in enumerate(self.cells):
            x, c = cell(x, (hx[0][row], hx[1][row]))
            hs.append(x)
            cs.append(c)
        return x, (torch.stack(hs), torch.stack(cs))


class ConvCell(nn.Module):
    """One step of a convolutional LSTM over images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2 + 3, 12, 3, padding=1)

    def forward(self, image, state):
        h, c = state
        i, f, o, g = self.conv(torch.cat([image, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Agent(nn.Module):
    """A policy over images whose state ends where an episode does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 4, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 8))
        self.lstm = nn.LSTM(8, 6)
        self.actor = nn.Linear(6, 3)

    def forward(self, x, lstm_state, done):
        batch = lstm_state[0].shape[1]
        hidden = self.conv(x / 255.0).reshape((-1, batch, self.lstm.input_size))
        ys = []
        for h, d in zip(hidden, done.reshape((-1, batch)), strict=True):
            keep = (1.0 - d).view(1, -1, 1)
            y, lstm_state = self.lstm(h.unsqueeze(0), (keep * lstm_state[0], keep * lstm_state[1]))
            ys.append(y)
        return self.actor(torch.flatten(torch.cat(ys), 0, 1)), lstm_state


class Speech(nn.Module):
    """Takes (batch, 1, steps, features) or no axis of one, and squeezes it if it is there."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.rnn = nn.RNN(6, 5, bidirectional=True)

    def forward(self, x):
        y, _ = self.rnn(self.fc(x).squeeze(1).transpose(0, 1))
        return y[:, :, :5] + y[:, :, 5:]


class Halved(nn.Module):
    """A convolution that leaves every second step."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=2, padding=1)
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x):
        return self.gru(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]


agent_by_steps = by_steps(
    lambda batch: 2 * (torch.zeros(1, batch, 6),),
    lambda model, x, done, state: model(x, state, done),
)

CASES = (
    Case(
        "a sentence at a time",
        "`len(sentence)` leaves the number of words open.",
        Tagger,
        "sentence: int64[sequence]; h[1, 1, 5], c[1, 1, 5] -> output: float32[sequence, 3] "
        "(sequence + step)",
        symbols=9,
        sizes=((1, 1), (1, 11), (1, 4)),
    ),
    Case(
        "a letter that is as wide as the next",
        "An argument `input` is data, although a result of its shape comes back.",
        Names,
        "category: float32[batch, sequence, 3], input: float32[batch, sequence, 7]; "
        "hidden[batch, 5] -> output: float32[batch, sequence, 7] (sequence + step)",
        example=lambda: (torch.randn(2, 3), torch.randn(2, 7), torch.zeros(2, 5)),
        call=by_steps(lambda batch: torch.zeros(batch, 5)),
    ),
    Case(
        "cells with one stacked state",
        "The optional state is found, and its rows go back where they came from.",
        StackedCells,
        "x: float32[batch, sequence, 4]; hx_0[2, batch, 6], hx_1[2, batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)",
        call=by_steps(lambda batch: None),
    ),
    Case(
        "a convolutional cell",
        "Images of one size are a step like any other.",
        ConvCell,
        "image: float32[batch, sequence, 2, 4, 4]; state_0[batch, 3, 4, 4], state_1[batch, 3, "
        "4, 4] -> output: float32[batch, sequence, 3, 4, 4] (sequence + step)",
        example=lambda: [
            "image:float32[batch,2,4,4]",
            "state[0]:float32[batch,3,4,4]",
            "state[1]:float32[batch,3,4,4]",
        ],
        call=by_steps(
            lambda batch: 2 * (torch.zeros(batch, 3, 4, 4),),
            lambda model, image, state: (lambda state: (state[0], state))(model(image, state)),
        ),
    ),
    Case(
        "a policy over images",
        "A batch that is read from the state's shape does not mix up the axes of the images.",
        Agent,
        "x: float32[batch, sequence, 1, 8, 8], done: float32[batch, sequence]; "
        "lstm_state_0[1, batch, 6], lstm_state_1[1, batch, 6] -> "
        "output: float32[sequence, batch, 3] (sequence + step)",
        example=lambda: (torch.randn(3, 1, 8, 8), 2 * (torch.zeros(1, 3, 6),), torch.zeros(3)),
        call=lambda model, **inputs: agent_by_steps(model, **inputs).transpose(0, 1),
    ),
    Case(
        "a squeeze that does nothing",
        "An axis that is not one entry long stays, as torch leaves it.",
        Speech,
        "x: float32[batch, sequence, 4]; h[2, batch, 5] -> output: float32[sequence, batch, 5] "
        "(sequence)",
        example=(3, 5),
        sizes=((1, 2), (3, 11), (5, 4)),
    ),
    Case(
        "half as many steps",
        "A stride of two makes a hop of two steps.",
        Halved,
        "x: float32[batch, sequence, 4]; h[1, batch, 5], conv_context[batch, 4, 1] -> output: "
        "float32[batch, sequence//2, 5] (sequence + step)",
        example=(2, 6),
        sizes=((1, 2), (3, 12), (5, 4)),
    ),
)
