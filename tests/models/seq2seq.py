"""Encoders and decoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        embedded = self.dropout(self.embedding(input))
        output, hidden = self.gru(embedded)
        return output, hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.Wa = nn.Linear(hidden_size, hidden_size)
        self.Ua = nn.Linear(hidden_size, hidden_size)
        self.Va = nn.Linear(hidden_size, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys)))
        scores = scores.squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights, keys)
        return context, weights


class CellDecoder(nn.Module):
    """A GRUCell over the target steps, started from the encoder's state."""

    def __init__(self, hidden_size, output_size):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.cell = nn.GRUCell(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, target, hidden):
        outputs = []
        for t in range(target.size(1)):
            hidden = self.cell(F.relu(self.embedding(target[:, t])), hidden)
            outputs.append(self.out(hidden))
        return torch.stack(outputs, dim=1)


class Seq2Seq(nn.Module):
    def __init__(self, source=20, target=15, hidden=12):
        super().__init__()
        self.encoder = EncoderRNN(source, hidden)
        self.decoder = CellDecoder(hidden, target)

    def forward(self, src, trg):
        _, hidden = self.encoder(src)
        return self.decoder(trg, hidden.squeeze(0))


def tokens(b, t, high):
    return torch.randint(0, high, (b, t))


class AttentionDecoder(nn.Module):
    def __init__(self, hidden_size, output_size):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attention = BahdanauAttention(hidden_size)
        self.gru = nn.GRU(2 * hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, encoder_outputs, encoder_hidden, target_tensor):
        decoder_hidden = encoder_hidden
        decoder_outputs = []
        for i in range(target_tensor.size(1)):
            decoder_input = target_tensor[:, i].unsqueeze(1)
            embedded = self.embedding(decoder_input)
            query = decoder_hidden.permute(1, 0, 2)
            context, _ = self.attention(query, encoder_outputs)
            output, decoder_hidden = self.gru(torch.cat((embedded, context), dim=2), decoder_hidden)
            decoder_outputs.append(self.out(output))
        decoder_outputs = torch.cat(decoder_outputs, dim=1)
        return F.log_softmax(decoder_outputs, dim=-1), decoder_hidden


class AttentionSeq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = EncoderRNN(20, 12)
        self.decoder = AttentionDecoder(12, 15)

    def forward(self, src, trg):
        outputs, hidden = self.encoder(src)
        return self.decoder(outputs, hidden, trg)[0]


class LayerSeq2Seq(nn.Module):
    """Encoder and decoder layers, teacher-forced without a loop, with dot attention."""

    def __init__(self):
        super().__init__()
        self.src = nn.Embedding(20, 8)
        self.trg = nn.Embedding(15, 8)
        self.encoder = nn.LSTM(8, 12, 2, batch_first=True, bidirectional=True)
        self.bridge_h = nn.Linear(24, 12)
        self.bridge_c = nn.Linear(24, 12)
        self.decoder = nn.LSTM(8, 12, 2, batch_first=True)
        self.project = nn.Linear(24, 12)
        self.out = nn.Linear(24, 15)

    def bridge(self, state, linear):
        layers, batch, size = state.shape
        state = state.view(layers // 2, 2, batch, size).transpose(1, 2)
        return torch.tanh(linear(state.reshape(layers // 2, batch, 2 * size)))

    def forward(self, src, trg):
        memory, (h, c) = self.encoder(self.src(src))
        y, _ = self.decoder(
            self.trg(trg), (self.bridge(h, self.bridge_h), self.bridge(c, self.bridge_c))
        )
        memory = self.project(memory)
        weights = torch.softmax(y @ memory.transpose(1, 2), dim=-1)
        return self.out(torch.cat([y, weights @ memory], dim=-1))


class Autoregressive(nn.Module):
    """A forecaster that feeds its own output back for a fixed horizon."""

    def __init__(self, horizon=3):
        super().__init__()
        self.encoder = nn.LSTM(2, 10, batch_first=True)
        self.cell = nn.LSTMCell(2, 10)
        self.out = nn.Linear(10, 2)
        self.horizon = horizon

    def forward(self, x):
        _, (h, c) = self.encoder(x)
        h, c = h[-1], c[-1]
        y = x[:, -1]
        forecast = []
        for _ in range(self.horizon):
            h, c = self.cell(y, (h, c))
            y = self.out(h)
            forecast.append(y)
        return torch.stack(forecast, dim=1)


class GreedyDecoder(nn.Module):
    """Generates ids for a fixed number of steps from the encoder's state."""

    def __init__(self):
        super().__init__()
        self.encoder = EncoderRNN(20, 12)
        self.embedding = nn.Embedding(15, 12)
        self.cell = nn.GRUCell(12, 12)
        self.out = nn.Linear(12, 15)

    def forward(self, src):
        _, hidden = self.encoder(src)
        h = hidden[0]
        token = torch.zeros(src.size(0), dtype=torch.long, device=src.device)
        ids = []
        for _ in range(4):
            h = self.cell(self.embedding(token), h)
            token = self.out(h).argmax(-1)
            ids.append(token)
        return torch.stack(ids, 1)


_TRANSLATION = (
    "src: int64[batch, sequence], trg: int64[batch, trg_dim1]; {states} -> output: "
    "float32[batch, trg_dim1, 15] (sequence)"
)

CASES = (
    Case(
        "a GRU encoder and a teacher-forced decoder of cells",
        "The decoder's state comes from the encoder and stays inside.",
        Seq2Seq,
        _TRANSLATION.format(states="encoder_gru_h[1, batch, 12]"),
        symbols=15,
        example=(2, 5),
    ),
    Case(
        "a decoder with attention",
        "Attention over the encoder's outputs at each target step.",
        AttentionSeq2Seq,
        _TRANSLATION.format(states="encoder_gru_h[1, batch, 12]"),
        symbols=15,
        example=(2, 5),
    ),
    Case(
        "a bidirectional encoder and a bridged decoder",
        "Source and target lengths are both dynamic.",
        LayerSeq2Seq,
        _TRANSLATION.format(states="encoder_h[4, batch, 12], encoder_c[4, batch, 12]"),
        symbols=15,
        example=(2, 5),
    ),
    Case(
        "a fixed horizon is unrolled",
        "A constant number of decoder steps needs no axis; the encoder's state is carried.",
        Autoregressive,
        "x: float32[batch, sequence, 2]; encoder_h[1, batch, 10], encoder_c[1, batch, 10] -> "
        "output: float32[batch, 3, 2] (sequence + step)",
        example=(2, 6),
    ),
    Case(
        "a greedy decoder gives ids",
        "Argmax feeds back inside the graph.",
        GreedyDecoder,
        "src: int64[batch, sequence]; encoder_gru_h[1, batch, 12] -> output: int64[batch, 4] "
        "(sequence + step)",
        symbols=20,
    ),
)
