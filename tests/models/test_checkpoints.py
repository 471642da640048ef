"""Models in other dtypes and modes, and with weights that are computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from edgernn import export_model
from tests.models.proof import proven


class Regressor(nn.Module):
    """A batch norm in front, dropout between layers, half of everything in train mode."""

    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.rnn = kind(4, 8, 2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y, _ = self.rnn(x)
        return self.head(y)


def features(b, t):
    return {"x": torch.randn(b, t, 4)}


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

    ports = proven(model, tmp_path, features, call=reference)

    assert ports == (
        "x: float32[batch, sequence, 4]; h[2, batch, 8] -> output: float32[batch, "
        "sequence, 1] (sequence + step)"
    )
    assert next(model.parameters()).dtype == dtype


def test_train_mode_is_left_as_it_is(tmp_path):
    """Exported as in eval mode; the module itself stays in train mode, its statistics untouched."""
    model = Regressor(nn.LSTM).train()
    model(torch.randn(8, 5, 4))
    before = model.norm.running_mean.clone()
    modes = {name: part.training for name, part in model.named_modules()}
    export_model(model, tmp_path / "m")

    assert {name: part.training for name, part in model.named_modules()} == modes
    assert torch.equal(model.norm.running_mean, before)


class Reparametrised(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)
        if how == "weight norm":
            parametrizations.weight_norm(self.rnn, "weight_hh_l0")
            parametrizations.weight_norm(self.head)
        elif how == "spectral norm":
            parametrizations.spectral_norm(self.rnn, "weight_hh_l0")
        elif how == "old weight norm":
            with pytest.warns(FutureWarning):
                nn.utils.weight_norm(self.rnn, "weight_hh_l0")

    def forward(self, x):
        y, h = self.rnn(x)
        return self.head(y)


@pytest.mark.parametrize("how", ["weight norm", "spectral norm", "old weight norm"])
def test_weights_that_are_computed(tmp_path, how):
    """What parametrizations compute is what the graph holds."""
    assert proven(Reparametrised(how), tmp_path, features) == (
        "x: float32[batch, sequence, 4]; h[1, batch, 6] -> output: float32[batch, "
        "sequence, 2] (sequence + step)"
    )
