"""Recurrences written by hand as one step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgernn import export_model
from edgernn.errors import UnsupportedModelError
from tests.models.proof import proven


class ClassicRNN(nn.Module):
    """The names classifier: i2h and i2o over the concatenation."""

    def __init__(self, input_size=7, hidden_size=10, output_size=4):
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = self.i2h(combined)
        output = self.softmax(self.i2o(combined))
        return output, hidden


class PeepholeLSTM(nn.Module):
    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.x = nn.Linear(inp, 4 * hid)
        self.h = nn.Linear(hid, 4 * hid, bias=False)
        self.p = nn.Parameter(torch.randn(3, hid) * 0.3)

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.x(x) + self.h(h)).chunk(4, dim=1)
        i = torch.sigmoid(i + self.p[0] * c)
        f = torch.sigmoid(f + self.p[1] * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.p[2] * c)
        h = o * torch.tanh(c)
        return h, (h, c)


class MinimalGated(nn.Module):
    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.f = nn.Linear(inp + hid, hid)
        self.g = nn.Linear(inp + hid, hid)

    def forward(self, x, h):
        f = torch.sigmoid(self.f(torch.cat([x, h], -1)))
        g = torch.tanh(self.g(torch.cat([x, f * h], -1)))
        return (1 - f) * h + f * g


class NormedLSTM(nn.Module):
    """LayerNorm on gates and cell, as in the LayerNorm paper."""

    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.wx = nn.Linear(inp, 4 * hid, bias=False)
        self.wh = nn.Linear(hid, 4 * hid, bias=False)
        self.nx, self.nh = nn.LayerNorm(4 * hid), nn.LayerNorm(4 * hid)
        self.nc = nn.LayerNorm(hid)

    def forward(self, x, h, c):
        i, f, g, o = torch.split(self.nx(self.wx(x)) + self.nh(self.wh(h)), h.size(1), dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * self.nc(c).tanh()
        return h, c


class Multiplicative(nn.Module):
    """mLSTM: an intermediate state by a product of input and hidden projections."""

    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.mx, self.mh = nn.Linear(inp, hid, bias=False), nn.Linear(hid, hid, bias=False)
        self.gates = nn.Linear(inp + hid, 4 * hid)
        self.out = nn.Linear(hid, 2)

    def forward(self, x, state):
        h, c = state[0], state[1]
        m = self.mx(x) * self.mh(h)
        i, f, o, u = self.gates(torch.cat([x, m], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h), torch.stack((h, c))


class Zoneout(nn.Module):
    """A GRUCell whose state is mixed with the one before."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x, h):
        new = self.cell(x, h)
        if self.training:
            mask = torch.rand_like(h) < 0.2
            h = torch.where(mask, h, new)
        else:
            h = 0.2 * h + 0.8 * new
        return self.head(h), h


def over(model, start, state_result=1):
    """Call a step over all steps, from `start(batch)`."""

    def call(**inputs):
        (x,) = inputs.values()
        state, outs = start(len(x)), []
        for t in range(x.shape[1]):
            out = model(x[:, t], *(state if isinstance(state, list) else [state]))
            if isinstance(out, torch.Tensor):
                out = (out, out)
            state = list(out) if isinstance(state, list) else out[state_result]
            outs.append(out[0])
        return torch.stack(outs, 1)

    return call


def test_the_names_classifier_trained(tmp_path):
    """A recurrence of Linear layers, recognised without being told."""
    model = ClassicRNN()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(20):
        label = torch.randint(4, (5,))
        x = F.one_hot(label, 7).float()[:, None].repeat(1, 3, 1) + 0.1 * torch.randn(5, 3, 7)
        hidden = torch.zeros(5, 10)
        for t in range(3):
            output, hidden = model(x[:, t], hidden)
        loss = F.nll_loss(output, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"input": torch.randn(b, t, 7)},
        call=over(model, lambda b: torch.zeros(b, 10)),
        inputs=(torch.randn(1, 7), torch.zeros(1, 10)),
    )

    assert ports == (
        "input: float32[batch, sequence, 7]; hidden[batch, 10] -> output: float32[batch, "
        "sequence, 4] (sequence + step)"
    )


@pytest.mark.parametrize("told", [True, False], ids=["told", "recognised"])
def test_peepholes(tmp_path, told):
    """H is output and state: recognised, or named by paths."""
    model = PeepholeLSTM()
    options = {"states": {"state[0]": "[1][0]", "state[1]": "[1][1]"}} if told else {}

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 3)},
        call=over(model, lambda b: (torch.zeros(b, 6), torch.zeros(b, 6))),
        inputs=(torch.randn(2, 3), (torch.zeros(2, 6), torch.zeros(2, 6))),
        **options,
    )

    assert ports == (
        "x: float32[batch, sequence, 3]; state_0[batch, 6], state_1[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)"
    )


def test_a_minimal_gated_unit(tmp_path):
    """The state is all that comes back."""
    model = MinimalGated()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 3)},
        call=over(model, lambda b: torch.zeros(b, 6)),
        inputs=(torch.randn(2, 3), torch.zeros(2, 6)),
    )

    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, "
        "6] (sequence + step)"
    )


def test_a_layer_normalised_lstm(tmp_path):
    """H and c of one shape: which is which must be told."""
    model = NormedLSTM()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 3)},
        call=over(model, lambda b: [torch.zeros(b, 6), torch.zeros(b, 6)]),
        inputs=(torch.randn(2, 3), torch.zeros(2, 6), torch.zeros(2, 6)),
        states={"h": 0, "c": 1},
    )

    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)"
    )


def test_states_of_one_shape_that_are_not_told_apart(tmp_path):
    """The refusal says which option names them."""
    with pytest.raises(UnsupportedModelError) as caught:
        export_model(
            NormedLSTM(),
            tmp_path / "m",
            inputs=(torch.randn(2, 3), torch.zeros(2, 6), torch.zeros(2, 6)),
        )

    assert str(caught.value) == (
        "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one "
        "step of a recurrence of its own, but which result goes back into which argument the "
        "shapes do not tell: `h:float32[batch,6]`, `c:float32[batch,6]` may each be the state that "
        "comes back as `0`, `1`. Name every state. By the names it is --state h=0 --state c=1. All "
        "pairs that fit: --state h=0, --state h=1, --state c=0, --state c=1."
    )
    assert not list(tmp_path.iterdir())


def test_a_multiplicative_lstm_with_a_stacked_state(tmp_path):
    """[2, batch, hidden] in one tensor, recognised."""
    model = Multiplicative()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 3)},
        call=over(model, lambda b: torch.zeros(2, b, 6)),
        inputs=(torch.randn(3, 3), torch.zeros(2, 3, 6)),
    )

    assert ports == (
        "x: float32[batch, sequence, 3]; state[2, batch, 6] -> output: float32[batch, "
        "sequence, 2] (sequence + step)"
    )


def test_zoneout_around_a_cell(tmp_path):
    """The state that comes back is computed from the cell's, not the cell's itself."""
    model = Zoneout()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 3)},
        call=over(model, lambda b: torch.zeros(b, 6)),
        inputs=(torch.randn(2, 3), torch.zeros(2, 6)),
    )

    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, "
        "2] (sequence + step)"
    )


class SmallCell(nn.Module):
    """Sizes that coincide: as many features as units."""

    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 4)
        self.u = nn.Linear(4, 4)

    def forward(self, x, h):
        h = torch.tanh(self.w(x) + self.u(h))
        return h


def test_a_cell_as_wide_as_its_input(tmp_path):
    """Input and state have one shape; only one is called like a state."""
    model = SmallCell()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 4)},
        call=over(model, lambda b: torch.zeros(b, 4)),
        inputs=(torch.randn(2, 4), torch.zeros(2, 4)),
        states={"h": 0},
    )

    assert ports == (
        "x: float32[batch, sequence, 4]; h[batch, 4] -> output: float32[batch, sequence, "
        "4] (sequence + step)"
    )
