"""The rule for the gate: whatever part of the pipeline rewrites a model wrongly, it is refused.

Each test breaks one part in a way that no size of the example shows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import ParityError
from edgernn.export import build_model, build_torch
from edgernn.export.source import load_source, read_torchscript
from edgernn.export.trace.bounds import Bounds


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


class Looping(nn.Module):
    """A loop over time around a cell, which may do something else from a step on."""

    def __init__(self, first: int = 0):
        super().__init__()
        self.first = first
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        rows = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            rows.append(-h if self.first and t >= self.first else h)
        return torch.stack(rows, 1)


def refused(tmp_path, model: nn.Module, **options: Any) -> str:
    """Export a model, to be refused without a trace; return the message."""
    with pytest.raises(ParityError) as caught:
        edgernn.export_model(model.eval(), tmp_path / "m.edgernn", **options)
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("first", [20, 400])
def test_a_loop_that_was_rewritten_wrongly(tmp_path, monkeypatch, first):
    """The module whose loops are one call each is no reference: the user's own is."""
    rerolled: Any = vars(build_torch)["reroll"]

    def wrongly(module: nn.Module, example: Any) -> Any:
        assert isinstance(module, Looping)
        module.first, kept = 0, module.first
        try:
            return rerolled(module, example)
        finally:
            module.first = kept

    monkeypatch.setattr(build_torch, "reroll", wrongly)
    message = refused(tmp_path, Looping(first), inputs=(torch.randn(2, 5, 3),))
    assert message.startswith("The sequence graph does not agree with eager torch: `output` ")
    assert "at batch 1, sequence 1000, zero initial state, run whole." in message


def test_a_bound_that_was_lost(tmp_path, monkeypatch):
    """A graph of one side of a branch on the length is wrong on the other."""

    class Cropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x):
            if x.shape[1] > 300:
                x = x[:, :300] * 2
            return self.rnn(x)[1]

    monkeypatch.setattr(build_torch, "bounds_of", lambda model: Bounds())
    message = refused(tmp_path, Cropped(), inputs=(torch.randn(2, 5, 3),))
    assert "at batch 1, sequence 1000, zero initial state, run whole." in message


def test_states_that_were_paired_wrongly(tmp_path, monkeypatch):
    """A step that hands h on as c has the shapes of one that does not."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x, h, c):
            h, c = self.cell(x, (h, c))
            return h * 1.0, h, c

    x, h, c = torch.randn(2, 3), torch.zeros(2, 4), torch.zeros(2, 4)

    def swapped(*given: Any, **options: Any) -> Any:
        found = paired(*given, **options)
        h, c = found
        return dataclasses.replace(h, result=c.result), dataclasses.replace(c, result=h.result)

    paired: Any = vars(build_torch)["find_states"]
    monkeypatch.setattr(build_torch, "find_states", swapped)
    message = refused(tmp_path, Step(), inputs=(x, h, c))
    assert message.startswith("The sequence graph does not agree with eager torch: ")


def test_an_initial_value_that_was_lost(tmp_path, monkeypatch):
    """A learned state that is taken for zeros is found by the run that forward starts itself."""

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)
            self.start = nn.Parameter(torch.full((1, 1, 4), 0.5))

        def forward(self, x):
            return self.rnn(x, self.start.expand(1, x.shape[0], 4).contiguous())[0]

    def lost(*given: Any, **options: Any) -> Any:
        states = found(*given, **options)
        return tuple(dataclasses.replace(state, initial=None) for state in states)

    found: Any = vars(build_torch)["find_states"]
    monkeypatch.setattr(build_torch, "find_states", lost)
    message = refused(tmp_path, Learned(), inputs=(torch.randn(2, 5, 3),))
    assert "at batch 2, sequence 5, zero initial state, run whole." in message


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_a_weight_that_was_changed(tmp_path, monkeypatch, kind):
    """One number of one weight that is off by a thousandth is found in either graph."""
    right: Any = vars(build_model)["build_torch"]

    def spoiled(*given: Any) -> Any:
        built = right(*given)
        weights = getattr(built, kind).graph.initializers.values()
        weight = max(weights, key=lambda value: value.const_value.size)
        changed = weight.const_value.numpy().copy()
        changed.reshape(-1)[changed.size // 2] += 1e-3
        weight.const_value = ir.tensor(changed, name=weight.name)
        return built

    monkeypatch.setattr(build_model, "build_torch", spoiled)
    model = nn.GRU(3, 4, batch_first=True)
    message = refused(tmp_path, model, inputs=(torch.randn(2, 5, 3),))
    assert message.startswith(f"The {kind} graph does not agree with eager torch: ")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_an_operator_of_an_archive_that_was_read_wrongly(tmp_path, monkeypatch):
    """The module that is read from an archive is no reference: the archive run by torch is."""

    class Squashed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x):
            return torch.erf(self.rnn(x)[0])

    read = read_torchscript.read_torchscript

    def wrongly(*given: Any) -> Any:
        module, scripted, notes = read(*given)
        forward = type(module).forward
        type(module).forward = lambda self, x: forward(self, x) * 1.001
        return module, scripted, notes

    monkeypatch.setattr(load_source, "read_torchscript", wrongly)
    scripted: Any = torch.jit.script(Squashed().eval())
    message = refused(tmp_path, scripted, inputs=(torch.randn(2, 5, 3),))
    assert "at batch 2, sequence 5, zero initial state, run whole." in message


def test_a_parametrization_that_was_written_out_wrongly(tmp_path, monkeypatch):
    """The module with its parametrizations as they are is the reference."""
    prepare: Any = vars(load_source)["prepare_module"]

    def wrongly(model: nn.Module) -> Any:
        notes = prepare(model)
        with torch.no_grad():
            next(model.parameters()).mul_(1.001)
        return notes

    monkeypatch.setattr(load_source, "prepare_module", wrongly)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.GRU(3, 4))
    message = refused(tmp_path, model, inputs=(torch.randn(5, 2, 3),))
    assert "zero initial state, run whole." in message
