"""Loops over time as people write them: what they read, what they write, how far they step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from edgernn.export import export_model
from tests.models.proof import proven


def features(batch, sequence):
    return {"x": torch.randn(batch, sequence, 3)}


class Walker(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.cell = nn.GRUCell(width, 6)

    def start(self, x):
        return x.new_zeros(x.shape[0], 6)


class OwnOutput(Walker):
    """Keeps all its states in one tensor, and reads the one before from there."""

    def forward(self, x):
        states = torch.zeros(x.shape[0], x.shape[1] + 1, 6)
        for t in range(x.shape[1]):
            states[:, t + 1] = self.cell(x[:, t], states[:, t])
        return states[:, 1:]


def test_a_state_read_from_the_output_so_far(tmp_path):
    """What a step wrote is what the next reads: a state."""
    ports = proven(OwnOutput(), tmp_path, features, inputs=(torch.randn(2, 6, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)"
    )


class NoneAtFirst(Walker):
    def forward(self, x):
        h, outputs = self.start(x), None
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            step = h.unsqueeze(1)
            outputs = step if outputs is None else torch.cat([outputs, step], 1)
        return outputs


def test_an_output_that_begins_as_none(tmp_path):
    """The first step is one of the loop, though it joins nothing."""
    ports = proven(NoneAtFirst(), tmp_path, features, inputs=(torch.randn(2, 6, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)"
    )


class PutInFront(Walker):
    def forward(self, x):
        h, outputs = self.start(x), None
        for t in range(x.shape[1] - 1, -1, -1):
            h = self.cell(x[:, t], h)
            step = h.unsqueeze(1)
            outputs = step if outputs is None else torch.cat([step, outputs], dim=-2)
        return outputs


def test_outputs_put_in_front_of_each_other(tmp_path):
    """A loop that goes backward may grow its output at the other end."""
    ports = proven(PutInFront(), tmp_path, features, inputs=(torch.randn(2, 6, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence)"
    )


class Masked(Walker):
    def forward(self, x, lengths):
        h, outputs = self.start(x), []
        for t in range(x.shape[1]):
            valid = (t < lengths).float().unsqueeze(1)
            h = valid * self.cell(x[:, t], h) + (1 - valid) * h
            outputs.append(h)
        return torch.stack(outputs, 1)


def test_the_number_of_the_step_compared(tmp_path):
    """An operator that takes a number takes that of the step at any length."""
    ports = proven(
        Masked(),
        tmp_path,
        lambda b, t: features(b, t) | {"lengths": torch.randint(1, t + 1, (b,))},
        inputs=(torch.randn(2, 6, 3), torch.tensor([6, 4])),
    )
    assert ports == (
        "x: float32[batch, sequence, 3], lengths: int64[batch]; h[batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence)"
    )


class Windows(Walker):
    def __init__(self):
        super().__init__(9)

    def forward(self, x):
        h, outputs = self.start(x), []
        for t in range(x.shape[1] - 2):
            h = self.cell(x[:, t : t + 3].flatten(1), h)
            outputs.append(h)
        return torch.stack(outputs, 1)


def test_windows_that_overlap(tmp_path):
    """Each step takes a few of the sequence; sizes that have no window are not tried."""
    ports = proven(
        Windows(),
        tmp_path,
        features,
        sizes=((1, 3), (3, 11), (5, 4)),
        inputs=(torch.randn(2, 8, 3),),
    )
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence - 2, 6] "
        "(sequence)"
    )


class Strided(Walker):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, stride=2, padding=1)

    def forward(self, x):
        frames = self.conv(x.transpose(1, 2)).transpose(1, 2)
        h, outputs = self.start(x), []
        for t in range(frames.shape[1]):
            h = self.cell(frames[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


def test_a_loop_behind_a_stride(tmp_path):
    """It has one step more when the sequence has two more."""
    ports = proven(Strided(), tmp_path, features, inputs=(torch.randn(2, 8, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, "
        "(sequence - 1)//2 + 1, 6] (sequence)"
    )


class Pooled(Walker):
    def forward(self, x):
        frames = F.max_pool1d(x.transpose(1, 2), 2).transpose(1, 2)
        h, outputs = self.start(x), []
        for frame in frames.unbind(1):
            h = self.cell(frame, h)
            outputs.append(h)
        return torch.stack(outputs, 1)


def test_a_loop_behind_a_pool(tmp_path):
    """From one size to the next it need not take a step more."""
    ports = proven(
        Pooled(),
        tmp_path,
        features,
        sizes=((1, 2), (3, 11), (5, 4)),
        inputs=(torch.randn(2, 8, 3),),
    )
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence//2, 6] "
        "(sequence)"
    )


class EveryOther(Walker):
    def forward(self, x):
        h, outputs = self.start(x), []
        for t in range(0, x.shape[1], 2):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


def test_a_loop_over_every_other_step(tmp_path):
    """A range of a stride."""
    ports = proven(EveryOther(), tmp_path, features, inputs=(torch.randn(2, 6, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, "
        "(sequence + 1)//2, 6] (sequence)"
    )


class Retention(nn.Module):
    """Keeps a matrix for each head; parts of one projection taken step by step."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(3, 24, bias=False)
        self.register_buffer("decay", 1 - 2.0 ** (-5 - torch.arange(2)))
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x):
        batch, steps, _ = x.shape
        q, k, v = (part.view(batch, steps, 2, 4) for part in self.projection(x).chunk(3, -1))
        state, outputs = torch.zeros(batch, 2, 4, 4), []
        for t in range(steps):
            state = self.decay.view(1, 2, 1, 1) * state + k[:, t, :, :, None] * v[:, t, :, None]
            outputs.append((q[:, t, :, None] @ state).reshape(batch, 8))
        outputs = torch.stack(outputs, 1)
        return self.norm(outputs.view(-1, 8)).view(batch, steps, 8)


def test_parts_of_a_projection_and_a_view_of_the_outputs(tmp_path):
    """A part split off before the loop is one tensor; stacked outputs lie in memory as torch's."""
    ports = proven(Retention(), tmp_path, features, inputs=(torch.randn(2, 6, 3),))
    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 2, 4, 4] -> output: float32[batch, sequence, 8] "
        "(sequence + step)"
    )


class Pointer(nn.Module):
    """Points at one step of the source after the other, each at most once."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 6, batch_first=True)
        self.decoder = nn.LSTMCell(3, 6)
        self.query, self.key = nn.Linear(6, 6), nn.Linear(6, 6)
        self.score = nn.Linear(6, 1)

    def forward(self, src):
        memory, (h, c) = self.encoder(src)
        h, c, token = h[0], c[0], torch.zeros(src.shape[0], 3)
        taken, outputs = torch.zeros(src.shape[:2]), []
        for _ in range(src.shape[1]):
            h, c = self.decoder(token, (h, c))
            energy = torch.tanh(self.query(h).unsqueeze(1) + self.key(memory))
            weights = torch.softmax(self.score(energy).squeeze(-1) - 1e4 * taken, 1)
            best = weights.argmax(1)
            taken = taken + F.one_hot(best, src.shape[1])
            token = src.gather(1, best.view(-1, 1, 1).expand(-1, 1, 3)).squeeze(1)
            outputs.append(weights)
        return torch.stack(outputs, 1)


def test_a_decoder_that_points_at_its_source(tmp_path):
    """`one_hot` of as many classes as the source has steps."""
    ports = proven(
        Pointer(),
        tmp_path,
        lambda b, t: {"src": torch.randn(b, t, 3)},
        inputs=(torch.randn(2, 5, 3),),
    )
    assert ports == (
        "src: float32[batch, sequence, 3]; encoder_h[1, batch, 6], encoder_c[1, batch, 6], "
        "loop_h0[batch, 3] -> output: float32[batch, sequence, sequence] (sequence)"
    )


class OtherCellLater(nn.Module):
    """A loop whose cell changes, over a number of steps that the spec fixes."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GRUCell(3, 4), nn.GRUCell(3, 4)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            h = (self.first if t < 3 else self.second)(x[:, t], h)
        return h


def test_a_loop_over_a_constant_number_of_steps_is_no_step(tmp_path):
    """A call that starts from a state of its own is a whole sequence, whose batch alone varies."""
    artifact = export_model(
        OtherCellLater().eval(), tmp_path / "m.edgernn", inputs=["x:float32[batch,5,3]"]
    )
    inputs = artifact.contract.graphs["sequence"].inputs
    assert str(inputs[0]) == "x: float32[batch, 5, 3]"
    assert artifact.contract.remarks == (
        "There is no step graph: forward loops over a constant number of steps, from a state of "
        "its own at every call.",
    )
