"""The published architectures, with what their artifacts have to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.models.streaming import denoisers, sequence_models, speech_models
from tests.models.streaming.stream_host import Arrays

__all__ = ["ARCHITECTURES", "Architecture", "trained"]


@dataclass(frozen=True)
class Architecture:
    """A model as one trains it.

    Attributes:
        model: Makes the module.
        inputs: What the export is told of forward's arguments.
        outputs: The names of what forward returns, states left out.
        hop: Steps of the input in one step of the stream.
        delays: How many of its own steps an output comes late, where it does.
        tails: How many last steps of an output come only from what is after the end.
        hops: The length of the runs that are compared.
    """

    model: Callable[[], nn.Module]
    inputs: Sequence[str]
    outputs: Sequence[str] = ("output",)
    hop: int = 1
    delays: Mapping[str, int] = field(default_factory=dict)
    tails: Mapping[str, int] = field(default_factory=dict)
    hops: int = 40

    def eager(self, model: nn.Module) -> Callable[[Arrays], dict[str, Any]]:
        """Return the model as a function from arrays to its outputs by name."""

        def call(data: Arrays) -> dict[str, Any]:
            result = model(*(torch.from_numpy(array) for array in data.values()))
            results = result if isinstance(result, tuple) else (result,)
            return dict(zip(self.outputs, results, strict=False))

        return call


def trained(model: nn.Module) -> nn.Module:
    """Return a model in eval mode whose batch norms have seen data."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias, std=0.3)
    return model.eval()


ARCHITECTURES = {
    "dual-signal LSTMs with overlap-add": Architecture(
        denoisers.DualSignalDenoiser,
        ["wave:float32[batch,sequence]"],
        hop=8,
        delays={"output": 24},
        tails={"output": 24},
    ),
    "convolutional recurrent denoiser": Architecture(
        denoisers.ConvolutionalRecurrentDenoiser, ["magnitude:float32[batch,sequence,33]"]
    ),
    "convolutions with stride into GRUs": Architecture(
        speech_models.DeepSpeech,
        ["spectrogram:float32[batch,sequence,20]"],
        hop=2,
        delays={"output": 5},
        tails={"output": 5},
    ),
    "keyword spotter": Architecture(
        speech_models.KeywordSpotter, ["coefficients:float32[batch,10,sequence]"], hop=2
    ),
    "gated dilated convolutions and an LSTM": Architecture(
        speech_models.WaveNet, ["samples:int64[batch,sequence]"]
    ),
    "dual-path denoiser": Architecture(
        denoisers.DualPathDenoiser,
        ["wave:float32[batch,sequence]"],
        hop=16,
        delays={"output": 16},
        tails={"output": 16},
    ),
    "gains of bands behind valid convolutions": Architecture(
        denoisers.BandGains,
        ["features:float32[batch,sequence,10]"],
        outputs=("output_0", "output_1"),
        delays={"output_0": 4, "output_1": 4},
    ),
    "policy with stacked frames": Architecture(
        sequence_models.StackedFramesPolicy,
        ["observations:float32[batch,sequence,6]"],
        outputs=("output_0", "output_1"),
    ),
    "forecaster that normalises as it goes": Architecture(
        sequence_models.NormalisingForecaster, ["readings:float32[batch,sequence,3]"]
    ),
}
