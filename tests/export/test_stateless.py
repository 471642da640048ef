"""The rules for what is said of a forward without recurrent calls."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from edgernn.export.example.call import Example, observe
from edgernn.export.source.torchscript import read_torchscript
from edgernn.export.trace.stateless import why_stateless


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.product = nn.Linear(8, 4)

    def forward(self, x, h):
        return self.product(torch.cat([x, h], 1)).tanh()


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = Cell()

    def forward(self, x):
        h = torch.zeros(x.shape[1], 4)
        for x_t in x.unbind(0):
            h = self.cell(x_t, h)
        return h


class Pair(nn.Module):
    def forward(self, x, hx):
        return {"y": x, "hx": [hx[0] + x, hx[1]]}


def why(module, **kwargs):
    example = Example(kwargs, {})
    return why_stateless(module, example, observe(module, example))


def test_pairs_that_fit_are_listed():
    """Every argument with every result of its shape, as the options that name them."""
    assert why(Pair(), x=torch.ones(2, 3), hx=(torch.ones(2, 3), torch.ones(2, 5))) == (
        "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one "
        "step of a recurrence of its own, but which result goes back into which argument the "
        "shapes do not tell: `x:float32[2,3]`, `hx[0]:float32[2,3]`, `hx[1]:float32[2,5]` may each "
        'be the state that comes back as `y`, `["hx"][0]`, `["hx"][1]`. Name every state. By '
        """the names it is --state 'hx[0]=["hx"][0]' --state 'hx[1]=["hx"][1]'. All pairs that """
        """fit: --state x=y, --state 'x=["hx"][0]', --state 'hx[0]=y', """
        """--state 'hx[0]=["hx"][0]', --state 'hx[1]=["hx"][1]'."""
    )


def test_names_tell_which_pairs_are_likely():
    """An argument that is called like a state goes with the last result; alone, that is `0`."""
    message = why(Cell(), x=torch.ones(2, 4), h=torch.ones(2, 4))
    assert message is not None
    assert (
        "By the names it is --state h=0. All pairs that fit: --state x=0, --state h=0." in message
    )


def test_a_model_without_a_sign_of_state():
    """Where no result has the shape of an argument there is nothing to say."""
    assert why(nn.Linear(3, 2), input=torch.ones(2, 3)) is None


def archived(module, record, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_torchscript(record(module, x))[0]


def test_a_loop_that_tracing_wrote_out():
    """One weight multiplied again and again is a loop over time; its steps are counted."""
    x = torch.ones(6, 2, 4)
    traced = archived(Looped(), torch.jit.trace, x)
    assert why(traced, x=x) == (
        "The archive multiplies by `cell.product.weight` 6 times in a row: torch.jit.trace wrote a "
        "loop over time out at 6 steps, for which alone it is right. Export the model from its "
        "code (the nn.Module itself, or its state_dict with --module FILE.py:FACTORY), or archive "
        "it with torch.jit.script, which keeps the loop."
    )


def test_a_loop_that_scripting_kept():
    """A scripted loop was not written out."""
    x = torch.ones(6, 2, 4)
    assert why(archived(Looped(), lambda module, _: torch.jit.script(module), x), x=x) is None
