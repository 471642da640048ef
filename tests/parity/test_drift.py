"""Over many steps the step graph drifts no further from float64 than eager float32 does."""

import numpy as np
import pytest
import torch
from torch import nn

import edgernn

STEPS, HIDDEN = 2000, 64
FACTOR = 2


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_drift(kind, tmp_path):
    """In 2,000 steps with the state fed back, at most twice eager float32's own difference."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(HIDDEN, HIDDEN).eval().requires_grad_(False)
    artifact = edgernn.export_model(
        layer, tmp_path / "layer.edgernn", inputs=[f"input:float32[sequence,batch,{HIDDEN}]"]
    )
    stream = edgernn.load(artifact.path).stream()
    x = torch.randn(STEPS, 1, HIDDEN)
    stepped = np.stack([np.asarray(stream.step(row)) for row in x.numpy()])
    single = layer(x)[0].numpy()
    exact = layer.double()(x.double())[0].numpy()
    assert np.abs(stepped - exact).max() <= FACTOR * np.abs(single - exact).max()
