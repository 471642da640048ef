"""What is said of a forward that torch cannot export: its line, the reason, and advice that works.

Each model stands beside what it becomes where the advice is followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import edgernn
from edgernn.errors import UnsupportedModelError
from tests.export.expected_refusal import at, refusal

SPEC = ["x:float32[batch,sequence,4]"]

Function = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """A GRU, and a function of the model and its input."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.rnn, self.cell = nn.GRU(4, 3, batch_first=True), nn.GRUCell(4, 3)
        self.square = nn.Parameter(torch.eye(3))
        self.register_buffer("once", torch.inverse(torch.eye(3)))
        self._function = function

    def forward(self, x):
        return self._function(self, x)


class Twice(torch.autograd.Function):
    """What has no ONNX form by itself: torch traces through it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        return 2 * grad[0]


@torch.library.custom_op("refused::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


def branches(net, x):
    y = net.rnn(x)[0]
    if y.sum() > 0:
        y = -y
    return y


def chooses(net, x):
    y = net.rnn(x)[0]
    return torch.where(y.sum() > 0, -y, y)


def checks(net, x):
    assert (x.abs() < 100).all()
    return net.rnn(x)[0]


def checks_but_for_the_export(net, x):
    if not torch.compiler.is_exporting():
        assert (x.abs() < 100).all()
    return net.rnn(x)[0]


def ends(net, x):
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
        if h.max() > 3:
            break
    return h


def scales(net, x):
    return net.rnn(x / float(x.abs().max()))[0]


def scales_by_a_tensor(net, x):
    return net.rnn(x / x.abs().max())[0]


def leaves(net, x):
    return torch.from_numpy(net.rnn(x)[0].numpy().clip(0))


def stays(net, x):
    return net.rnn(x)[0].clamp(min=0)


def collects(net, x):
    y = net.rnn(x)[0]
    return torch.tensor([y.mean(), y.std()])


def stacks(net, x):
    y = net.rnn(x)[0]
    return torch.stack([y.mean(), y.std()])


def prints(net, x):
    net.note = f"{x.mean():.1f}"
    return net.rnn(x)[0]


def prints_but_for_the_export(net, x):
    if not torch.compiler.is_exporting():
        net.note = f"{x.mean():.1f}"
    return net.rnn(x)[0]


def selects(net, x):
    y = net.rnn(x)[0]
    for place in (y[..., 0] > 0).nonzero():
        y = y + place.sum()
    return y


def masks(net, x):
    y = net.rnn(x)[0]
    return y + (y[..., :1] > 0).sum()


def derives(net, x):
    with torch.enable_grad():
        x = x.requires_grad_()
        return torch.autograd.grad(net.rnn(x)[0].sum(), x)[0]


def turns(net, x):
    return net.rnn(torch.view_as_complex(x.unflatten(-1, (2, 2))).sqrt().abs().repeat(1, 1, 2))[0]


def turns_real(net, x):
    real, imaginary = x.unflatten(-1, (2, 2)).unbind(-1)
    return net.rnn((real.square() + imaginary.square()).sqrt().sqrt().repeat(1, 1, 2))[0]


def thins(net, x):
    y = net.rnn(x)[0]
    return torch.sparse.mm(net.square.detach().to_sparse(), y.flatten(0, 1).t())


def fills(net, x):
    y = net.rnn(x)[0]
    return net.square.detach() @ y.flatten(0, 1).t()


def inverts(net, x):
    return net.rnn(x)[0] @ torch.inverse(net.square)


def inverts_once(net, x):
    return net.rnn(x)[0] @ net.once


def takes_the_middle(net, x):
    return net.rnn(x)[0].median(-1)[0]


def takes_the_middle_by_order(net, x):
    return net.rnn(x)[0].sort(-1)[0][..., 1]


def calls_an_own_operator(net, x):
    return torch.ops.refused.twice(net.rnn(x)[0])


def calls_it_in_python(net, x):
    return Twice.apply(net.rnn(x)[0])


def hands_a_size_to_numpy(net, x):
    return net.rnn(x)[0] / np.sqrt(x.shape[1])


def keeps_the_size(net, x):
    return net.rnn(x)[0] / x.shape[1] ** 0.5


def makes_a_number_of_a_size(net, x):
    return net.rnn(x)[0] / math.sqrt(x.shape[1])


def loops_over_the_batch(net, x):
    return torch.stack([net.rnn(x[n])[0] for n in range(x.shape[0])])


CASES: list[tuple[Function, str, str, Function | list[str]]] = [
    (
        branches,
        "if y.sum() > 0:",
        "forward branches on the values of a tensor{}, and a graph computes the same whatever they "
        "are. Compute both sides and choose with torch.where(condition, a, b).",
        chooses,
    ),
    (
        checks,
        "assert (x.abs() < 100).all()",
        "forward checks the values of a tensor{}, and a graph cannot raise. To keep the check, put "
        "it under `if not torch.compiler.is_exporting():`, or leave it to the caller.",
        checks_but_for_the_export,
    ),
    (
        scales,
        "return net.rnn(x / float(x.abs().max()))[0]",
        "forward makes a Python number of a tensor with float(){}, and there is none while it is "
        "traced. Keep it a tensor; where it is a size or a position, use a mask over all positions "
        "instead.",
        scales_by_a_tensor,
    ),
    (
        leaves,
        "return torch.from_numpy(net.rnn(x)[0].numpy().clip(0))",
        "forward leaves torch for NumPy{}, where nothing can be traced. Compute the same with "
        "torch's functions on tensors.",
        stays,
    ),
    (
        collects,
        "return torch.tensor([y.mean(), y.std()])",
        "forward makes a tensor from the numbers of others{}, and there are none while it is "
        "traced. Join the tensors with torch.stack or torch.cat.",
        stacks,
    ),
    (
        prints,
        'net.note = f"{x.mean():.1f}"',
        "forward writes the numbers of a tensor as text{}, which has none while it is traced. For "
        "a message, put it under `if not torch.compiler.is_exporting():`, or leave it to the "
        "caller.",
        prints_but_for_the_export,
    ),
    (
        selects,
        "for place in (y[..., 0] > 0).nonzero():",
        "forward makes a tensor whose size depends on values, and needs that size{}. Keep the "
        "size: multiply by a mask or choose with torch.where(condition, a, b).",
        masks,
    ),
    (
        derives,
        "return torch.autograd.grad(net.rnn(x)[0].sum(), x)[0]",
        "forward computes a gradient{}, and a graph runs only forward. Write the derivative out, "
        "or leave that line to the caller.",
        stays,
    ),
    (
        turns,
        "return net.rnn(torch.view_as_complex(x.unflatten(-1, (2, 2))).sqrt().a …",
        "forward computes with complex numbers{}, of which `sqrt` has no ONNX form. Compute with "
        "the real and the imaginary part as two real tensors, or leave that line to the caller.",
        turns_real,
    ),
    (
        thins,
        "return torch.sparse.mm(net.square.detach().to_sparse(), y.flatten(0, 1 …",
        "forward computes with a sparse tensor{}, and ONNX has only dense ones. Make it dense "
        "with `.to_dense()` before the export.",
        fills,
    ),
    (
        inverts,
        "return net.rnn(x)[0] @ torch.inverse(net.square)",
        "forward calls `linalg_inv_ex`{}, which has no ONNX form. If it depends on weights alone, "
        "compute it once and keep the result as a buffer; otherwise write it with other operators, "
        "or leave it to the caller.",
        inverts_once,
    ),
    (
        takes_the_middle,
        "return net.rnn(x)[0].median(-1)[0]",
        "forward calls `median`{}, which has no ONNX form. Write the middle of `x.sort(-1)[0]` "
        "instead.",
        takes_the_middle_by_order,
    ),
    (
        calls_an_own_operator,
        "return torch.ops.refused.twice(net.rnn(x)[0])",
        "forward calls `refused::twice`{}, an operator that is not torch's own, so ONNX has no "
        "form of it. Write it in Python with torch's operators.",
        calls_it_in_python,
    ),
    (
        hands_a_size_to_numpy,
        "return net.rnn(x)[0] / np.sqrt(x.shape[1])",
        "forward passes a size to NumPy{}, which takes only numbers. Compute with Python's "
        "operators (`n ** 0.5` is the root of a size) or torch.",
        keeps_the_size,
    ),
    (
        makes_a_number_of_a_size,
        "return net.rnn(x)[0] / math.sqrt(x.shape[1])",
        "forward fixes axis 1 of `x` (sequence) by making a number of it{}. Compute with Python's "
        "operators (`n ** 0.5` is the root of a size) or torch, or give it as a number, such as "
        'inputs=["x:float32[batch,5,4]"].',
        ["x:float32[batch,5,4]"],
    ),
    (
        loops_over_the_batch,
        "return torch.stack([net.rnn(x[n])[0] for n in range(x.shape[0])])",
        "forward fixes axis 0 of `x` (batch) by a loop over it{}. Give it as a number, such as "
        'inputs=["x:float32[1,sequence,4]"].',
        ["x:float32[1,sequence,4]"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_a_refusal_names_the_line_and_what_helps(target, case, monkeypatch, tmp_path):
    """The message is whole, and the model exports where it is followed."""
    monkeypatch.chdir(tmp_path)  # files outside of the current folder are named in full
    function, code, message, followed = case
    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(function).eval(), target, inputs=SPEC),
    )
    assert said == f"`Net` cannot be traced: {message.format(at(function, code))}"
    model, inputs = (function, followed) if isinstance(followed, list) else (followed, SPEC)
    made = tmp_path / "made.edgernn"
    edgernn.export_model(Net(model).eval(), made, inputs=inputs, verify=False)


def test_a_loop_that_ends_by_values_is_left_to_the_caller(target, tmp_path):
    """Its step exports."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(4, 3)

        def forward(self, x, h):
            return self.cell(x, h)

    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(ends).eval(), target, inputs=SPEC),
    )
    assert said.startswith("`Net` cannot be traced: forward ends a loop by the values of a tensor ")
    assert said.endswith(
        "(`if h.max() > 3:`), and a graph runs the same steps whatever they are. Let the caller "
        "loop: export the module of one step, which takes what is carried as arguments and returns "
        'it, and name it with states={"INPUT": "OUTPUT"}.'
    )
    inputs = ["x:float32[batch,4]", "h:float32[batch,3]"]
    made = edgernn.export_model(
        Step().eval(), tmp_path / "made.edgernn", inputs=inputs, states={"h": 0}, verify=False
    )
    assert made.step is not None


def test_files_in_the_current_folder_are_named_in_short(target, monkeypatch, tmp_path):
    """As a compiler does."""
    (tmp_path / "net.py").write_text(
        "def run(net, x):\n    y = net.rnn(x)[0]\n    return y if y.max() > 0 else -y\n"
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile((tmp_path / "net.py").read_text(), str(tmp_path / "net.py"), "exec"), names)
    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(names["run"]).eval(), target, inputs=SPEC),
    )
    assert " at net.py:3 (`return y if y.max() > 0 else -y`), " in said


def test_what_nobody_foresaw_is_told_with_its_line(target, monkeypatch, tmp_path):
    """In the words of the exception."""
    monkeypatch.chdir(tmp_path)

    def run(net, x):
        if torch.compiler.is_exporting():
            raise LookupError("nothing is known of this")
        return functional.relu(net.rnn(x)[0])

    said = refusal(
        UnsupportedModelError,
        lambda: edgernn.export_model(Net(run).eval(), target, inputs=SPEC),
    )
    place = at(run, 'raise LookupError("nothing is known of this")')
    assert said == (
        f"`Net` cannot be traced: torch cannot follow forward{place}: LookupError: nothing is "
        "known of this. Write that line with torch's functions on tensors, or leave it to the "
        "caller."
    )
