"""The rules for what a module keeps from call to call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.streaming.find_memory import find_memory
from tests.export.streaming import keepers


def found(module, *inputs):
    """Return the memory of a module and the call that fits it, and check that it is put back."""
    module = module.eval().requires_grad_(False)
    given = inputs or (torch.randn(2, 4),)
    example = find_dynamic_axes(ModuleRunner(module), example_from(module, given))
    before = {path: dict(vars(part)) for path, part in module.named_modules()}
    buffers = {name: (one, one.clone()) for name, one in module.named_buffers()}
    try:
        return find_memory(module, example)
    finally:
        after = {path: dict(vars(part)) for path, part in module.named_modules()}
        assert [*after] == [*before]
        for path, held in before.items():
            assert after[path].keys() == held.keys()
            assert all(after[path][name] is value for name, value in held.items())
        for name, one in module.named_buffers():
            assert one is buffers[name][0]
            assert torch.equal(one, buffers[name][1])


KEPT = {
    "a buffer given a new value": (keepers.NewBuffer, ["past", "hidden"]),
    "a buffer written in place": (keepers.WrittenBuffer, ["past", "hidden"]),
    "a buffer written through data": (keepers.DataOfBuffer, ["past", "hidden"]),
    "a list that slides, but for what drops out": (keepers.Past, ["past[1]", "past[2]", "hidden"]),
    "an object": (keepers.Held, ["kept.last", "hidden"]),
    "a namespace": (keepers.Named, ["kept.last", "hidden"]),
    "a count, once the tenth call is other": (lambda: keepers.Counter(10), ["count"]),
    "a count, once the 500th call is other": (lambda: keepers.Counter(500), ["count"]),
    "a state changed between calls": (keepers.Decayed, ["hidden"]),
    "an output fed back": (keepers.Fed, ["hidden", "last"]),
    "caches and what nobody reads are none": (keepers.Cached, []),
    "a number that only large data change": (keepers.Alarm, ["alarm", "hidden"]),
    "a value that every second call reads": (keepers.SecondCall, ["count", "held", "hidden"]),
    "what only the second call changes": (keepers.Delayed, ["older", "newer", "hidden"]),
    "what a flag asks for": (keepers.Flagged, ["last"]),
    "a pair": (keepers.Layers, ["hidden[0]", "hidden[1]"]),
}


INPUTS: dict[object, tuple[torch.Tensor, ...]] = {
    keepers.Layers: (torch.zeros(2, 5, 4),),
    keepers.Flagged: (torch.zeros(1, 4), torch.zeros(1, 6), torch.tensor([False])),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_later_results_depend_on_is_memory(case):
    """Tensors and numbers that differ from call to call, and that later calls read."""
    make, paths = KEPT[case]
    torch.manual_seed(0)
    inputs = INPUTS.get(make, ())
    memory, _ = found(make(), *inputs)
    kept = [] if memory is None else [one.path for one in memory.tensors]
    assert sorted(kept) == sorted(paths)


def test_memory_has_its_initial_value_and_its_axes():
    """The batch is 1 in the initial value, whatever the batch of the example."""
    memory, example = found(keepers.Layers(), torch.randn(3, 5, 4))
    assert memory is not None
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,sequence,4]"]
    for one in memory.tensors:
        assert one.shape == (2, "batch", 6)
        assert torch.equal(one.initial, torch.zeros(2, 1, 6))


REFUSED = {
    "a shape that grows": (
        keepers.Growing,
        (2, 4),
        "`self.cache`",
        "its shape changes from call to call, and a state has a constant one",
    ),
    "a size that is the chunk's": (
        keepers.Ragged,
        (1, 5, 4),
        "`self.last`",
        "it grows with `sequence`, and of the axes of a state only the batch may be dynamic",
    ),
    "a start from data": (
        keepers.FirstFrame,
        (2, 4),
        "`self.hidden` and `self.level`",
        "the first call starts from what no tensor gives for all data",
    ),
    "a module that can be called once": (
        keepers.Fails,
        (2, 4),
        "`self.hidden`",
        "a second call, after the first, fails: call reset() first",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_memory_that_no_state_can_replace_is_refused_by_name(case):
    """The message says why, and the module is as it was."""
    make, shape, names, reason = REFUSED[case]
    module = make()
    it = "them" if " and " in names else "it"
    with pytest.raises(UnsupportedModelError) as caught:
        found(module, torch.randn(shape))
    assert str(caught.value) == (
        f"`{type(module).__name__}.forward` keeps {names} from call to call, and no state can "
        f"replace {it}: {reason}. Take {it} as arguments and return the next values, each named "
        'with states={"INPUT": "OUTPUT"} where it is not recognised.'
    )


def test_memory_of_all_sequences_together_makes_the_batch_constant():
    """Sequences of a batch must not depend on one another: there is one, and a note says why."""
    memory, example = found(keepers.Shared())
    assert memory is not None
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[1,4]"]
    assert example.notes == (
        "`batch` is the constant 1: all sequences of a call share `self.mean`.",
    )


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
        self.register_buffer("hidden", torch.full((1, 6), 0.5))

    def forward(self, x):
        same = len(self.hidden) == len(x)
        hidden = self.hidden if same else self.hidden[:1].expand(len(x), -1)
        self.hidden = self.cell(x, hidden)
        return self.hidden


@pytest.mark.parametrize(("make", "start"), [(Resized, 0), (Expanded, 0.5)])
def test_a_state_made_anew_for_another_batch_leaves_the_batch_dynamic(make, start):
    """What forward does once for any larger batch is no step, whatever the example's batch."""
    for batch in (1, 3):
        memory, example = found(make(), torch.randn(batch, 4))
        assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,4]"]
        assert {one.shape for one in memory.tensors} == {("batch", 6)}
        assert all(torch.equal(one.initial, torch.full((1, 6), start)) for one in memory.tensors)
