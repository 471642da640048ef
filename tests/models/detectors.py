"""Detectors on frames of sound."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case, by_steps


class Block(nn.Module):
    def __init__(self, inp, out, stride):
        super().__init__()
        self.conv = nn.Conv1d(inp, out, 3, stride, padding=1)
        self.norm = nn.BatchNorm1d(out)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class VoiceDetector(nn.Module):
    """Convolutions over one frame, then one LSTM cell whose h and c are one tensor."""

    def __init__(self, bins=17, hidden=12):
        super().__init__()
        self.hidden = hidden
        self.encoder = nn.Sequential(Block(bins, 16, 1), Block(16, 12, 2), Block(12, hidden, 2))
        self.rnn = nn.LSTMCell(hidden, hidden)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(hidden, 1, 1))

    def forward(self, x, state=None):
        if state is None:
            state = torch.zeros(2, x.shape[0], self.hidden, device=x.device)
        x = self.encoder(x).mean(-1)
        h, c = self.rnn(x, (state[0], state[1]))
        out = torch.sigmoid(self.decoder(h.unsqueeze(-1)))
        return out.squeeze(-1), torch.stack([h, c])


def train(model, frames, steps=15):
    """Learn to tell loud frames from quiet ones."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for _ in range(steps):
        state, loss = None, 0.0
        loud = torch.rand(6, 8, 1, 1) > 0.5
        for t in range(4):
            x = torch.randn(6, *frames) * (0.1 + 2 * loud[:, t])
            y, state = model(x, state)
            loss = loss + F.binary_cross_entropy(y, loud[:, t, :, 0].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


class StatefulRequired(VoiceDetector):
    def forward(self, input, state, sr):
        h, c = state.unbind(0)
        h, c = self.rnn(self.encoder(input).mean(-1), (h, c))
        out = torch.sigmoid(self.decoder(h.unsqueeze(-1)))
        return out[:, 0], torch.cat([h.unsqueeze(0), c.unsqueeze(0)])


class KeywordSpotter(nn.Module):
    """A 2-d convolution over a spectrogram, then a GRU over its frames; needs the whole clip."""

    def __init__(self, mels=16, classes=6):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, (5, 3), stride=(2, 1), padding=(2, 1)), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.gru = nn.GRU(4 * mels // 2, 12, 2, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(24, 1)
        self.fc = nn.Linear(24, classes)

    def forward(self, spec):
        x = self.conv(spec.unsqueeze(1))
        b, ch, f, t = x.size()
        x = x.permute(0, 3, 1, 2).contiguous().view(b, t, ch * f)
        y, _ = self.gru(x)
        w = torch.softmax(self.attention(y), dim=1)
        return self.fc((w * y).sum(1))


class DeepSpeech(nn.Module):
    """Convolutions with stride in time, batch-normed bidirectional GRUs, CTC scores."""

    def __init__(self, freq=20, hidden=10, classes=9, layers=2):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, (11, 5), stride=(2, 2), padding=(5, 2)),
            nn.BatchNorm2d(4),
            nn.Hardtanh(0, 20, inplace=True),
        )
        size = 4 * ((freq + 1) // 2)
        self.rnns = nn.ModuleList(
            [
                nn.GRU(size if i == 0 else hidden, hidden, bidirectional=True, bias=False)
                for i in range(layers)
            ]
        )
        self.norms = nn.ModuleList([nn.BatchNorm1d(hidden) for _ in range(layers)])
        self.fc = nn.Linear(hidden, classes, bias=False)

    def forward(self, x):
        x = self.conv(x)
        sizes = x.size()
        x = x.view(sizes[0], sizes[1] * sizes[2], sizes[3])
        x = x.transpose(1, 2).transpose(0, 1).contiguous()
        for rnn, norm in zip(self.rnns, self.norms):
            x, _ = rnn(x)
            x = x.view(x.size(0), x.size(1), 2, -1).sum(2).view(x.size(0), x.size(1), -1)
            t, n = x.size(0), x.size(1)
            x = norm(x.view(t * n, -1)).view(t, n, -1)
        return F.log_softmax(self.fc(x), dim=-1).transpose(0, 1)


class Crnn(nn.Module):
    """Text lines: convolutions and pooling over an image, its columns the steps."""

    def __init__(self, classes=11, hidden=8):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 6, 3, 1, 1),
            nn.ReLU(True),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 8, 3, 1, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(True),
            nn.MaxPool2d((4, 1), (4, 1)),
            nn.Conv2d(8, 8, 2, 1, 0),
        )
        self.rnn = nn.Sequential(
            Bidirectional(8, hidden, hidden), Bidirectional(hidden, hidden, classes)
        )

    def forward(self, input):
        conv = self.cnn(input)
        b, c, h, w = conv.size()
        assert h == 1, "the height of conv must be 1"
        conv = conv.squeeze(2).permute(2, 0, 1)
        return F.log_softmax(self.rnn(conv), dim=2)


class Bidirectional(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.rnn = nn.LSTM(n_in, n_hidden, bidirectional=True)
        self.embedding = nn.Linear(n_hidden * 2, n_out)

    def forward(self, input):
        recurrent, _ = self.rnn(input)
        t, b, h = recurrent.size()
        output = self.embedding(recurrent.view(t * b, h))
        return output.view(t, b, -1)


CASES = (
    Case(
        "a voice detector with a stacked state",
        "H and c in one tensor [2, batch, hidden] are one state port.",
        lambda: train(VoiceDetector(), (17, 8)),
        "x: float32[batch, sequence, 17, 8]; state[2, batch, 12] -> output: float32[batch, "
        "sequence, 1] (sequence + step)",
        example=lambda: (torch.randn(1, 17, 8), torch.zeros(2, 1, 12)),
        call=by_steps(lambda batch: None),
    ),
    Case(
        "a sampling rate that nothing reads",
        "An argument that forward ignores is noted and left out.",
        StatefulRequired,
        "input: float32[batch, sequence, 17, 8]; state[2, batch, 12] -> output: float32[batch, "
        "sequence, 1] (sequence + step)",
        example=lambda: (torch.randn(1, 17, 8), torch.zeros(2, 1, 12), torch.tensor(16000)),
        call=by_steps(
            lambda batch: torch.zeros(2, batch, 12), lambda model, x, state: model(x, state, 16000)
        ),
    ),
    Case(
        "a keyword spotter over whole clips",
        "Attention pooling over all frames of a bidirectional GRU.",
        KeywordSpotter,
        "spec: float32[batch, 16, sequence]; h[4, batch, 12] -> output: float32[batch, 6] "
        "(sequence)",
        example=(2, 20),
    ),
    Case(
        "a speech model with CTC scores",
        "Half as many steps come out as go in; the batch norm of a whole batch runs in eval mode.",
        DeepSpeech,
        "x: float32[batch, 1, 20, sequence]; rnns_0_h[2, batch, 10], rnns_1_h[2, batch, 10] -> "
        "output: float32[batch, (sequence - 1)//2 + 1, 9] (sequence)",
        example=(2, 31),
    ),
    Case(
        "a reader of text in images",
        "The width of an image is the sequence; its height stays what the convolutions need.",
        Crnn,
        "input: float32[batch, 1, 16, sequence]; rnn_0_rnn_h[2, batch, 8], rnn_0_rnn_c[2, "
        "batch, 8], rnn_1_rnn_h[2, batch, 8], rnn_1_rnn_c[2, batch, 8] -> output: "
        "float32[sequence//2 - 1, batch, 11] (sequence)",
        example=(2, 24),
        sizes=((1, 11), (3, 21), (5, 14)),
    ),
)
