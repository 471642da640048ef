"""Models in other dtypes and in train mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn import export_model
from tests.models.checkpoints import Regressor
from tests.models.proof import check_against_torch, signature


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_run_in_float32(tmp_path, dtype):
    """A checkpoint of another dtype gives the float32 graphs of its numbers."""
    model = Regressor()
    with torch.no_grad():
        model.norm.running_mean.uniform_(-1, 1)
        model.norm.running_var.uniform_(0.5, 2)
    model = model.to(dtype)
    reference = Regressor().eval()
    reference.load_state_dict({name: value.float() for name, value in model.state_dict().items()})

    artifact = export_model(model, tmp_path / "m.edgernn")

    assert signature(artifact) == (
        "x: float32[batch, sequence, 4]; h[2, batch, 8] -> output: float32[batch, "
        "sequence, 1] (sequence + step)"
    )
    check_against_torch(artifact, lambda b, t: {"x": torch.randn(b, t, 4)}, reference)
    assert next(model.parameters()).dtype == dtype


def test_train_mode_is_left_as_it_is(tmp_path):
    """Exported as in eval mode; the module itself stays in train mode, its statistics untouched."""
    model = Regressor(nn.LSTM).train()
    model(torch.randn(8, 5, 4))
    before = model.norm.running_mean.clone()
    modes = {name: part.training for name, part in model.named_modules()}

    export_model(model, tmp_path / "m.edgernn")

    assert {name: part.training for name, part in model.named_modules()} == modes
    assert torch.equal(model.norm.running_mean, before)
