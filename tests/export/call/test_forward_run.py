"""The rules for what a run of a model tells."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner, first_run, run_forward
from tests.export.call.test_dynamic_axes import Base
from tests.nets.packed_ids import GIVEN, Net


def test_a_run_tells_calls_results_and_lengths():
    """What forward called, what it returned by path, and which argument it packed by."""
    run = run_forward(Net(), ExampleCall(GIVEN, {}))
    assert [call.function for call in run.calls] == ["gru"]
    assert {path: tuple(tensor.shape) for path, tensor in run.results.items()} == {
        '["h"]': (1, 2, 2)
    }
    assert run.lengths == ("lengths",)
    assert (run.most_steps, run.batch) == (5, 2)


def test_ids_that_equal_the_lengths_are_not_floats():
    """Only integers in one axis can be the lengths; numbers that look alike are not."""
    given = {**GIVEN, "scale": torch.tensor([2.0, 5.0])}
    assert run_forward(Net(), ExampleCall(given, {})).lengths == ("lengths",)


def test_a_run_leaves_no_trace():
    """Warnings stay unheard, and what forward changed on the module is as before."""
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModuleRunner(net)(ExampleCall(GIVEN, {}))
    assert net.calls == 0
    assert ModuleRunner(net).name == "Net.forward"


class TwoValidConvolutions(nn.Module):
    """Leaves four frames fewer than there are steps."""

    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Conv1d(4, 4, 3))
        self.gru = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.gru(self.convs(x.transpose(1, 2)).transpose(1, 2))[0]


def test_an_example_that_leaves_a_single_frame_is_made_longer():
    """torch.export takes a size of 1 for a constant; only a longer example shows that it is not."""
    module = TwoValidConvolutions()
    example = example_from(module, ["x:float32[batch,sequence,3]"])
    run, longer = first_run(ModuleRunner(module), example)
    assert (longer.sizes, run.most_steps) == ({"batch": 2, "sequence": 11}, 7)
    one_feature = nn.GRU(3, 1, batch_first=True)
    example = example_from(one_feature, ["input:float32[batch,sequence,3]"])
    assert first_run(ModuleRunner(one_feature), example)[1] is example


X = torch.zeros(5, 2, 3)


OPTIONS = (True, 1, 0.0, False, False, False)


WRONG = {
    "GRU": (
        lambda layer: torch.gru(X, torch.zeros(2, 2, 2), list(layer.parameters()), *OPTIONS),
        "a state is (2, 2, 2), its layer needs (1, 2, 2)",
    ),
    "LSTM": (
        lambda layer: torch.lstm(
            X,
            (torch.zeros(1, 2, 2), torch.zeros(1, 1, 2)),
            list(layer.parameters()),
            *OPTIONS,
        ),
        "a state is (1, 1, 2), its layer needs (1, 2, 2)",
    ),
    "LSTMCell": (
        lambda layer: torch.lstm_cell(
            X[0], (torch.zeros(2, 2), torch.zeros(1, 2)), *layer.parameters()
        ),
        "a state is (1, 2), its layer needs (2, 2)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_state_of_another_shape_is_an_error(kind):
    """Torch does not check every state itself: some it reads past the end of, or broadcasts."""
    call, message = WRONG[kind]

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(nn, kind)(3, 2)

        def forward(self):
            return call(self.layer)

    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_forward(Given(), ExampleCall({}, {}))


class Strided(Base):
    """Takes nothing shorter than 300 steps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 300, 10)

    def forward(self, wave):
        return self.rnn(self.conv(wave).transpose(1, 2))[0]


class Silent(Base):
    def forward(self, x):
        self.rnn(x)


def test_specs_are_tried_at_longer_sizes():
    """A named axis stands for as many as forward needs."""
    given = example_from(Strided(), ["wave:float32[batch,1,sequence]"])
    example = find_dynamic_axes(ModuleRunner(Strided()), given)
    assert [str(leaf) for leaf in example.tensors] == ["wave:float32[batch,1,sequence]"]
    assert example.tensors[0].tensor.shape == (2, 1, 640)


def test_a_forward_without_tensors_is_refused():
    """There is nothing to write where forward returns nothing."""
    with pytest.raises(UnsupportedModelError) as info:
        find_dynamic_axes(ModuleRunner(Silent()), ExampleCall({"x": torch.zeros(2, 5, 4)}, {}))
    assert str(info.value) == (
        "`Silent.forward` returns no tensor. Return the outputs that the graph is to have."
    )
