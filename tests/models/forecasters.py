"""Forecasters and other stacks of layers as their authors write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case


class TimeMajorForecaster(nn.Module):
    """(steps, batch, features); only the last layer's last hidden state goes to the head."""

    def __init__(self, features=3, hidden=16, layers=3, horizon=4):
        super().__init__()
        self.hidden = hidden
        self.layers = layers
        self.lstm = nn.LSTM(features, hidden, layers, dropout=0.2)
        self.head = nn.Sequential(nn.Linear(hidden, 8), nn.ReLU(), nn.Linear(8, horizon))

    def forward(self, x):
        h0 = torch.zeros(self.layers, x.size(1), self.hidden).requires_grad_().to(x.device)
        c0 = torch.zeros(self.layers, x.size(1), self.hidden).requires_grad_().to(x.device)
        self.lstm.flatten_parameters()
        _, (hn, cn) = self.lstm(x, (h0.detach(), c0.detach()))
        return self.head(hn[-1])


class LastHidden(nn.Module):
    def forward(self, x):
        output, _ = x
        return output[:, -1, :]


class TakeFirst(nn.Module):
    def __init__(self, index=0):
        super().__init__()
        self.index = index

    def forward(self, x):
        return x[self.index]


class ResidualStack(nn.Module):
    """GRUs in a ModuleList with LayerNorm and residual connections."""

    def __init__(self, width=12, depth=3):
        super().__init__()
        self.inp = nn.Linear(5, width)
        self.layers = nn.ModuleList([nn.GRU(width, width, batch_first=True) for _ in range(depth)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(depth)])
        self.drop = nn.Dropout(0.1)

    def forward(self, x, hidden=None):
        x = self.inp(x)
        if hidden is None:
            hidden = [None] * len(self.layers)
        new_hidden = []
        for rnn, norm, h in zip(self.layers, self.norms, hidden):
            y, h = rnn(norm(x), h)
            x = x + self.drop(y)
            new_hidden.append(h)
        return x, new_hidden


class Chomp1d(nn.Module):
    def __init__(self, chomp):
        super().__init__()
        self.chomp = chomp

    def forward(self, x):
        return x[:, :, : -self.chomp].contiguous()


class TcnLstm(nn.Module):
    """A causal convolution block in front of an LSTM."""

    def __init__(self, channels=4, hidden=9):
        super().__init__()
        self.conv1 = nn.utils.parametrizations.weight_norm(
            nn.Conv1d(channels, 8, 3, padding=2, dilation=1)
        )
        self.chomp1 = Chomp1d(2)
        self.conv2 = nn.Conv1d(8, 8, 3, padding=4, dilation=2)
        self.chomp2 = Chomp1d(4)
        self.down = nn.Conv1d(channels, 8, 1)
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        z = x.transpose(1, 2)
        y = F.relu(self.chomp1(self.conv1(z)))
        y = F.relu(self.chomp2(self.conv2(y)))
        y = F.relu(y + self.down(z)).transpose(1, 2)
        out, _ = self.lstm(y)
        return self.fc(out).squeeze(-1)


class TwoBranches(nn.Module):
    """Two independent recurrences over two inputs of their own, joined at the head."""

    def __init__(self):
        super().__init__()
        self.price = nn.LSTM(2, 8, batch_first=True)
        self.news = nn.GRU(5, 6, num_layers=2, batch_first=True)
        self.out = nn.Linear(14, 3)

    def forward(self, price, news):
        a, _ = self.price(price)
        b, _ = self.news(news)
        return self.out(torch.cat([a[:, -1], b[:, -1]], dim=1))


class Hierarchical(nn.Module):
    """Words from characters: (batch, words, characters) folded to (batch · words, characters)."""

    def __init__(self, chars=30, emb=6, char_hidden=7, word_hidden=9, tags=4):
        super().__init__()
        self.embedding = nn.Embedding(chars, emb, padding_idx=0)
        self.char_rnn = nn.GRU(emb, char_hidden, batch_first=True, bidirectional=True)
        self.word_rnn = nn.LSTM(2 * char_hidden, word_hidden, batch_first=True)
        self.tag = nn.Linear(word_hidden, tags)

    def forward(self, x):
        b, w, c = x.shape
        e = self.embedding(x.view(b * w, c))
        _, h = self.char_rnn(e)
        words = torch.cat([h[0], h[1]], dim=-1).view(b, w, -1)
        y, _ = self.word_rnn(words)
        return F.log_softmax(self.tag(y), dim=-1)


def trained_forecaster():
    model = TimeMajorForecaster()
    wave = torch.sin(torch.arange(80) * 0.3)[:, None, None].repeat(1, 4, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        start = int(torch.randint(50, ()))
        loss = F.mse_loss(model(wave[start : start + 20]), wave[start + 20 : start + 24, :, 0].T)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def sequential():
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.Tanh(),
        nn.GRU(8, 10, batch_first=True),
        TakeFirst(),
        nn.Dropout(0.5),
        nn.LSTM(10, 7, num_layers=2, batch_first=True),
        LastHidden(),
        nn.Linear(7, 2),
    )


_FORECAST = (
    "x: float32[sequence, batch, 3]; h[3, batch, 16], c[3, batch, 16] -> output: "
    "float32[batch, 4] (sequence + step)"
)

CASES = (
    Case(
        "a trained time-major forecaster",
        "The head sees only the last hidden state: the output has no steps, the stream still has.",
        trained_forecaster,
        _FORECAST,
        example=(4, 20),
    ),
    Case(
        "a time-major forecaster without an example",
        "What the layers and the signature say is enough.",
        TimeMajorForecaster,
        _FORECAST,
    ),
    Case(
        "a sequential with a wrapper that picks the output",
        "nn.Sequential around layers that return tuples.",
        sequential,
        "input: float32[batch, sequence, 6]; 2_h[1, batch, 10], 5_h[2, batch, 7], 5_c[2, "
        "batch, 7] -> output: float32[batch, 2] (sequence + step)",
    ),
    Case(
        "a residual stack with a list of optional states",
        "A state per layer of the ModuleList, in a list that may be left out.",
        ResidualStack,
        "x: float32[batch, sequence, 5]; layers_0_h[1, batch, 12], layers_1_h[1, batch, 12], "
        "layers_2_h[1, batch, 12] -> output: float32[batch, sequence, 12] (sequence + step)",
        call=lambda model, x: model(x)[0],
    ),
    Case(
        "a causal convolution in front",
        "Convolutions look back over steps that contexts hold.",
        TcnLstm,
        "x: float32[batch, sequence, 4]; h[1, batch, 9], c[1, batch, 9], conv1_context[batch, 4, "
        "2], conv2_context[batch, 8, 4] -> output: float32[batch, sequence] (sequence + step)",
        example=(2, 9),
    ),
    Case(
        "two branches over the same steps",
        "Two inputs with the same steps: one sequence axis, the states of both layers.",
        TwoBranches,
        "price: float32[batch, sequence, 2], news: float32[batch, sequence, 5]; price_h[1, "
        "batch, 8], price_c[1, batch, 8], news_h[2, batch, 6] -> output: float32[batch, 3] "
        "(sequence + step)",
        example=(2, 7),
    ),
    Case(
        "two branches of different lengths",
        "Two inputs of unequal steps cannot be one axis.",
        TwoBranches,
        "price: float32[batch, sequence, 2], news: float32[batch, news_dim1, 5]; price_h[1, "
        "batch, 8], price_c[1, batch, 8], news_h[2, batch, 6] -> output: float32[batch, 3] "
        "(sequence)",
        example=(2, 7),
    ),
    Case(
        "words over characters",
        "The characters start anew at every word; only the words have a state to carry.",
        Hierarchical,
        "x: int64[batch, sequence, x_dim2]; word_rnn_h[1, batch, 9], word_rnn_c[1, batch, 9] "
        "-> output: float32[batch, sequence, 4] (sequence + step)",
        symbols=30,
        example=(2, 5),
    ),
)
