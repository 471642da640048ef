"""Over many steps the step graph stays about as close to float64 as eager float32 does."""

import numpy as np
import pytest
import torch
from torch import nn

import edgernn

STEPS, HIDDEN = 2000, 64
FACTOR = 1.4
GROWTH = 1.2


def mean(gap: np.ndarray) -> float:
    return float(np.sqrt(np.square(gap.astype(np.float64)).mean()))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_drift(kind, tmp_path):
    """In 2,000 steps with the state fed back, the difference is about eager's and does not grow."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(HIDDEN, HIDDEN).eval()
    artifact = edgernn.export_model(
        layer, tmp_path / "layer.edgernn", inputs=[f"input:float32[sequence,batch,{HIDDEN}]"]
    )
    stream = edgernn.load(artifact.path).stream()
    x = torch.randn(STEPS, 1, HIDDEN)
    stepped = np.stack([np.asarray(stream.step(row)) for row in x.numpy()])
    with torch.no_grad():
        single = layer(x)[0].numpy()
        exact = layer.double()(x.double())[0].numpy()
    gap = stepped - exact
    assert mean(gap) <= FACTOR * mean(single - exact)
    assert mean(gap[-STEPS // 4 :]) <= GROWTH * mean(gap[: STEPS // 4])
