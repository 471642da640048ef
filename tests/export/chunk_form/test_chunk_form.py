"""Models that remember more than their layers' states run in chunks as they run whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgernn
from edgernn.export.chunk_form.chunk_form import chunk_form
from tests.export.chunk_form.streams import check, lowered

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


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_causal_convolutions_have_no_delay(kernel: int, dilation: int, stride: int) -> None:
    """A convolution padded on the left alone keeps its last inputs, and gives all frames."""
    left = (kernel - 1) * dilation
    module = Convolved(left, 0, kernel_size=kernel, dilation=dilation, stride=stride)
    check(module, SPEC, states=["conv_context"], hop=stride, delay=0)


def test_a_model_of_layers_alone_has_no_chunk_form() -> None:
    """Its graphs stay as they were."""
    assert (
        chunk_form(lowered(nn.GRU(4, 8, batch_first=True), SPEC.replace("x", "input", 1))) is None
    )


class Valid(nn.Module):
    """A convolution without padding before layers of some kind."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, **options)
        self.rnn = getattr(nn, kind)(6, 8, num_layers=2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        result: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return result


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("stride", [1, 2])
def test_layers_wait_for_their_first_frame(kind: str, stride: int) -> None:
    """A layer keeps its initial state until the first frame that is defined."""
    check(Valid(kind, stride=stride), SPEC, delay=2 // stride, hop=stride)


class Projected(nn.Module):
    """A layer that is a Scan in ONNX, behind a convolution without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.LSTM(6, 8, proj_size=3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 3)."""
        result: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return result


class Loop(nn.Module):
    """A loop over the frames of a convolution without padding, which may have none."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=stride)
        self.cell = nn.Linear(11, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 5)."""
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        h, results = y.new_zeros(y.shape[0], 5), []
        for frame in range(y.shape[1]):
            h = torch.tanh(self.cell(torch.cat((y[:, frame], h), 1))) * 0.9 + 0.1 * h
            results.append(h)
        return torch.stack(results, 1)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_scan_waits_for_its_first_frame() -> None:
    """Its states stay as they are while frames are not defined."""
    check(Projected(), SPEC, states=["conv_context", "position"], delay=2)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_loop_waits_for_its_first_frame(stride: int) -> None:
    """A loop in Python over frames that come later starts with the first of them."""
    check(Loop(stride), SPEC, states=["conv_context", "position"], hop=stride)


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
