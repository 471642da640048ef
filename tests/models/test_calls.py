"""How modules want to be called: with modes, hooks, arguments and containers of their own."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

import edgernn
from tests.models.proof import signature


class Base(nn.Module):
    """A layer and a head, with a dropout that eval mode must turn off."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        return self.drop(self.rnn(x)[0])


class OwnTrain(Base):
    """`train` is the training loop, `eval` returns nothing."""

    def train(self, epochs):
        raise RuntimeError(f"no data for {epochs} epochs")

    def eval(self):
        self.drop.training = False


class OwnCall(Base):
    """What a call adds to forward, with a hook that takes the argument by its place."""

    def __init__(self):
        super().__init__()
        self.register_forward_pre_hook(lambda module, args: (args[0] * 2,))

    def __call__(self, features):
        return torch.tanh(super().__call__(features))


class Star(Base):
    """Hands on what it is given."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


class ScriptedCell(nn.Module):
    """A scripted cell in a loop over time."""

    def __init__(self):
        super().__init__()
        self.cell = torch.jit.script(nn.GRUCell(4, 6))

    def forward(self, x):
        h = x.new_zeros(len(x), self.cell.hidden_size)
        rows = []
        for row in x.unbind(1):
            h = self.cell(row, h)
            rows.append(h)
        return torch.stack(rows, 1)


class States(NamedTuple):
    top: torch.Tensor
    rest: list[torch.Tensor]


class Containers(nn.Module):
    """One step whose states are a list in a named tuple, written in place."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(4, 6), nn.GRUCell(6, 6), nn.GRUCell(6, 5)])

    def forward(self, x: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        rest = states.rest.copy()
        for place, cell in enumerate(self.cells[:2]):
            rest[place] = x = cell(x, rest[place])
        top = self.cells[2](x, states.top)
        return top, States(top, rest)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", [OwnTrain, OwnCall, Star, ScriptedCell])
def test_a_module_is_called_as_its_author_calls_it(kind, tmp_path):
    """In eval mode, by place where a hook or `__call__` wants it, with scripted parts."""
    module = kind()
    plain = kind()
    plain.load_state_dict(module.state_dict())
    for part in plain.modules():
        part.training = False
    options = {"inputs": torch.randn(2, 5, 4)} if kind is Star else {}

    artifact = edgernn.export_model(module, tmp_path / "m", **options)

    x = torch.randn(3, 7, 4)
    with torch.no_grad():
        expected = plain(x).numpy()
    (port,) = artifact.contract.data_inputs("sequence")
    got = edgernn.load(artifact.path)(**{port.name: x.numpy()})
    assert abs(got - expected).max() < 2e-5


def test_specs_make_the_containers_that_annotations_name(tmp_path):
    """Digits index a tuple; where forward names a list or a named tuple, they make that."""
    specs = ["x:float32[batch,4]", "states[0]:float32[batch,5]"]
    specs += ["states[1][0]:float32[batch,6]", "states[1][1]:float32[batch,6]"]

    artifact = edgernn.export_model(Containers(), tmp_path / "m", inputs=specs, verify=False)

    assert signature(artifact) == (
        "x: float32[batch, sequence, 4]; cells_0_h[batch, 6], cells_1_h[batch, 6], "
        "cells_2_h[batch, 5] -> output: float32[batch, sequence, 5] (sequence + step)"
    )
