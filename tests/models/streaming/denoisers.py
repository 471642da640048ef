"""Denoisers, written as their papers describe them and as one trains them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class SeparationCore(nn.Module):
    """Two stacked LSTMs and a mask."""

    def __init__(self, inputs, units):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, num_layers=2, dropout=0.25, batch_first=True)
        self.mask = nn.Linear(units, inputs)

    def forward(self, x):
        y, _ = self.lstm(x)
        return torch.sigmoid(self.mask(y))


class DualSignalDenoiser(nn.Module):
    """A mask on magnitudes, then one on learned features, each by LSTMs; frames are added up.

    After Westhausen and Meyer, "Dual-Signal Transformation LSTM Network for Real-Time Noise
    Suppression", 2020.
    """

    def __init__(self, frame=32, shift=8, units=12, features=20):
        super().__init__()
        self.frame, self.shift = frame, shift
        self.magnitude_core = SeparationCore(frame // 2 + 1, units)
        self.encoder = nn.Conv1d(frame, features, 1, bias=False)
        self.norm = nn.LayerNorm(features)
        self.feature_core = SeparationCore(features, units)
        self.decoder = nn.Conv1d(features, frame, 1, bias=False)

    def forward(self, wave):
        frames = wave.unfold(1, self.frame, self.shift)
        spectrum = torch.fft.rfft(frames)
        magnitude, phase = spectrum.abs(), spectrum.angle()
        magnitude = magnitude * self.magnitude_core(magnitude)
        frames = torch.fft.irfft(torch.polar(magnitude, phase))
        features = self.encoder(frames.transpose(1, 2)).transpose(1, 2)
        features = features * self.feature_core(self.norm(features))
        frames = self.decoder(features.transpose(1, 2))
        samples = (frames.shape[2] - 1) * self.shift + self.frame
        return F.fold(frames, (1, samples), (1, self.frame), stride=(1, self.shift))[:, 0, 0]


class ConvolutionalRecurrentDenoiser(nn.Module):
    """Causal convolutions over time and bins, a GRU, transposed convolutions with skips.

    After Tan and Wang, "A Convolutional Recurrent Neural Network for Real-Time Speech Enhancement",
    2018. Magnitudes (batch, frames, 33) in and out.
    """

    def __init__(self, channels=(1, 4, 6, 8), bins=(33, 16, 7, 3)):
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.ConstantPad2d((0, 0, 1, 0), 0.0),
                nn.Conv2d(few, many, (2, 3), stride=(1, 2)),
                nn.BatchNorm2d(many),
                nn.ELU(),
            )
            for few, many in pairwise(channels)
        )
        width = channels[-1] * bins[-1]
        self.gru = nn.GRU(width, width, 2, batch_first=True)
        pairs = list(zip(channels, channels[1:], bins))[::-1]
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(
                2 * many, few, (2, 3), stride=(1, 2), output_padding=(0, 1 - wide % 2)
            )
            for few, many, wide in pairs
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(few) for few, *_ in pairs)

    def forward(self, magnitude):
        x, skips = magnitude[:, None], []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        batch, channels, frames, bins = x.shape
        y, _ = self.gru(x.transpose(1, 2).reshape(batch, frames, channels * bins))
        x = y.reshape(batch, frames, channels, bins).transpose(1, 2)
        for block, norm, skip in zip(self.decoder, self.norms, skips[::-1]):
            x = block(torch.cat((x, skip), 1))[:, :, :-1]  # the last frame would look ahead
            x = norm(x)
            x = F.elu(x) if block is not self.decoder[-1] else F.softplus(x)
        return x[:, 0]


class GroupedGRU(nn.Module):
    """A GRU for each half of the features."""

    def __init__(self, size, bidirectional=False):
        super().__init__()
        hidden = size // 4 if bidirectional else size // 2
        self.halves = nn.ModuleList(
            nn.GRU(size // 2, hidden, batch_first=True, bidirectional=bidirectional)
            for _ in range(2)
        )

    def forward(self, x):
        parts = [gru(half)[0] for gru, half in zip(self.halves, x.chunk(2, -1))]
        return torch.cat(parts, -1)


class DualPathBlock(nn.Module):
    """GRUs over the bins of each frame, both ways, then over the frames of each bin."""

    def __init__(self, size):
        super().__init__()
        self.intra, self.inter = GroupedGRU(size, bidirectional=True), GroupedGRU(size)
        self.intra_out, self.inter_out = nn.Linear(size, size), nn.Linear(size, size)
        self.intra_norm, self.inter_norm = nn.LayerNorm(size), nn.LayerNorm(size)

    def forward(self, x):
        batch, frames, bins, size = x.shape
        y = self.intra(x.reshape(batch * frames, bins, size))
        x = x + self.intra_norm(self.intra_out(y)).reshape(batch, frames, bins, size)
        y = x.transpose(1, 2).reshape(batch * bins, frames, size)
        y = self.inter_norm(self.inter_out(self.inter(y)))
        return x + y.reshape(batch, bins, frames, size).transpose(1, 2)


class DualPathDenoiser(nn.Module):
    """A short-time Fourier transform, dual paths over bins and time, a complex mask, and back.

    After Le, Chen, Chen and Lu, "DPCRN: Dual-Path Convolution Recurrent Network for Single Channel
    Speech Enhancement", 2021, with the grouped layers of Rong et al., "GTCRN", 2024, and the
    cumulative normalisation of Hao et al., "FullSubNet", 2021.
    """

    def __init__(self, frame=32, shift=16, size=8):
        super().__init__()
        self.frame, self.shift = frame, shift
        self.register_buffer("window", torch.hann_window(frame).sqrt())
        self.lift = nn.Conv2d(3, size, (1, 3), padding=(0, 1))
        self.blocks = nn.ModuleList(DualPathBlock(size) for _ in range(2))
        self.mask = nn.Linear(size, 2)

    def normalized(self, magnitude):
        """Divide by the mean of everything up to each frame."""
        total = magnitude.mean(2).cumsum(1)
        count = torch.arange(1, magnitude.shape[1] + 1, device=magnitude.device)
        return magnitude / ((total / count)[:, :, None] + 1e-3)

    def forward(self, wave):
        padded = F.pad(wave, (self.frame - self.shift, 0))
        spectrum = torch.stft(
            padded, self.frame, self.shift, window=self.window, center=False, return_complex=True
        ).transpose(1, 2)
        features = torch.stack((self.normalized(spectrum.abs()), spectrum.real, spectrum.imag), 1)
        x = self.lift(features).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        mask = torch.view_as_complex(torch.tanh(self.mask(x)))
        frames = torch.fft.irfft(spectrum * mask, self.frame) * self.window
        kernel = torch.eye(self.frame, device=wave.device)[:, None]
        added = F.conv_transpose1d(frames.transpose(1, 2), kernel, stride=self.shift)
        return added[:, 0, self.frame - self.shift :]


class BandGains(nn.Module):
    """Valid convolutions over the features of frames, then three GRUs; gains of bands, and speech.

    After Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement",
    2018, in the form of its second version: each GRU reads the one before, the heads read all.
    """

    def __init__(self, features=10, conditioned=12, hidden=16, bands=6):
        super().__init__()
        self.hidden = hidden
        self.conv1 = nn.Conv1d(features, conditioned, 3, padding="valid")
        self.conv2 = nn.Conv1d(conditioned, hidden, 3, padding="valid")
        self.gru1 = nn.GRU(hidden, hidden, batch_first=True)
        self.gru2 = nn.GRU(hidden, hidden, batch_first=True)
        self.gru3 = nn.GRU(hidden, hidden, batch_first=True)
        self.gains, self.speech = nn.Linear(4 * hidden, bands), nn.Linear(4 * hidden, 1)

    def forward(self, features, states=None):
        if states is None:
            states = [features.new_zeros(1, features.size(0), self.hidden) for _ in range(3)]
        x = torch.tanh(self.conv1(features.permute(0, 2, 1)))
        x = torch.tanh(self.conv2(x)).permute(0, 2, 1)
        y1, state1 = self.gru1(x, states[0])
        y2, state2 = self.gru2(y1, states[1])
        y3, state3 = self.gru3(y2, states[2])
        everything = torch.cat((x, y1, y2, y3), -1)
        gains = torch.sigmoid(self.gains(everything))
        return gains, torch.sigmoid(self.speech(everything)), [state1, state2, state3]
