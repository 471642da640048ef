"""Parts of tensors along one axis."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from edgernn.export.reroll.iteration_steps import Numbers
from edgernn.export.reroll.size_expressions import Size
from edgernn.export.reroll.tensor_slices import Parts

STEPS = Size(0, (("sequence", 1),))
X = torch.arange(24).reshape(2, 4, 3)


def computed(write, sequence=4):
    """Return what `write(parts, x)` puts into a graph, for `X`."""
    graph = fx.Graph()
    x, symbol = graph.placeholder("x"), graph.placeholder("sequence")
    graph.output(write(Parts(graph, {"sequence": symbol}), x))
    return fx.GraphModule({}, graph)(X, sequence)


def test_all_steps_are_the_tensor_itself():
    """Where it is known that it has no others."""
    assert computed(lambda parts, x: parts.span(x, 1, Size(0), STEPS, STEPS)) is X


@pytest.mark.parametrize("total", [STEPS, None])
def test_some_steps(total):
    """From one step on, as many as are asked for."""
    got = computed(lambda parts, x: parts.span(x, 1, Size(1), STEPS - 2, total))
    assert torch.equal(got, X[:, 1:3])


def test_one_of_the_first_axis():
    """By its number, or the last."""
    assert torch.equal(computed(lambda parts, x: parts.step(x, -1)), X[1])
    assert torch.equal(computed(lambda parts, x: parts.step(x, STEPS - 4)), X[0])


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (Numbers(Size(0), 1), [0, 1, 2, 3]),
        (Numbers(Size(5), -2), [5, 3, 1, -1]),
        (Numbers(STEPS - 1, -1), [3, 2, 1, 0]),
    ],
)
def test_the_numbers_of_the_iterations(numbers, expected):
    """As many as there are iterations."""
    got = computed(lambda parts, _: parts.counted(numbers, STEPS))
    assert got.dtype == torch.int64
    assert got.tolist() == expected


def test_steps_in_reverse():
    """Only where a loop runs backward."""
    assert torch.equal(computed(lambda parts, x: parts.turned(x, 1, True)), X.flip(1))
    assert computed(lambda parts, x: parts.turned(x, 1, False)) is X


@pytest.mark.parametrize(
    ("axis", "kept", "expected"),
    [
        (0, False, X),
        (1, False, X.movedim(0, 1)),
        (0, True, X.reshape(8, 3)),
        (1, True, X.movedim(0, 1).reshape(4, 6)),
    ],
)
def test_iterations_move_to_their_axis(axis, kept, expected):
    """(iterations, …) as `stack` puts them; `kept`, as `cat` does."""
    assert torch.equal(computed(lambda parts, x: parts.laid(x, axis, kept)), expected)


def test_steps_written_into_a_tensor():
    """The steps before and behind stay."""

    def write(parts, x):
        return parts.written(x, 1, Size(1), parts.span(x, 1, Size(0), Size(2), None), STEPS - 1)

    assert torch.equal(computed(write), X[:, [0, 0, 1, 3]])


def test_an_axis_of_one():
    """Comes and goes."""
    assert computed(lambda parts, x: parts.single(x, 1)).shape == (2, 1, 4, 3)
    got = computed(lambda parts, x: parts.without(parts.single(x, 2), 2))
    assert torch.equal(got, X)


def test_one_part_is_joined_with_nothing():
    """It is what it was."""
    assert computed(lambda parts, x: parts.joined([x], 1)) is X
    assert torch.equal(computed(lambda parts, x: parts.joined([x, x], 1)), torch.cat([X, X], 1))
