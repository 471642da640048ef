"""The rules for what cannot be exported: the whole message is right, and nothing is left on disk.

Files that hold no model are in `test_source`, input specs in `test_refused_specs`, folders and
disks in `test_interrupted`, graphs that disagree in `tests/parity/test_gate`, and what a runtime is
handed in `tests/runtime`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import EdgernnError, InputError, SourceError, UnsupportedModelError
from tests.export.expected_refusal import refusal
from tests.nets.tagger import IDS, STATES, StatefulTagger


class Layer(nn.Module):
    """What the models below have in common: a GRU."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)


class Fails(Layer):
    def forward(self, x):
        raise RuntimeError("the scale was not loaded.")


class Deaf(Layer):
    """forward uses a tensor of its own."""

    def forward(self, x):
        return self.rnn(torch.ones(1, 2, 4))[0]


class Mute(Layer):
    """forward returns a number."""

    def forward(self, x):
        self.rnn(x)
        return 3


class Narrow(Layer):
    """The state comes out narrower than it went in."""

    def forward(self, x, hx):
        y, hx = self.rnn(x, hx)
        return y, hx[..., :2]


class OwnForEach(Layer):
    """Every sequence of the batch starts from a learned state of its own."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.arange(6.0).view(1, 2, 3))

    def forward(self, x):
        return self.rnn(x, self.start[:, torch.arange(x.shape[0]) % 2])[0]


class Plain(nn.Module):
    """No recurrent layer at all."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x)


NO_RECURRENCE = (
    "The model has no recurrent layer: forward calls none of nn.LSTM, nn.GRU, nn.RNN and their "
    "cells, and no loop over time in it carries anything from step to step. If it is one step of "
    "a recurrence of its own, it must take its state as an argument and return the next one; name "
    'it with states={"INPUT": "OUTPUT"}. A model without state needs torch.onnx.export only.'
)


X = torch.zeros(2, 5, 4)


MODELS: dict[str, tuple[nn.Module, dict[str, Any], type[EdgernnError], str]] = {
    "forward fails": (
        Fails(),
        {"inputs": (X,)},
        InputError,
        "`Fails.forward` fails on x:float32[2,5,4]: RuntimeError: the scale was not loaded.",
    ),
    "forward fails on all that is tried": (
        Fails(),
        {},
        InputError,
        "No example input for `Fails` could be inferred: the scale was not loaded. Describe the "
        'inputs of its forward, `x`, with a spec for each: inputs=["NAME:DTYPE[DIMS]"], such as '
        "x:float32[batch,sequence,3] or ids:int64[batch].",
    ),
    "no recurrent layer": (Plain(), {}, UnsupportedModelError, NO_RECURRENCE),
    "no tensor comes out": (
        Mute(),
        {"inputs": (X,)},
        UnsupportedModelError,
        "`Mute.forward` returns no tensor. Return the outputs that the graph is to have.",
    ),
    "no input is looked at": (
        Deaf(),
        {"inputs": (X,)},
        UnsupportedModelError,
        "forward does not look at any of its inputs.",
    ),
    "a state of two shapes": (
        Narrow(),
        {"inputs": (X, torch.zeros(1, 2, 3)), "states": {"hx": 1}},
        UnsupportedModelError,
        "State `hx` goes in as FLOAT[1,batch,3] and comes out as FLOAT[1,batch,2]; the next step "
        "needs the shape it had.",
    ),
    "a learned state for each sequence": (
        OwnForEach(),
        {"inputs": (X,)},
        UnsupportedModelError,
        "`h_in` starts from a learned value of its own for each of 2 sequences. Give the batch as "
        'a number: inputs=["x:float32[2,sequence,4]"].',
    ),
    "no step graph": (
        nn.LSTM(4, 3, bidirectional=True),
        {"inputs": (X,), "graph": "step"},
        UnsupportedModelError,
        "There is no step graph: layer `lstm` is bidirectional: its backward direction starts "
        'from the last step of the sequence. Export it with graph="sequence".',
    ),
    "an unknown graph": (
        StatefulTagger(),
        {"graph": "all"},
        InputError,
        "`graph` is 'all'; known are: both, sequence, step.",
    ),
    "an opset that is too old": (
        StatefulTagger(),
        {"opset": 12},
        InputError,
        "`opset` is 12; known are: 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25.",
    ),
    "a state that is no argument": (
        StatefulTagger(),
        {"inputs": (IDS,), "states": {"hidden": 1}},
        InputError,
        "`hidden` is not an input of the model; it has `tokens`.",
    ),
    "a state that is no result": (
        StatefulTagger(),
        {"inputs": ["tokens:int64[batch,sequence]", *STATES], "states": {"hx[0]": 7}},
        InputError,
        "`7` is not in what forward returns; it returns `[0]`, `[1][0]`, `[1][1]`.",
    ),
    "ids that the table does not have": (
        StatefulTagger(),
        {"inputs": (IDS + 7,)},
        InputError,
        "`StatefulTagger.forward` fails on tokens:int64[2,5]: IndexError: index out of range in "
        "self",
    ),
    "no step": (
        StatefulTagger(),
        {"inputs": (IDS[:, :0],)},
        InputError,
        "`tokens:int64[2,0]` is empty. Give an example with at least one sequence of one step.",
    ),
    "no sequence": (
        StatefulTagger(),
        {"inputs": (IDS[:0],)},
        InputError,
        "`tokens:int64[0,5]` is empty. Give an example with at least one sequence of one step.",
    ),
    "too many inputs": (
        StatefulTagger(),
        {"inputs": (IDS, IDS, IDS)},
        InputError,
        "`StatefulTagger.forward` takes `tokens`, `hx`; 3 inputs were given.",
    ),
    "an input of another name": (
        StatefulTagger(),
        {"inputs": {"words": IDS}},
        InputError,
        "`StatefulTagger.forward` takes `tokens`, `hx`; 1 inputs were given: `words`.",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_exported_is_refused(target, case):
    """A model, or an option that does not fit it, is refused with what is wrong and what to do."""
    model, options, kind, message = MODELS[case]
    assert refusal(kind, lambda: edgernn.export_model(model, target, **options)) == message


def test_a_state_dict_that_leaves_the_model_open_is_refused(target, tmp_path):
    """Weights that do not tell what forward does with them are refused, the open keys named."""
    file = tmp_path / "w.pt"
    torch.save({"rnn.weight_ih_l0": torch.zeros(12, 4)}, file)
    assert refusal(SourceError, lambda: edgernn.export_model(file, target)) == (
        f"`{file}` is a state_dict that does not determine the model: `rnn` has no two-dimensional "
        "`weight_ih_l0` and `weight_hh_l0`. Give the model's code: repeat with "
        'module="FILE.py:FACTORY", where FACTORY is a class or function in FILE.py without '
        "required arguments."
    )
