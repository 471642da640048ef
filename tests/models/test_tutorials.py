"""Models written as tutorials and well-known packages write them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgernn import export_model
from edgernn.errors import UnsupportedModelError
from tests.models.proof import proven


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


def test_a_sentence_at_a_time(tmp_path):
    """`len(sentence)` leaves the number of words open."""
    ports = proven(
        Tagger(),
        tmp_path,
        lambda b, t: {"sentence": torch.randint(9, (t,))},
        sizes=((1, 1), (1, 11), (1, 4)),
    )
    assert ports == (
        "sentence: int64[sequence]; h[1, 1, 5], c[1, 1, 5] -> output: float32[sequence, 3] "
        "(sequence + step)"
    )


def test_a_letter_that_is_as_wide_as_the_next(tmp_path):
    """An argument `input` is data, although a result of its shape comes back."""
    artifact = export_model(
        Names(),
        tmp_path / "names.edgernn",
        inputs=(torch.randn(2, 3), torch.randn(2, 7), torch.zeros(2, 5)),
    )
    assert [state.name for state in artifact.contract.states] == ["hidden"]
    assert [port.name for port in artifact.contract.data_inputs("step")] == ["category", "input"]


def test_cells_with_one_stacked_state(tmp_path):
    """The optional state is found, and its rows go back where they came from."""
    artifact = export_model(StackedCells(), tmp_path / "cells.edgernn")
    step = artifact.contract.graphs["step"]
    assert [str(port) for port in (*step.inputs, *step.outputs)] == [
        "x: float32[batch, 4]",
        "hx_0_in: float32[2, batch, 6]",
        "hx_1_in: float32[2, batch, 6]",
        "output: float32[batch, 6]",
        "hx_0_out: float32[2, batch, 6]",
        "hx_1_out: float32[2, batch, 6]",
    ]


def test_a_convolutional_cell(tmp_path):
    """Images of one size are a step like any other."""
    artifact = export_model(
        ConvCell(),
        tmp_path / "conv.edgernn",
        inputs=[
            "image:float32[batch,2,4,4]",
            "state[0]:float32[batch,3,4,4]",
            "state[1]:float32[batch,3,4,4]",
        ],
    )
    sequence = artifact.contract.graphs["sequence"]
    assert str(sequence.inputs[0]) == "image: float32[batch, sequence, 2, 4, 4]"
    assert [state.name for state in artifact.contract.states] == ["state_0", "state_1"]


def test_a_policy_over_images(tmp_path):
    """A batch that is read from the state's shape does not mix up the axes of the images."""
    zeros = torch.zeros(1, 3, 6)
    artifact = export_model(
        Agent(),
        tmp_path / "agent.edgernn",
        inputs=(torch.randn(3, 1, 8, 8), (zeros, zeros), torch.zeros(3)),
    )
    step = artifact.contract.graphs["step"]
    assert [str(port) for port in step.inputs[:2]] == [
        "x: float32[batch, 1, 8, 8]",
        "done: float32[batch]",
    ]


def test_a_squeeze_that_does_nothing(tmp_path):
    """An axis that is not one entry long stays, as torch leaves it."""
    artifact = export_model(Speech(), tmp_path / "speech.edgernn", inputs=(torch.randn(3, 5, 4),))
    sequence = artifact.contract.graphs["sequence"]
    assert str(sequence.outputs[0]) == "output: float32[sequence, batch, 5]"


class Halved(nn.Module):
    """A convolution that leaves every second step."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=2, padding=1)
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x):
        return self.gru(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]


def test_half_as_many_steps(tmp_path):
    """The size that follows from the steps is short, and the note has both shapes."""
    artifact = export_model(Halved(), tmp_path / "halved.edgernn", inputs=(torch.randn(2, 6, 4),))
    sequence = artifact.contract.graphs["sequence"]
    assert str(sequence.outputs[0]) == "output: float32[batch, (sequence - 1)//2 + 1, 5]"
    assert artifact.contract.remarks == (
        "There is no step graph: its state cannot be carried on: in parts, eager torch gives "
        "another `output` than whole (in shape: (2, 4, 5) where (2, 3, 5) was expected), so "
        "`output` depends on more than the steps so far.",
    )


def refusal(folder, model, *inputs):
    with pytest.raises(UnsupportedModelError) as caught:
        export_model(model, folder / "m.edgernn", inputs=inputs)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_a_state_that_grows_with_the_image_is_refused(tmp_path):
    """Of a state's axes only the batch is dynamic; the others are named."""
    size = "height,width"
    specs = [
        f"image:float32[batch,2,{size}]",
        *(f"state[{n}]:float32[batch,3,{size}]" for n in (0, 1)),
    ]
    assert refusal(tmp_path, ConvCell(), *specs) == (
        "State `state_0_in` grows with `height` and `width`; of its axes only the batch "
        "may be dynamic. Give the others as numbers in --input specs, such as "
        '"x:float32[batch,3,64,64]".'
    )
