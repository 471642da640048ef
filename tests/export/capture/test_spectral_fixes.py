"""stft and istft before and after the transform."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim

from edgernn.export.capture.exporter_fixes import exporter_fix

X = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
WINDOW = torch.hamming_window(16)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("signal", [X, X[0]], ids=("batch", "one"))
def test_a_centered_stft_is_one_of_a_padded_signal(signal, mode):
    """With or without a batch."""
    kwargs = {"window": WINDOW, "pad_mode": mode, "return_complex": True}
    wanted = torch.stft(signal, 16, 4, **kwargs)
    assert torch.equal(exporter_fix("stft", (signal, 16, 4), kwargs), wanted)


def test_other_calls_of_stft_are_left_to_torch():
    """Those without centering, and those of torch's operator, whose arguments have other places."""
    options = {"return_complex": True, "center": False}
    assert exporter_fix("stft", (X, 16), options) is NotImplemented
    operator = (X, 16, 4, None, WINDOW, True, None, True)
    assert exporter_fix("stft", operator, {}) is NotImplemented


class Inverse(nn.Module):
    """Returns a signal as long as `x`, of a spectrum."""

    def forward(self, z, x):
        given = torch.view_as_complex(z), 16, 4, None, WINDOW
        answer = exporter_fix("istft", given, {"length": x.shape[-1]})
        return torch.istft(*given, length=x.shape[-1]) if answer is NotImplemented else answer


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("length", [30, 40, 43])
def test_istft_takes_a_length_that_varies(length):
    """It is cut out of the whole signal; a length that is a number is left to torch."""
    z = torch.view_as_real(torch.stft(X, 16, 4, window=WINDOW, return_complex=True))
    wanted = Inverse()(z, torch.zeros(length))
    shapes = (None, {0: Dim.DYNAMIC})
    program = torch.export.export(Inverse(), (z, torch.zeros(length)), dynamic_shapes=shapes)
    calls = [node for node in program.graph.nodes if "istft" in str(node.target)]
    assert len(calls) == 1
    torch.testing.assert_close(
        program.module(check_guards=False)(z, torch.zeros(length)), wanted, atol=1e-6, rtol=0
    )
    number = exporter_fix("istft", (torch.view_as_complex(z), 16), {"length": 40})
    assert number is NotImplemented
