"""The rules for arguments that an example leaves out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import InputError
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.missing_arguments import ask_for_inputs, check_required_arguments


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, 2)

    def forward(self, x, lengths, state, scale=None):
        return self.rnn(x, state)


class Gated(nn.Module):
    """One step of a gated recurrence: 5 wide in, 8 wide state."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(13, 32)

    def forward(self, x, h, c):
        i, f, o, g = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image):
        return self.conv(image)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, ids):
        return self.table(ids)


def test_each_missing_argument_gets_a_line():
    """What forward needs and the specs leave out is named, with a spec for each part of it."""
    with pytest.raises(InputError) as caught:
        check_required_arguments(Layer(), example_from(Layer(), ["x:float32[sequence,batch,4]"]))
    assert str(caught.value) == (
        "`Layer.forward` also needs `lengths` and `state`, which have no default. Give an example "
        'tensor or a spec for each: inputs=["lengths:int64[batch]", '
        '"state[0]:float32[2,batch,3]", "state[1]:float32[2,batch,3]"].'
    )


def test_one_missing_argument_is_told_in_the_singular():
    """The sizes of a hand-written step follow from its weights."""
    given = ["x:float32[batch,5]", "h:float32[batch,8]"]
    with pytest.raises(InputError) as caught:
        check_required_arguments(Gated(), example_from(Gated(), given))
    assert str(caught.value) == (
        "`Gated.forward` also needs `c`, which has no default. Give an example tensor or a spec "
        'for each: inputs=["c:float32[batch,8]"].'
    )


def test_a_part_of_a_tuple_cannot_be_skipped():
    """A spec for the second part of a state alone leaves the first open."""
    given = [
        "x:float32[sequence,batch,4]",
        "lengths:int64[batch]",
        "state[1]:float32[2,batch,3]",
    ]
    with pytest.raises(InputError) as caught:
        check_required_arguments(Layer(), example_from(Layer(), given))
    assert str(caught.value) == (
        "`state[0]` has no value, but what comes after it in its tuple has one. Give a spec for "
        "each part of it."
    )


def test_what_is_complete_passes():
    """Arguments with a default may be left out."""
    given = [
        "x:float32[sequence,batch,4]",
        "lengths:int64[batch]",
        "state[0]:float32[2,batch,3]",
        "state[1]:float32[2,batch,3]",
    ]
    check_required_arguments(Layer(), example_from(Layer(), given))


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (
            Gated(),
            'inputs=["x:float32[batch,5]", "h:float32[batch,8]", "c:float32[batch,8]"]',
        ),
        (Images(), 'inputs=["image:float32[batch,3,5,sequence]"]'),
        (Tokens(), 'inputs=["ids:int64[batch,sequence]"]'),
        (nn.Flatten(), 'inputs=["input:float32[batch,sequence,40]"]'),
    ],
    ids=["one step", "images", "tokens", "no weights"],
)
def test_specs_follow_from_the_weights(module, options):
    """The lines that messages show fit the first layer, or the step as a whole."""
    assert ask_for_inputs(module) == f"Describe the inputs of its forward, such as {options}."


def test_an_argument_without_a_name_has_no_example():
    """Where no spec can name what forward takes, the form of a spec is the hint."""

    class Unnamed(nn.Module):
        def forward(self, *values):
            return values

    assert ask_for_inputs(Unnamed()) == (
        "Describe the inputs of its forward, `x`, with a spec for each: "
        'inputs=["NAME:DTYPE[DIMS]"], such as x:float32[batch,sequence,3] or ids:int64[batch].'
    )


def test_a_table_of_an_archive_is_told_by_its_name():
    """Weights without a class are matrices unless they are called embeddings."""
    for name, spec in (
        ("embed", 'inputs=["ids:int64[batch,sequence]"]'),
        ("gates", 'inputs=["ids:float32[batch,sequence,4]"]'),
    ):
        module = nn.Module()
        module.add_module(name, nn.Module())
        module.get_submodule(name).register_parameter("weight", nn.Parameter(torch.ones(9, 4)))
        module.forward = lambda ids: ids
        assert ask_for_inputs(module) == f"Describe the inputs of its forward, such as {spec}."
