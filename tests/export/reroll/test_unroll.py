"""A forward as a graph in which all iterations have the same operators."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch.export import ExportedProgram

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.reroll.torch_operators import shape_of
from edgernn.export.reroll.unroll import unroll
from tests.nets.loops import Net, example


def called(run):
    """Return the operators that a forward calls, by their short names."""
    module = unroll(Net(run).eval(), example())
    return [
        str(node.target).removeprefix("aten.").partition(".")[0]
        for node in module.graph.nodes
        if node.op == "call_function"
    ]


@pytest.mark.parametrize(
    ("split", "taken"),
    [
        (lambda x: x.unbind(1), "select"),
        (lambda x: x.split(1, 1), "slice"),
        (lambda x: x.split([1] * 5, 1), "slice"),
    ],
    ids=["unbind", "split", "split_with_sizes"],
)
def test_steps_are_taken_where_they_are_used(split, taken):
    """Each in its own iteration, from the whole."""

    def run(net, x):
        return [torch.sin(step) for step in split(x)]

    assert called(run) == [taken, "sin"] * 5


def test_parts_that_are_no_steps_are_taken_once():
    """Where they came apart, however often they are used."""

    def run(net, x):
        first, second = x.split([1, 2], 2)
        return torch.sin(first), torch.cos(first), second

    assert called(run) == ["slice", "slice", "sin", "cos"]


def test_an_axis_of_any_size_is_not_taken_apart():
    """Where its parts begin is not known then."""
    program = called(lambda net, x: [torch.sin(part) for part in x.chunk(5, 1)])
    assert program.count("split") == 1


def test_what_hands_on_is_dropped():
    """Whole slices, copies, views to the same shape."""

    def run(net, x):
        return torch.sin(x[:, :].clone().contiguous().view(x.shape).expand(x.shape).float())

    assert called(run) == ["sin"]


@pytest.mark.parametrize(
    ("run", "count"),
    [
        (lambda net, x: net.states(x), 0),
        (lambda net, x: [step.sin().reshape(-1) for step in x.unbind(1)], 1),
        (lambda net, x: [step.sin().add_(1) for step in x.unbind(1)], 1),
    ],
    ids=["final", "view", "written in place"],
)
def test_forward_is_decomposed_where_that_changes_it(run, count):
    """It is left out where it changes no operator; the graph is that of the decomposed."""
    given = called(run)
    with mock.patch("edgernn.export.reroll.unroll._is_final", return_value=False):
        assert called(run) == given
    whole = ExportedProgram.run_decompositions
    with mock.patch.object(ExportedProgram, "run_decompositions", autospec=True) as decompose:
        decompose.side_effect = whole
        called(run)
    assert decompose.call_count == count


def test_zeros_are_made_once_and_first():
    """Those of all iterations are the same."""

    def run(net, x):
        return torch.sin(x), [torch.cos(torch.zeros(4)) for _ in range(3)]

    assert called(run) == ["zeros", "sin", "cos", "cos", "cos"]


def test_noise_is_made_each_time():
    """It is not the same twice."""

    def run(net, x):
        return torch.sin(x), torch.rand(4) + torch.rand(4)

    assert called(run) == ["sin", "rand", "rand", "add"]


def test_an_axis_that_forward_looks_at_is_a_number():
    """Another stays a symbol."""
    module = unroll(Net(lambda net, x: torch.stack(net.states(x))).eval(), example())
    batch, *others = shape_of(module.graph.find_nodes(op="placeholder")[0]) or ()
    assert not isinstance(batch, int)
    assert others == [5, 3]


def test_inputs_are_the_leaves_of_the_example():
    """In their order; what is not a tensor has no shape."""
    given = ExampleCall({"x": torch.ones(2, 3), "y": torch.ones(4)}, {})
    module = unroll(Net(lambda net, x, y: (x.sum(), y)), given)
    assert [shape_of(node) for node in module.graph.find_nodes(op="placeholder")] == [(2, 3), (4,)]
    assert shape_of(module.graph.output_node()) is None
