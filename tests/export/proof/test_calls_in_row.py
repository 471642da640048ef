"""The gate for modules that keep memory: it refuses every fault of what takes the memory out."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import ParityError
from edgernn.export import build_model, verify_artifact
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.proof.module_calls import ModuleCalls
from edgernn.export.streaming import find_memory as finder
from edgernn.export.streaming.find_memory import find_memory
from edgernn.export.streaming.initial_memory import find_initial
from edgernn.export.streaming.memory_arguments import MemoryArguments


class Smoothed(nn.Module):
    """A smoothed input and a state; the level is not zero at rest."""

    def __init__(self):
        super().__init__()
        self.cell, self.hidden = nn.GRUCell(4, 6), torch.zeros(1, 6)
        self.level: torch.Tensor
        self.register_buffer("level", torch.full((1, 4), 0.5))

    def forward(self, x):
        self.level = 0.8 * self.level + 0.2 * x
        self.hidden = self.cell(x - self.level, self.hidden)
        return self.hidden


SPECS = ["x:float32[1,4]"]


def exported(tmp_path, module=None):
    torch.manual_seed(0)
    return edgernn.export_model(module or Smoothed(), tmp_path / "m.edgernn", inputs=SPECS)


def refusal(tmp_path):
    with pytest.raises(ParityError) as caught:
        exported(tmp_path)
    assert not (tmp_path / "m.edgernn").exists()
    return str(caught.value)


def test_calls_in_a_row_are_checked_from_rest(tmp_path):
    """Few calls and a thousand steps, of both graphs."""
    artifact = exported(tmp_path)
    calls = [one for one in artifact.parity.checks if one.name == "calls"]
    assert {(one.graph, one.batch) for one in calls} == {("sequence", 1), ("step", 1)}
    for kind in ("sequence", "step"):
        assert min(one.sequence for one in calls if one.graph == kind) >= 24
        assert max(one.sequence for one in calls if one.graph == kind) >= 1000
    module = Smoothed()
    module.load_state_dict({**Smoothed().state_dict()})
    with pytest.raises(ParityError):
        verify_artifact(artifact, module, inputs=SPECS)


class Level(nn.Module):
    """A level that each call, not each step, changes."""

    def __init__(self):
        super().__init__()
        self.rnn, self.level = nn.GRU(4, 6, batch_first=True), torch.ones(1, 1, 4)

    def forward(self, x, h):
        self.level = 0.9 * self.level + 0.1 * x.mean(1, keepdim=True)
        return self.rnn(x - self.level, h)


@pytest.mark.parametrize(
    ("make", "specs"),
    [(Smoothed, SPECS), (Level, ["x:float32[batch,sequence,4]", "h:float32[1,batch,6]"])],
)
def test_the_progress_ends_with_the_last_check(make, specs, tmp_path, caplog):
    """The number of checks that is logged before them is the one that are made."""
    caplog.set_level(logging.INFO, "edgernn")
    artifact = edgernn.export_model(make(), tmp_path / "m.edgernn", inputs=specs)
    assert artifact.parity is not None
    count = len(artifact.parity.checks)
    assert f"proving the graphs: {count} of {count}" in caplog.messages
    assert artifact.contract.divisible is (make is Smoothed)


def without_one(monkeypatch):
    def less(*args):
        memory, example = find_memory(*args)
        assert memory is not None
        kept = tuple(one for one in memory.tensors if one.path != "level")
        return replace(memory, tensors=kept, values={"hidden": memory.values["hidden"]}), example

    monkeypatch.setattr(build_model, "find_memory", less)


def from_zeros(monkeypatch):
    monkeypatch.setattr(
        finder,
        "find_initial",
        lambda *args: {path: torch.zeros_like(one) for path, one in find_initial(*args).items()},
    )


def a_call_late(monkeypatch):
    read = MemoryArguments._read

    def late(self, module):
        after = read(self, module)
        return {**after, "level": after["level"] * 1.001}

    monkeypatch.setattr(MemoryArguments, "_read", late)


@pytest.mark.parametrize("fault", [without_one, from_zeros, a_call_late])
def test_a_fault_in_taking_memory_out_is_refused(fault, tmp_path, monkeypatch):
    """A tensor left behind, another start, another next value: the module itself tells."""
    fault(monkeypatch)
    assert refusal(tmp_path).startswith(
        "The sequence graph does not agree with eager torch: `output` differs by "
    )


class Late(Smoothed):
    """Does something else from the 15th call on, in what no look at single calls shows."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        self.calls.append(None)
        y = super().forward(x)
        return y if len(self.calls) < 15 else y + 1


def test_what_shows_after_many_calls_only_is_refused(tmp_path):
    """The calls in a row go on for longer than the search for memory looks."""
    with pytest.raises(ParityError, match=r"run call after call\. Nothing was written\.$"):
        exported(tmp_path, Late())


class LateOnly(nn.Module):
    """The same beside a state that is an argument: no number of its own is memory."""

    def __init__(self):
        super().__init__()
        self.cell, self.calls = nn.GRUCell(4, 6), []

    def forward(self, x, hidden):
        self.calls.append(None)
        y = self.cell(x, hidden)
        return y if len(self.calls) < 15 else -y


def test_a_module_that_changes_itself_is_called_in_a_row(tmp_path):
    """Also where nothing was found that later results depend on."""
    specs = ["x:float32[batch,4]", "hidden:float32[batch,6]"]
    with pytest.raises(ParityError, match=r"run call after call\. Nothing was written\.$"):
        edgernn.export_model(LateOnly(), tmp_path / "m.edgernn", inputs=specs)


class Flagged(nn.Module):
    """Adds a multiple of its last input where a flag of the call asks for it."""

    def __init__(self, factor):
        super().__init__()
        self.cell, self.factor, self.last = nn.GRUCell(4, 6), factor, torch.zeros(1, 4)

    def forward(self, x, hidden, add):
        y = x + torch.where(add, self.factor * self.last, torch.zeros(()))
        self.last = x
        return self.cell(y, hidden)


def test_flags_have_both_values_in_a_row(tmp_path):
    """Whatever they are in the example: a fault shows that only the other value reaches."""
    inputs = (torch.randn(1, 4), torch.zeros(1, 6), torch.tensor([False]))
    torch.manual_seed(0)
    artifact = edgernn.export_model(Flagged(1), tmp_path / "m.edgernn", inputs=inputs)
    torch.manual_seed(0)
    assert verify_artifact(artifact, Flagged(1), inputs=inputs).passed
    torch.manual_seed(0)
    with pytest.raises(ParityError, match="run call after call"):
        verify_artifact(artifact, Flagged(2), inputs=inputs)


def test_a_row_of_calls_puts_the_module_back():
    """Also where a call fails, and where the row is left before its end."""
    module = Smoothed().eval().requires_grad_(False)
    example = example_from(module, (torch.randn(1, 4),))
    calls = ModuleCalls(module, example)
    hidden, level = module.hidden, module.level.clone()
    data = [{"x": torch.randn(1, 4).numpy()} for _ in range(3)]
    first = [one[""] for one in calls(data, {}, {})]
    again = [one[""] for one in calls(data, {}, {})]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    with pytest.raises(RuntimeError):
        list(calls([*data, {"x": torch.randn(1, 5).numpy()}], {}, {}))
    row = calls(data, {}, {})
    next(row)
    del row
    assert module.hidden is hidden
    assert torch.equal(module.level, level)
    assert not hidden.any()


class Watched(nn.Module):
    """A layer whose last output the module keeps for others to look at."""

    def __init__(self, bidirectional):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=bidirectional)

    def forward(self, x):
        self.last = self.rnn(x)[0]
        return self.last * 2


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_no_call_reads_is_no_memory(tmp_path, bidirectional):
    """Every call of such a module starts anew; whether its state is carried on is the layer's."""
    specs = ["x:float32[batch,sequence,4]"]
    module = Watched(bidirectional)
    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=specs)
    contract = artifact.contract
    assert (contract.carry, contract.divisible) == (not bidirectional, True)
    assert artifact.parity is not None
    calls = [one for one in artifact.parity.checks if one.name == "calls"]
    assert {one.graph for one in calls} == {*contract.graphs}
