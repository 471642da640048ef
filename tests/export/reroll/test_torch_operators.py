"""Parts of tensors along one axis."""

from __future__ import annotations

import pytest
import sympy
import torch
from torch import fx

from edgernn.export.reroll.loop_structure import InductionVariable
from edgernn.export.reroll.torch_operators import StepOperators, write_size

STEPS, MORE = sympy.symbols("sequence more")
ZERO, ONE, TWO = map(sympy.Integer, range(3))
X = torch.arange(24).reshape(2, 4, 3)


def computed(write, sequence=4):
    """Return what `write(steps, x)` puts into a graph, for `X`."""
    graph = fx.Graph()
    x, symbol = graph.placeholder("x"), graph.placeholder("sequence")
    graph.output(write(StepOperators(graph, {"sequence": symbol}), x))
    return fx.GraphModule({}, graph)(X, sequence)


def test_all_steps_are_the_tensor_itself():
    """Where it is known that it has no others."""
    assert computed(lambda steps, x: steps.slice(x, 1, ZERO, STEPS, STEPS)) is X


@pytest.mark.parametrize("total", [STEPS, None])
def test_some_steps(total):
    """From one step on, as many as are asked for."""
    got = computed(lambda steps, x: steps.slice(x, 1, ONE, STEPS - 2, total))
    assert torch.equal(got, X[:, 1:3])


def test_one_of_the_first_axis():
    """By its number, or the last."""
    assert torch.equal(computed(lambda steps, x: steps.select(x, -1)), X[1])
    assert torch.equal(computed(lambda steps, x: steps.select(x, STEPS - 4)), X[0])


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (InductionVariable(0, 1), [0, 1, 2, 3]),
        (InductionVariable(5, -2), [5, 3, 1, -1]),
        (InductionVariable(STEPS - 1, -1), [3, 2, 1, 0]),
    ],
)
def test_the_numbers_of_the_iterations(numbers, expected):
    """As many as there are iterations."""
    got = computed(lambda steps, _: steps.count(numbers, STEPS))
    assert got.dtype == torch.int64
    assert got.tolist() == expected


def test_steps_in_reverse():
    """Along one axis."""
    assert torch.equal(computed(lambda steps, x: steps.reverse(x, 1)), X.flip(1))


@pytest.mark.parametrize(
    ("axis", "flatten", "expected"),
    [
        (0, False, X),
        (1, False, X.movedim(0, 1)),
        (0, True, X.reshape(8, 3)),
        (1, True, X.movedim(0, 1).reshape(4, 6)),
    ],
)
def test_iterations_move_to_their_axis(axis, flatten, expected):
    """(iterations, …) as `stack` puts them; `flatten`, as `cat` does."""
    assert torch.equal(computed(lambda steps, x: steps.move_first_axis(x, axis, flatten)), expected)


def test_steps_written_into_a_tensor():
    """The steps before and after it stay."""

    def write(steps, x):
        return steps.overwrite(x, 1, ONE, steps.slice(x, 1, ZERO, TWO, None), STEPS - 1)

    assert torch.equal(computed(write), X[:, [0, 0, 1, 3]])


def test_one_part_is_joined_with_nothing():
    """It is what it was."""
    assert computed(lambda steps, x: steps.concatenate([x], 1)) is X
    assert torch.equal(
        computed(lambda steps, x: steps.concatenate([x, x], 1)), torch.cat([X, X], 1)
    )


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (sympy.Integer(3), 3),
        (STEPS, 10),
        (2 * STEPS + MORE - 1, 39),
    ],
)
def test_a_size_is_computed_in_a_graph(size, number):
    """From the sizes of the axes."""
    graph = fx.Graph()
    axes = {name: graph.placeholder(name) for name in ("sequence", "more")}
    graph.output(write_size(graph, size, axes))
    assert fx.GraphModule({}, graph)(10, 20) == number
