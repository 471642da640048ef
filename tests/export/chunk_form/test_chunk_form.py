"""Models that remember more than their layers' states run in chunks as they run whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import edgernn
from edgernn.export.chunk_form.chunk_form import chunk_form
from tests.export.chunk_form.streams import lowered

SPEC = "x:float32[batch,sequence,4]"


class Convolved(nn.Module):
    """A convolution over time before a GRU."""

    def __init__(self, left: int, right: int, **options: Any) -> None:
        super().__init__()
        self.padding = (left, right)
        self.conv = nn.Conv1d(4, 6, **options)
        self.rnn = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        y = self.conv(F.pad(x.transpose(1, 2), self.padding)).relu()
        result: torch.Tensor = self.rnn(y.transpose(1, 2))[0]
        return result


def test_a_model_of_layers_alone_has_no_chunk_form() -> None:
    """Its graphs stay as they were."""
    assert (
        chunk_form(lowered(nn.GRU(4, 8, batch_first=True), SPEC.replace("x", "input", 1))) is None
    )


class Pooled(nn.Module):
    """Means of four steps each, which forward takes by a reshape: it takes multiples of four."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        batch, steps, size = x.shape
        result: torch.Tensor = self.rnn(x.reshape(batch, steps // 4, 4, size).mean(2))[0]
        return result


def test_a_model_that_takes_multiples_runs_in_hops(tmp_path: Path) -> None:
    """The hop is what forward takes multiples of, without any state besides that of its layer."""
    artifact = edgernn.export_model(Pooled().eval(), tmp_path / "pooled.edgernn", inputs=[SPEC])
    assert artifact.contract.hop == 4
    assert [state.name for state in artifact.contract.states] == ["h"]
    assert artifact.contract.step is not None


class Remembers(Convolved):
    """A model whose state is an attribute: each call goes on from the one before."""

    def __init__(self) -> None:
        super().__init__(2, 0, kernel_size=3)
        self.hidden: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        y = self.conv(F.pad(x.transpose(1, 2), self.padding)).relu()
        result: torch.Tensor
        result, self.hidden = self.rnn(y.transpose(1, 2), self.hidden)
        return result


def test_calls_of_a_module_that_remembers_pad_anew(tmp_path: Path) -> None:
    """Its convolution pads every call, so a call of its graph does, and there are no contexts."""
    artifact = edgernn.export_model(Remembers().eval(), tmp_path / "out.edgernn", inputs=[SPEC])
    assert [state.name for state in artifact.contract.states] == ["h"]
    assert not artifact.contract.divisible


class LastOfValid(nn.Module):
    """The last frame alone of a GRU behind a convolution without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, 8)."""
        result: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return result[:, -1]


def test_a_last_frame_that_comes_late_is_exported(tmp_path: Path) -> None:
    """The model needs as many steps as its output has delay, and no run has fewer."""
    module = LastOfValid().eval()
    path = edgernn.export_model(module, tmp_path / "last.edgernn", inputs=[SPEC]).path
    model = edgernn.load(path)
    assert model.contract.delays == {"output": 2}
    x = torch.randn(1, 9, 4)
    stream = model.stream()
    steps = [stream.step(frame) for frame in x.numpy().swapaxes(0, 1)]
    assert steps[:2] == [None, None]
    for frames in range(3, 10):
        with torch.no_grad():
            expected = module(x[:, :frames]).numpy()
        assert abs(steps[frames - 1] - expected).max() < 1e-5


class DividedByWindows(nn.Module):
    """Frames that are added where they overlap, divided by the sum of their windows."""

    window: torch.Tensor
    single: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 4, 4, stride=2, padding=2)
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.up = nn.ConvTranspose1d(4, 1, 4, stride=2, bias=False)
        self.register_buffer("window", torch.rand(1, 4, 1))
        self.register_buffer("single", torch.eye(4)[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, 1, steps)."""
        y = self.rnn(self.frames(x.transpose(1, 2)).transpose(1, 2))[0].transpose(1, 2)
        windows = self.window.repeat(1, 1, y.shape[-1]) ** 2
        sums = F.conv_transpose1d(windows, self.single, stride=2)
        result: torch.Tensor = (self.up(y) / (sums + 1e-8))[..., 2:-2]
        return result


def test_the_reason_names_the_operator_that_has_no_chunk_form(tmp_path: Path) -> None:
    """It is given where a single step fails too and the state cannot be carried on."""
    module, spec = DividedByWindows().eval(), "x:float32[batch,sequence,1]"
    contract = edgernn.export_model(module, tmp_path / "sums.edgernn", inputs=[spec]).contract
    assert contract.step is None
    assert contract.no_step.startswith("`forward` (Div): forward computes with the number of steps")
