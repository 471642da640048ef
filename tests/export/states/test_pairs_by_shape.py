"""The rules for the arguments of a forward without recurrent calls that may be states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.states.pairs_by_shape import ambiguous_states, recognise_pairs
from tests.nets.product_cell import ProductCell


class Pair(nn.Module):
    def forward(self, x, hx):
        return {"y": x, "hx": [hx[0] + x, hx[1]]}


def why(module, **kwargs):
    example = ExampleCall(kwargs, {})
    return ambiguous_states(example, run_forward(module, example))


def test_pairs_that_fit_are_listed():
    """Every argument with every result of its shape, as the options that name them."""
    assert why(Pair(), x=torch.ones(2, 3), hx=(torch.ones(2, 3), torch.ones(2, 5))) == (
        "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one "
        "step of a recurrence of its own, but which result goes back into which argument the "
        "shapes do not tell: `x:float32[2,3]`, `hx[0]:float32[2,3]`, `hx[1]:float32[2,5]` may each "
        'be the state that comes back as `y`, `["hx"][0]`, `["hx"][1]`. Name every state. By '
        r'the names it is states={"hx[0]": "[\"hx\"][0]", "hx[1]": "[\"hx\"][1]"}. All pairs '
        r'that fit: states={"x": "y"}, states={"x": "[\"hx\"][0]"}, states={"hx[0]": "y"}, '
        r'states={"hx[0]": "[\"hx\"][0]"}, states={"hx[1]": "[\"hx\"][1]"}.'
    )


def test_names_tell_which_pairs_are_likely():
    """An argument that is called like a state goes with the last result; alone, that is `0`."""
    message = why(ProductCell(), x=torch.ones(2, 4), h=torch.ones(2, 4))
    assert message is not None
    assert message.endswith(
        'By the names it is states={"h": 0}. All pairs that fit: states={"x": 0}, states={"h": 0}.'
    )


def test_a_model_without_a_sign_of_state():
    """Where no result has the shape of an argument there is nothing to say."""
    assert why(nn.Linear(3, 2), input=torch.ones(2, 3)) is None


class Returns(nn.Module):
    """Returns what it is given to return; it takes arguments of any names."""

    def __init__(self, results):
        super().__init__()
        self.results = [torch.zeros(2, width) for width in results]

    def forward(self, **given):
        return tuple(self.results)


def recognised(widths: dict[str, int], *results: int) -> dict[str, str]:
    tensors = {name: torch.zeros(2, width) for name, width in widths.items()}
    example = ExampleCall(tensors, {})
    return recognise_pairs(example, run_forward(Returns(results), example))


@pytest.mark.parametrize(
    ("widths", "results", "pairs"),
    [
        ({"x": 4, "h": 8}, (4, 8), {"h": "[1]"}),
        ({"h": 8, "x": 4}, (8, 4), {"h": "[0]"}),
        ({"x": 4, "h": 8, "c": 6}, (3, 8, 6), {"h": "[1]", "c": "[2]"}),
        ({"frame": 4, "cache": 8}, (3, 8), {"cache": "[1]"}),
        ({"x": 4, "h": 8}, (8, 8), {}),
        ({"spectrum": 9, "noise": 5, "h": 8}, (9, 8), {}),
        ({"spectrum": 9, "noise": 5}, (9, 1), {}),
        ({"net": 8, "corr": 3, "flow": 2}, (8, 2), {}),
        ({"features": 7, "coordinates": 3}, (7, 3), {}),
        ({"noisy": 9, "condition": 5}, (9,), {}),
    ],
)
def test_shapes_alone_make_a_state_only_where_nothing_else_fits(widths, results, pairs):
    """Data whose result has its shape (denoised, refined, changed) is never taken for a state."""
    assert recognised(widths, *results) == pairs
