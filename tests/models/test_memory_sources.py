"""Memory in files: buffers that TorchScript and torch.export archives write."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import edgernn


class Buffers(nn.Module):
    """A state and the last input, each in a buffer that is written in place."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.register_buffer("state", torch.full((1, 6), 0.25))
        self.register_buffer("past", torch.zeros(1, 4))

    def forward(self, x):
        y = x - self.past
        self.past.copy_(x)
        self.state.copy_(self.cell(y, self.state))
        return 2 * self.state


X = torch.ones(1, 4)

SOURCES = {
    "scripted": lambda module, path: torch.jit.script(module).save(path),
    "traced": lambda module, path: torch.jit.trace(module, X, check_trace=False).save(path),
    "exported": lambda module, path: torch.export.save(torch.export.export(module, (X,)), path),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore")
def test_buffers_that_an_archive_writes_are_states(source, tmp_path):
    """Step by step as the module itself, from what the archive holds."""
    torch.manual_seed(0)
    module = Buffers().eval().requires_grad_(False)
    path = str(tmp_path / "model.pt2")
    SOURCES[source](module, path)
    fresh = copy.deepcopy(module)  # a trace runs the module, and stores what that leaves
    artifact = edgernn.export_model(path, tmp_path / "m.edgernn", inputs=["x:float32[1,4]"])
    assert len(artifact.contract.states) == 2
    stream = edgernn.load(artifact.path).stream()
    for _ in range(30):
        x = torch.randn(1, 4)
        with torch.no_grad():
            expected = fresh(x)
        np.testing.assert_allclose(stream.step(x.numpy()), expected.numpy(), rtol=0, atol=2e-5)
