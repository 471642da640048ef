"""Character and word models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case


class CharRNN(nn.Module):
    """Character model: one character in, scores out, the state made by init_hidden outside."""

    def __init__(self, input_size=30, hidden_size=16, output_size=30, model="gru", n_layers=2):
        super().__init__()
        self.model = model.lower()
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.encoder = nn.Embedding(input_size, hidden_size)
        if self.model == "gru":
            self.rnn = nn.GRU(hidden_size, hidden_size, n_layers)
        elif self.model == "lstm":
            self.rnn = nn.LSTM(hidden_size, hidden_size, n_layers)
        self.decoder = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden):
        batch_size = input.size(0)
        encoded = self.encoder(input)
        output, hidden = self.rnn(encoded.view(1, batch_size, -1), hidden)
        output = self.decoder(output.view(batch_size, -1))
        return output, hidden

    def init_hidden(self, batch_size):
        if self.model == "lstm":
            return (
                torch.zeros(self.n_layers, batch_size, self.hidden_size),
                torch.zeros(self.n_layers, batch_size, self.hidden_size),
            )
        return torch.zeros(self.n_layers, batch_size, self.hidden_size)


class OneHotNet(nn.Module):
    """One-hot rows made inside forward, the flattened output of the tutorials."""

    def __init__(self, tokens=12, n_hidden=10, n_layers=2):
        super().__init__()
        self.n_tokens = tokens
        self.n_hidden = n_hidden
        self.lstm = nn.LSTM(tokens, n_hidden, n_layers, dropout=0.5, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(n_hidden, tokens)

    def forward(self, x, hidden):
        x = F.one_hot(x, self.n_tokens).float()
        r_output, hidden = self.lstm(x, hidden)
        out = self.dropout(r_output)
        out = out.contiguous().view(-1, self.n_hidden)
        out = self.fc(out)
        return out, hidden


class WordModel(nn.Module):
    """Word-level language model: time-major, tied weights, state detached by the caller."""

    def __init__(self, rnn_type="LSTM", ntoken=40, ninp=10, nhid=10, nlayers=2, tie=True):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(0.5)
        self.encoder = nn.Embedding(ntoken, ninp)
        if rnn_type in ["LSTM", "GRU"]:
            self.rnn = getattr(nn, rnn_type)(ninp, nhid, nlayers, dropout=0.5)
        else:
            self.rnn = nn.RNN(ninp, nhid, nlayers, nonlinearity="tanh", dropout=0.5)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie:
            self.decoder.weight = self.encoder.weight
        self.rnn_type, self.nhid, self.nlayers = rnn_type, nhid, nlayers

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        output = self.drop(output)
        decoded = self.decoder(output)
        decoded = decoded.view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        if self.rnn_type == "LSTM":
            return (
                weight.new_zeros(self.nlayers, bsz, self.nhid),
                weight.new_zeros(self.nlayers, bsz, self.nhid),
            )
        return weight.new_zeros(self.nlayers, bsz, self.nhid)


class InitInside(nn.Module):
    """Sentiment: int32 ids, hidden made in a method that forward calls, last step squeezed."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8, padding_idx=0, max_norm=None)
        self.rnn = nn.RNN(8, 12, 1, nonlinearity="relu", batch_first=True)
        self.fc = nn.Linear(12, 1)
        self.sigmoid = nn.Sigmoid()

    def init_hidden(self, x):
        return x.new_zeros(1, x.size(0), 12)

    def forward(self, x):
        x = self.embed(x.long())
        h = self.init_hidden(x)
        out, h = self.rnn(x, h.data)
        out = self.sigmoid(self.fc(out[:, -1, :]))
        return out.view(-1)


class HandDropout(nn.Module):
    """Variational dropout by hand: one mask for all steps, none in eval mode."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 8)
        self.rnn = nn.GRU(8, 9, batch_first=True)
        self.out = nn.Linear(9, 20)

    def locked(self, x, p=0.3):
        if not self.training or p == 0:
            return x
        mask = x.new_empty(x.size(0), 1, x.size(2)).bernoulli_(1 - p) / (1 - p)
        return x * mask.expand_as(x)

    def forward(self, ids):
        x = self.locked(self.emb(ids))
        h0 = torch.zeros(1, ids.size(0), 9, device=ids.device, dtype=x.dtype)
        y, _ = self.rnn(x, h0)
        return self.out(self.locked(y))


def over_characters(model, input):
    hidden, outputs = model.init_hidden(len(input)), []
    for character in input.unbind(1):
        output, hidden = model(character, hidden)
        outputs.append(output)
    return torch.stack(outputs, 1)


def trained_characters():
    model = CharRNN()
    text = torch.randint(0, 30, (1, 9)).repeat(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(15):
        scores = over_characters(model, text[:, :-1])
        loss = F.cross_entropy(scores.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


CASES = (
    Case(
        "a trained character model of one step",
        "One character per call: the step graph is forward, the sequence graph its lift.",
        trained_characters,
        "input: int64[batch, sequence]; h[2, batch, 16] -> output: float32[batch, sequence, "
        "30] (sequence + step)",
        symbols=30,
        call=over_characters,
    ),
    Case(
        "a character model of one step with an example",
        "The same with the pair of an LSTM and an example as its author would call it.",
        lambda: CharRNN(model="lstm"),
        "input: int64[batch, sequence]; h[2, batch, 16], c[2, batch, 16] -> output: "
        "float32[batch, sequence, 30] (sequence + step)",
        symbols=30,
        example=lambda: (torch.randint(0, 30, (1,)), CharRNN(model="lstm").init_hidden(1)),
        call=over_characters,
    ),
    Case(
        "one-hot rows inside forward",
        "F.one_hot takes ids of the width it names; outputs of all steps and sequences in one "
        "axis.",
        OneHotNet,
        "x: int64[batch, sequence]; h[2, batch, 10], c[2, batch, 10] -> output: "
        "float32[batch*sequence, 12] (sequence + step)",
        symbols=12,
        example=lambda: (
            torch.randint(0, 12, (2, 5)),
            (torch.zeros(2, 2, 10), torch.zeros(2, 2, 10)),
        ),
        call=lambda model, x: model(x, 2 * (torch.zeros(2, len(x), 10),))[0],
    ),
    Case(
        "a time-major word model with tied weights",
        "Flattened log-probabilities, (steps · batch, words).",
        WordModel,
        "input: int64[sequence, batch]; h[2, batch, 10], c[2, batch, 10] -> output: "
        "float32[sequence*batch, 40] (sequence + step)",
        symbols=40,
        call=lambda model, input: model(input, model.init_hidden(input.size(1)))[0],
    ),
    Case(
        "int32 ids",
        "The port keeps the dtype that forward was shown.",
        InitInside,
        "x: int32[batch, sequence]; h[1, batch, 12] -> output: float32[batch] (sequence + step)",
        symbols=50,
        example=(2, 6),
    ),
    Case(
        "a model left in train mode runs as in eval mode",
        "Dropout by hand is off in the graph.",
        lambda: HandDropout().train(),
        "ids: int64[batch, sequence]; h[1, batch, 9] -> output: float32[batch, sequence, 20] "
        "(sequence + step)",
        symbols=20,
    ),
)
