"""What is said of loops whose iterations differ, and advice that works.

Each model stands beside what it becomes where the advice is followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.reroll.explain_loop import explain_loop
from tests.export.expected_refusal import at

SPEC = ["x:float32[batch,sequence,4]"]
EXAMPLE = ExampleCall({"x": torch.randn(2, 5, 4)}, {"x": ("batch", "sequence", 4)})
ROWS = ExampleCall({"x": torch.randn(2, 5, 3, 4)}, {"x": ("batch", "sequence", "rows", 4)})

Function = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """A cell, layers, and a function of them and the input."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.cell, self.rnn = nn.GRUCell(4, 3), nn.GRU(8, 3, batch_first=True)
        self.cells = nn.ModuleList(nn.GRUCell(4, 3) for _ in range(2))
        self._function = function

    def forward(self, x):
        return self._function(self, x)


def changes_later(net, x):
    h, states = x.new_zeros(x.shape[0], 3), []
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
        if t % 10 == 3:
            h = h / 2
        states.append(h)
    return torch.stack(states, 1)


def chooses_by_a_tensor(net, x):
    h, states = x.new_zeros(x.shape[0], 3), []
    halved = torch.arange(x.shape[1]) % 10 == 3
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
        h = torch.where(halved[t], h / 2, h)
        states.append(h)
    return torch.stack(states, 1)


def decays(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cell(x[:, t] * 0.9**t, h)
    return h


def decays_by_a_tensor(net, x):
    h, decay = x.new_zeros(x.shape[0], 3), 0.9 ** torch.arange(x.shape[1])
    for t in range(x.shape[1]):
        h = net.cell(x[:, t] * decay[t], h)
    return h


def remembers_all(net, x):
    h, past = x.new_zeros(x.shape[0], 3), []
    for t in range(x.shape[1]):
        past.append(net.cell(x[:, t], h))
        h = torch.stack(past).sum(0)
    return h


def remembers_the_sum(net, x):
    h, past = x.new_zeros(x.shape[0], 3), x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        past = past + net.cell(x[:, t], h)
        h = past
    return h


def goes_over_all(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        seen = x[:, 0]
        for past in range(t):
            seen = seen + x[:, past]
        h = net.cell(seen, h)
    return h


def takes_turns(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cells[t % 2](x[:, t], h)
    return h


def halves(net, x):
    n = x.shape[1]
    while n > 1:
        x = x[:, : n // 2] + x[:, n - n // 2 : n]
        n = n // 2
    return net.cell(x[:, 0])


def loops_over_the_batch(net, x):
    states = []
    for n in range(x.shape[0]):
        h = x.new_zeros(1, 3)
        for t in range(x.shape[1]):
            h = net.cell(x[n : n + 1, t], h)
        states.append(h)
    return torch.cat(states)


def loops_in_a_loop(net, x):
    h, states = x.new_zeros(x.shape[0], 3), []
    for t in range(x.shape[1]):
        for row in range(x.shape[2]):
            h = net.cell(x[:, t, row], h)
        states.append(h)
    return torch.stack(states, 1)


def starts_otherwise(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        if t == 0:
            h = h + 1
        h = net.cell(x[:, t], h)
    return h


LOOP = "for t in range(x.shape[1]):"

LOOPS: list[tuple[Function, ExampleCall, str, str, str, Function | None]] = [
    (
        changes_later,
        EXAMPLE,
        LOOP,
        "h = h / 2",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 4 runs{bare}, iteration 3 does not. Compute it in every iteration and choose "
        "with torch.where by a tensor with an entry for each, such as "
        "`(torch.arange(n) % 10 == 0)[t]`.",
        chooses_by_a_tensor,
    ),
    (
        starts_otherwise,
        EXAMPLE,
        LOOP,
        "h = h + 1",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 1 runs{bare}, iteration 2 does not. Compute it in every iteration and choose "
        "with torch.where by a tensor with an entry for each, such as "
        "`(torch.arange(n) % 10 == 0)[t]`.",
        None,
    ),
    (
        decays,
        EXAMPLE,
        LOOP,
        "h = net.cell(x[:, t] * 0.9**t, h)",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 2 computes with 0.9{line}, iteration 1 with 1. Put the numbers of all "
        "iterations into a tensor before the loop, such as `0.9 ** torch.arange(n)`, and take its "
        "entry `[t]`.",
        decays_by_a_tensor,
    ),
    (
        remembers_all,
        EXAMPLE,
        LOOP,
        "h = torch.stack(past).sum(0)",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 2 takes 2 tensors{line}, iteration 1 1 tensor. Carry what keeps its shape, such "
        "as a sum or the last few, rather than all so far.",
        remembers_the_sum,
    ),
    (
        goes_over_all,
        EXAMPLE,
        LOOP,
        "for past in range(t):",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 3 runs{bare} more often than iteration 2. Carry what it needs from one to the "
        "next, such as a sum, rather than go over all so far.",
        remembers_the_sum,
    ),
    (
        takes_turns,
        EXAMPLE,
        LOOP,
        "h = net.cells[t % 2](x[:, t], h)",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 2 has other weights{line} than iteration 1. Give the size as a number, such as "
        'inputs=["x:float32[batch,5,4]"].',
        None,
    ),
    (
        halves,
        EXAMPLE,
        "while n > 1:",
        "x = x[:, : n // 2] + x[:, n - n // 2 : n]",
        "`Net.forward` loops over `sequence`{loop}, and a graph runs the same in every iteration: "
        "iteration 2 takes step 7{line}, iteration 1 step 15, and these do not follow each other "
        "evenly. Give the size as a number, such as "
        'inputs=["x:float32[batch,5,4]"].',
        None,
    ),
    (
        loops_over_the_batch,
        EXAMPLE,
        "for n in range(x.shape[0]):",
        "",
        "`Net.forward` loops over the sequences of a batch{loop}, and a graph takes them together. "
        'Give the batch as a number, such as inputs=["x:float32[1,sequence,4]"].',
        None,
    ),
    (
        loops_in_a_loop,
        ROWS,
        LOOP,
        "for row in range(x.shape[2]):",
        "`Net.forward` loops over `rows`{line} inside a loop over `sequence`{loop}, and in a "
        "graph one of the two must have a constant size. Give the one along which nothing is "
        'carried as a number: inputs=["x:float32[batch,sequence,3,4]"] or '
        'inputs=["x:float32[batch,5,rows,4]"].',
        None,
    ),
]


@pytest.mark.parametrize("case", LOOPS, ids=lambda case: case[0].__name__)
def test_a_loop_whose_iterations_differ_is_explained(case, monkeypatch, tmp_path):
    """The loop, the line and the iteration are named, and the advice works."""
    monkeypatch.chdir(tmp_path)
    function, example, loop, line, message, followed = case
    said = explain_loop(Net(function).eval(), example, "something")
    places = {"loop": at(function, loop), "line": line and at(function, line)}
    assert said == message.format(**places, bare=places["line"].removeprefix(" at"))
    specs = re.findall(r'inputs=\["(.*?)"\]', said)[:1] or SPEC
    made = tmp_path / "made.edgernn"
    edgernn.export_model(Net(followed or function).eval(), made, inputs=specs, verify=False)


def test_a_loop_without_a_known_difference_is_named(monkeypatch, tmp_path):
    """What was found when it was written follows."""
    monkeypatch.chdir(tmp_path)
    said = explain_loop(Net(decays_by_a_tensor).eval(), EXAMPLE, "something was found")
    assert said == (
        f"`Net.forward` loops over `sequence`{at(decays_by_a_tensor, LOOP)}, which cannot be "
        "written for any number of steps: something was found. To go on, export the module of one "
        "step, which takes what is carried as arguments and returns it, and name it with "
        'states={"INPUT": "OUTPUT"}.'
    )
