"""What is said of a forward that gives something else at every call, and advice that works."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgernn import export_model
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.dynamic_axes import infer_example
from tests.export.expected_refusal import at, refusal

Function = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """A GRU, a cell, and a function of them and the input."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.rnn, self.cell = nn.GRU(4, 3, batch_first=True), nn.GRUCell(4, 3)
        self._function = function

    def forward(self, x):
        return self._function(self, x)


def starts_by_chance(net, x):
    return net.rnn(x, torch.randn(1, x.shape[0], 3))[0]


def starts_its_cell_by_chance(net, x):
    h = torch.rand(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
    return h


def starts_from_numpy(net, x):
    return net.rnn(x, torch.from_numpy(np.random.rand(1, len(x), 3)).float())[0]


def starts_from_zeros(net, x):
    return net.rnn(x, torch.zeros(1, x.shape[0], 3))[0]


def starts_from_what_was_there(net, x):
    return net.rnn(x, torch.Tensor(1, x.shape[0], 3))[0]


def drops(net, x):
    return net.rnn(functional.dropout(x, 0.5))[0]


def drops_in_training(net, x):
    return net.rnn(functional.dropout(x, 0.5, net.training))[0]


def samples(net, x):
    y = net.rnn(x)[0]
    return y + torch.randn_like(y)


def is_fed_by_chance(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cell(x[:, t] * random.random(), h)
    return h


def draws_for_nothing(net, x):
    torch.rand(3)
    torch.empty(3)
    return net.rnn(x)[0]


BY_CHANCE = (
    "`Net.forward` starts from a random state, drawn anew at every call{}, so no two runs agree. "
    "Start from zeros or from a parameter, or take the state as an argument."
)

CASES: list[tuple[Function, str, str, Function]] = [
    (
        starts_by_chance,
        "return net.rnn(x, torch.randn(1, x.shape[0], 3))[0]",
        BY_CHANCE,
        starts_from_zeros,
    ),
    (
        starts_its_cell_by_chance,
        "h = torch.rand(x.shape[0], 3)",
        BY_CHANCE,
        starts_from_zeros,
    ),
    (starts_from_numpy, "", BY_CHANCE, starts_from_zeros),
    (
        starts_from_what_was_there,
        "return net.rnn(x, torch.Tensor(1, x.shape[0], 3))[0]",
        "`Net.forward` reads memory that nothing was written to, made{}: it holds other numbers "
        "every time. Make it with torch.zeros.",
        starts_from_zeros,
    ),
    (
        drops,
        "return net.rnn(functional.dropout(x, 0.5))[0]",
        "`Net.forward` applies dropout in eval mode{}, so its result differs from call to call. "
        "Tie it to the mode: functional.dropout(x, p, self.training), or nn.Dropout.",
        drops_in_training,
    ),
    (
        samples,
        "return y + torch.randn_like(y)",
        "`Net.forward` draws random numbers{}, so its result differs from call to call and no "
        "graph can be proven. Return what is not drawn (a mean, scores), or take the noise as an "
        "argument.",
        drops_in_training,
    ),
    (
        is_fed_by_chance,
        "",
        "`Net.forward` does not return the same twice: its result differs from call to call, and "
        "torch draws no random numbers. Leave out of it what NumPy or Python draw, and the time; "
        "keep memory in attributes, and modules in an nn.ModuleList instead of a list.",
        drops_in_training,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_a_forward_that_draws_numbers_is_refused(case, monkeypatch, tmp_path):
    """Two calls that differ leave nothing to prove; where the advice is followed they agree."""
    monkeypatch.chdir(tmp_path)
    function, line, message, followed = case
    said = refusal(UnsupportedModelError, lambda: infer_example(Net(function).eval()))
    assert said == message.format(at(function, line) if line else "")
    infer_example(Net(followed).eval())


def test_numbers_that_nothing_depends_on_may_be_drawn():
    """The result is the same."""
    infer_example(Net(draws_for_nothing).eval())


class Keeping(nn.Module):
    """Subtracts its last input."""

    def __init__(self):
        super().__init__()
        self.last = torch.zeros(1, 4)

    def forward(self, x):
        y, self.last = x - self.last, x
        return y


class Listed(nn.Module):
    """A cell after parts that keep memory."""

    def __init__(self, make):
        super().__init__()
        self.cell, self.parts = nn.GRUCell(4, 6), make([Keeping(), Keeping()])

    def forward(self, x, h):
        for part in self.parts:
            x = part(x)
        return self.cell(x, h)


def test_memory_of_modules_in_a_list_is_refused(tmp_path):
    """They are no parts of the model; in an nn.ModuleList, their memory becomes states."""
    specs = ["x:float32[batch,4]", "h:float32[batch,6]"]
    with pytest.raises(UnsupportedModelError, match=r"modules in an nn\.ModuleList "):
        export_model(Listed(list), tmp_path / "m.edgernn", inputs=specs)
    artifact = export_model(Listed(nn.ModuleList), tmp_path / "m.edgernn", inputs=specs)
    assert {one.name for one in artifact.contract.states} == {"h", "parts_0_last", "parts_1_last"}
