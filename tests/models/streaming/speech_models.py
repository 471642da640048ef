"""A recognizer, a keyword spotter and a model of raw sound, as one trains them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class SequenceWise(nn.Module):
    """Applies a module to every step of (sequence, batch, features)."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        steps, batch = x.size(0), x.size(1)
        return self.module(x.view(steps * batch, -1)).view(steps, batch, -1)


class NormedGRU(nn.Module):
    """Batch norm over steps and sequences, then a GRU."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.norm, self.rnn = SequenceWise(nn.BatchNorm1d(inputs)), nn.GRU(inputs, hidden)

    def forward(self, x):
        return self.rnn(self.norm(x))[0]


class Lookahead(nn.Module):
    """Each feature, convolved with its next steps."""

    def __init__(self, features, context):
        super().__init__()
        self.context = context
        self.conv = nn.Conv1d(features, features, context, groups=features, bias=False)

    def forward(self, x):
        x = F.pad(x.permute(1, 2, 0), (0, self.context - 1))
        return self.conv(x).permute(2, 0, 1).contiguous()


class DeepSpeech(nn.Module):
    """Convolutions with stride over bins and frames, GRUs, a few steps of look ahead, symbols.

    After Amodei et al., "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin",
    2015. Spectrograms (batch, frames, 20) in, two frames for each row of scores.
    """

    def __init__(self, bins=20, hidden=14, symbols=9):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, (7, 5), stride=(2, 2), padding=(3, 2)),
            nn.BatchNorm2d(4),
            nn.Hardtanh(0, 20, inplace=True),
            nn.Conv2d(4, 6, (5, 3), stride=(2, 1), padding=(2, 1)),
            nn.BatchNorm2d(6),
            nn.Hardtanh(0, 20, inplace=True),
        )
        self.rnns = nn.Sequential(NormedGRU(6 * 5, hidden), NormedGRU(hidden, hidden))
        self.lookahead = nn.Sequential(Lookahead(hidden, 4), nn.Hardtanh(0, 20, inplace=True))
        self.fc = SequenceWise(
            nn.Sequential(nn.BatchNorm1d(hidden), nn.Linear(hidden, symbols, bias=False))
        )

    def forward(self, spectrogram):
        x = self.conv(spectrogram.transpose(1, 2)[:, None])
        batch, channels, bins, frames = x.size()
        x = x.view(batch, channels * bins, frames).permute(2, 0, 1).contiguous()
        x = self.fc(self.lookahead(self.rnns(x)))
        return F.log_softmax(x.transpose(0, 1), dim=-1)


class SeparableBlock(nn.Module):
    """A depthwise causal convolution, a pointwise one, and the input again."""

    def __init__(self, channels, kernel, dilation):
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, groups=channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 1, bias=False),
            nn.BatchNorm1d(channels),
        )

    def forward(self, x):
        return F.relu(x + self.body(F.pad(x, (self.past, 0))))


class KeywordSpotter(nn.Module):
    """A convolution with stride, depthwise separable ones, a GRU; scores are smoothed.

    After Zhang, Suda, Lai and Chandra, "Hello Edge: Keyword Spotting on Microcontrollers", 2017,
    with the smoothed scores of Chen, Parada and Heigold, 2014. Coefficients (batch, 10, frames) in.
    """

    def __init__(self, coefficients=10, channels=12, hidden=10, keywords=4):
        super().__init__()
        self.stem = nn.Conv1d(coefficients, channels, 5, stride=2)
        self.blocks = nn.Sequential(
            SeparableBlock(channels, 3, 1),
            SeparableBlock(channels, 3, 2),
            SeparableBlock(channels, 3, 4),
        )
        self.gru = nn.GRU(channels, hidden, batch_first=True)
        self.head = nn.Linear(hidden, keywords)

    def forward(self, coefficients):
        x = F.relu(self.stem(F.pad(coefficients, (3, 0))))
        y, _ = self.gru(self.blocks(x).transpose(1, 2))
        scores = self.head(y).softmax(-1).transpose(1, 2)
        return F.avg_pool1d(F.pad(scores, (3, 0)), 4, stride=1).transpose(1, 2)


class CausalConv1d(nn.Conv1d):
    """Pads on both sides and cuts off the end."""

    def __init__(self, inputs, outputs, kernel, dilation=1):
        past = (kernel - 1) * dilation
        super().__init__(inputs, outputs, kernel, padding=past, dilation=dilation)

    def forward(self, x):
        return super().forward(x)[:, :, : -self.padding[0]]


class GatedBlock(nn.Module):
    """A dilated convolution with a gate, added to the input and to the skips."""

    def __init__(self, channels, skips, dilation):
        super().__init__()
        self.gated = CausalConv1d(channels, 2 * channels, 2, dilation)
        self.residual, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, skips, 1)

    def forward(self, x):
        tanh, gate = self.gated(x).chunk(2, 1)
        y = torch.tanh(tanh) * torch.sigmoid(gate)
        return x + self.residual(y), self.skip(y)


class WaveNet(nn.Module):
    """Two stacks of gated convolutions with dilation 1 to 8, their skips, an LSTM.

    After van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016: samples as
    symbols, scores of the next one.
    """

    def __init__(self, symbols=32, channels=8, skips=10, hidden=12):
        super().__init__()
        self.embedding = nn.Embedding(symbols, channels)
        self.first = CausalConv1d(channels, channels, 2)
        self.blocks = nn.ModuleList(
            GatedBlock(channels, skips, 2**place) for _ in range(2) for place in range(4)
        )
        self.lstm = nn.LSTM(skips, hidden, batch_first=True)
        self.head = nn.Linear(hidden, symbols)

    def forward(self, samples):
        x, total = self.first(self.embedding(samples).transpose(1, 2)), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        y, _ = self.lstm(F.relu(total).transpose(1, 2))
        return self.head(F.relu(y))
