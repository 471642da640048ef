"""The rules for recording what a forward did."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.streaming.recorded_run import record_alone, record_run, try_run
from tests.export.streaming.test_hidden_memory import Base


def model():
    torch.manual_seed(0)
    module = Base().eval().requires_grad_(False)
    return module, example_from(module, torch.randn(2, 4))


def test_a_run_leaves_what_forward_writes_and_one_alone_puts_it_back():
    """The second of two runs in a row starts from the state that the first one left."""
    module, example = model()
    alone = record_alone(module, example)
    assert module.hidden is None
    first, second = record_run(module, example), record_run(module, example)
    assert first.did_the_same(alone)
    assert not second.same_results(alone)
    assert torch.equal(second.calls[0].states[0], first.final_states(0)[0])


def test_calls_can_start_from_other_states():
    """What forward gives them is recorded all the same."""
    module, example = model()
    ones = torch.ones(2, 6)
    run = record_run(module, example, [(ones,)])
    assert not run.calls[0].states[0].any()
    assert torch.equal(run.results[""], module.cell(example.kwargs["x"], ones))


def test_a_call_follows_the_one_of_its_layer_that_left_its_states():
    """A call that starts from anything else follows none."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(4, 6)

        def forward(self, x):
            return self.cell(x, self.cell(x))

    module = Twice().eval().requires_grad_(False)
    run = record_run(module, example_from(module, torch.randn(2, 4)))
    assert [run.previous_call(index) for index in range(2)] == [None, 0]


def test_a_run_that_fails_is_none():
    """The attributes are put back all the same."""
    module, example = model()
    assert try_run(module, example, {"hidden": torch.zeros(3, 3)}) is None
    assert module.hidden is None
