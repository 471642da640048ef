"""The rules for what a module remembers besides the states of its recurrent calls."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.streaming.hidden_memory import check_memory_is_state, refuse_hidden_memory


class Base(nn.Module):
    """A GRU cell over (batch, 4); subclasses say what they keep."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.hidden: torch.Tensor | None = None

    def forward(self, x):
        self.hidden = self.cell(self.before(x), self.hidden)
        return self.after(self.hidden)

    def before(self, x):
        return x

    def after(self, y):
        return y


class NewBuffer(Base):
    def __init__(self):
        super().__init__()
        self.past: torch.Tensor
        self.register_buffer("past", torch.zeros(2, 4))

    def before(self, x):
        y = x + self.past
        self.past = x
        return y


class WrittenBuffer(NewBuffer):
    def before(self, x):
        y = x + self.past
        self.past[:] = x
        return y


class DataOfBuffer(NewBuffer):
    def before(self, x):
        y = x + self.past
        self.past.data.copy_(x)
        return y


class Past(Base):
    def __init__(self):
        super().__init__()
        self.past = deque([torch.zeros(2, 4)] * 3, maxlen=3)

    def before(self, x):
        self.past.append(x)
        return sum(self.past)


class Held(Base):
    def __init__(self):
        super().__init__()
        self.kept = Keeper()

    def before(self, x):
        y = x if self.kept.last is None else x + self.kept.last
        self.kept.last = x
        return y


class Keeper:
    def __init__(self):
        self.last = None


class FirstCall(Base):
    def __init__(self):
        super().__init__()
        self.started = False

    def before(self, x):
        started, self.started = self.started, True
        return x if started else 2 * x


class Counter(Base):
    """Does something else at every call whose number `every` divides."""

    def __init__(self, every):
        super().__init__()
        self.every, self.count = every, 0

    def forward(self, x):
        self.count += 1
        y = self.cell(x)
        return -y if self.count % self.every == 0 else y


class Decayed(Base):
    def after(self, y):
        self.hidden = y / 2
        return y


class WrittenWeight(Base):
    def after(self, y):
        self.cell.bias_hh.data.mul_(0.9)
        return y


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = torch.zeros(2, 4)


class Own(nn.Module):
    """A recurrence of its own, its state on the module."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        self.inner.level = 0.9 * self.inner.level + x
        return self.inner.level


class Fed(Base):
    """Its last output is a part of the next input, beside a state of the cell's."""

    def __init__(self):
        super().__init__()
        self.cell, self.out, self.last = nn.GRUCell(6, 6), nn.Linear(6, 2), torch.zeros(2, 2)

    def before(self, x):
        return torch.cat((x, self.last), 1)

    def after(self, y):
        self.last = self.out(y)
        return self.last


REMEMBERED = {
    "a buffer given a new value": (NewBuffer, "`self.past`"),
    "a buffer written in place": (WrittenBuffer, "`self.past`"),
    "a buffer written through data": (DataOfBuffer, "`self.past`"),
    "a list that slides": (Past, "`self.past`"),
    "an object": (Held, "`self.kept`"),
    "a flag": (FirstCall, "`self.started`"),
    "every tenth call": (lambda: Counter(10), "`self.count`"),
    "every five-hundredth call": (lambda: Counter(500), "`self.count`"),
    "a state changed between calls": (Decayed, "`self.hidden`"),
    "a weight": (WrittenWeight, "`self.cell.bias_hh`"),
    "a state of one's own": (Own, "`self.inner.level`"),
    "an output fed back": (Fed, "`self.last`"),
}


def checked(module, *inputs):
    module = module.eval().requires_grad_(False)
    given = inputs or (torch.ones(2, 4),)
    refuse_hidden_memory(module, example_from(module, given))


@pytest.mark.parametrize("case", REMEMBERED)
def test_memory_is_refused_by_name(case):
    """What later calls read is refused, be it an attribute, a buffer or a weight."""
    make, name = REMEMBERED[case]
    module = make()
    with pytest.raises(UnsupportedModelError) as caught:
        checked(module)
    assert str(caught.value) == (
        f"`{type(module).__name__}.forward` gives {name} new values that later calls read, and a "
        "graph has no such memory. Take it as arguments and return the next values, each named "
        'with states={"INPUT": "OUTPUT"} where it is not recognised.'
    )


class Layers(nn.Module):
    """Keeps both states of its LSTM, from the first call on."""

    def __init__(self):
        super().__init__()
        self.rnn, self.hidden = nn.LSTM(4, 6, 2, batch_first=True), None

    def forward(self, x):
        y, self.hidden = self.rnn(x, self.hidden)
        return y


class Looped(Base):
    """Runs its cell over the steps of a chunk, from where the last chunk ended."""

    def forward(self, x):
        rows = []
        for step in x.unbind(1):
            self.hidden = self.cell(step, self.hidden)
            rows.append(self.hidden)
        return torch.stack(rows, 1)


class InPlace(Base):
    """Writes its next state into a buffer."""

    def __init__(self):
        super().__init__()
        self.state: torch.Tensor
        self.register_buffer("state", torch.zeros(2, 6))

    def forward(self, x):
        self.state[:] = self.cell(x, self.state)
        return 2 * self.state


class Cached(Base):
    """Makes a table at the first call and counts the calls; keeps what it gave out."""

    def __init__(self):
        super().__init__()
        self.table, self.calls, self.seen = None, 0, []

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(4.0)
        self.calls += 1
        self.seen.append(x)
        self.last = self.cell(x + self.table)
        return self.last


@pytest.mark.parametrize(
    ("make", "shape"),
    [(Base, (2, 4)), (Layers, (2, 5, 4)), (Looped, (2, 5, 4)), (InPlace, (2, 4)), (Cached, (2, 4))],
)
def test_states_of_recurrent_calls_and_what_nobody_reads_pass(make, shape):
    """A state that a layer goes on from is found as such; caches and counters are no memory."""
    module = make().eval()
    before = dict(vars(module))
    checked(module, torch.zeros(shape))
    assert vars(module) == before


class Resized(nn.Module):
    """A state of one sequence, made anew where another number of sequences comes."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)
        self.hidden = torch.zeros(1, 6)
        self.memory = torch.zeros(1, 6)

    def forward(self, x):
        if len(self.hidden) != len(x):
            self.hidden = torch.zeros(len(x), 6)
            self.memory = torch.zeros(len(x), 6)
        self.hidden, self.memory = self.cell(x, (self.hidden, self.memory))
        return self.hidden


class Expanded(nn.Module):
    """The same in a buffer of one row, which is spread over the batch."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.hidden: torch.Tensor
        self.register_buffer("hidden", torch.zeros(1, 6))

    def forward(self, x):
        same = len(self.hidden) == len(x)
        hidden = self.hidden if same else self.hidden[:1].expand(len(x), -1)
        self.hidden = self.cell(x, hidden)
        return self.hidden


@pytest.mark.parametrize("make", [Resized, Expanded])
def test_a_state_made_anew_for_another_batch_leaves_the_batch_dynamic(make):
    """What forward does once for any larger batch is no step, whatever the example's batch."""
    module = make().eval()
    for batch in (1, 2):
        example = find_dynamic_axes(
            ModuleRunner(module), example_from(module, torch.randn(batch, 4))
        )
        assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,4]"]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            Resized,
            "`self.hidden` and `self.memory` new values that later calls read, and a graph "
            "has no such memory. Take them",
        ),
        (
            Expanded,
            "`self.hidden` new values that later calls read, and a graph has no such "
            "memory. Take it",
        ),
    ],
)
def test_memory_that_is_no_state_of_the_graphs_is_refused(make, names):
    """A state that forward keeps is refused where the graphs lack it, and only there."""
    module = make().eval().requires_grad_(False)
    example = example_from(module, torch.randn(1, 4))
    check_memory_is_state(module, example, {0})
    with pytest.raises(UnsupportedModelError) as caught:
        check_memory_is_state(module, example, set())
    assert str(caught.value) == (
        f"`{make.__name__}.forward` gives {names} as arguments and return the next values, each "
        'named with states={"INPUT": "OUTPUT"} where it is not recognised.'
    )
