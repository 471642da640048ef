"""What is said of branches on a size, and advice that works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import edgernn
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.size_branch import find_size_branch
from tests.export.expected_refusal import at, refusal

SPEC = ["x:float32[batch,sequence,4]"]
EXAMPLE = ExampleCall({"x": torch.randn(2, 5, 4)}, {"x": ("batch", "sequence", 4)})

Function = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """A cell, a layer, and a function of them and the input."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.cell, self.rnn = nn.GRUCell(4, 3), nn.GRU(8, 3, batch_first=True)
        self._function = function

    def forward(self, x):
        return self._function(self, x)


def loops(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
    return h


def pads_odd_lengths(net, x):
    if x.shape[1] % 2 == 1:
        x = functional.pad(x, (0, 0, 0, 1))
    return net.rnn(x.reshape(x.shape[0], x.shape[1] // 2, 8))[0]


def pads_by_the_remainder(net, x):
    x = functional.pad(x, (0, 0, 0, -x.shape[1] % 2))
    return net.rnn(x.reshape(x.shape[0], x.shape[1] // 2, 8))[0]


def pads_to_threes(net, x):
    x = x if x.shape[1] % 3 == 0 else functional.pad(x, (0, 0, 0, 3 - x.shape[1] % 3))
    return net.rnn(x.repeat(1, 1, 2))[0]


def scales_long_ones(net, x):
    if x.shape[1] > 10:
        x = x / 10
    return net.rnn(x.repeat(1, 1, 2))[0]


def test_a_branch_on_parity_is_no_loop(target, monkeypatch, tmp_path):
    """It is named as what it is, and padding by the remainder exports."""
    monkeypatch.chdir(tmp_path)
    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(pads_odd_lengths).eval(), target, inputs=SPEC),
    )
    assert said == (
        "`Net.forward` branches on whether `sequence` is odd or even"
        f"{at(pads_odd_lengths, 'if x.shape[1] % 2 == 1:')}, and a graph computes the same at "
        "every size. Do without the branch: pad by `-n % 2` or crop by `n % 2`, which may be 0."
    )
    made = tmp_path / "made.edgernn"
    edgernn.export_model(Net(pads_by_the_remainder).eval(), made, inputs=SPEC, verify=False)


def test_a_branch_that_only_the_proof_sees_is_named(target, monkeypatch, tmp_path):
    """Forward calls the same number of functions at the sizes that tell a loop."""
    monkeypatch.chdir(tmp_path)
    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(pads_to_threes).eval(), target, inputs=SPEC),
    )
    line = "x = x if x.shape[1] % 3 == 0 else functional.pad(x, (0, 0, 0, 3 - x.sh …"
    assert said == (
        f"`Net.forward` branches on whether `sequence` is a multiple of 3{at(pads_to_threes, line)}"
        ", and a graph computes the same at every size. Do without the branch: pad by `-n % 3` or "
        "crop by `n % 3`, which may be 0."
    )


def test_a_branch_from_some_size_on_is_a_bound(tmp_path):
    """The graph holds up to it."""
    made = edgernn.export_model(
        Net(scales_long_ones).eval(), tmp_path / "made.edgernn", inputs=SPEC, verify=False
    )
    assert made.contract.most == {"sequence": 10}


def test_branches_are_told_from_loops():
    """A loop has more iterations where an axis is longer."""
    assert find_size_branch(Net(loops).eval(), EXAMPLE) is None
    found = find_size_branch(Net(scales_long_ones).eval(), EXAMPLE)
    assert found is not None
    assert (found.is_bound, found.divisor, found.sizes) == (True, None, tuple(range(11, 18)))
    assert str(found).startswith("branches on the size of `sequence` at ")
    assert str(found).endswith(
        "(`if x.shape[1] > 10:`), and a graph computes the same at every size. Compute the same at "
        "all sizes, or give that size as a number."
    )
