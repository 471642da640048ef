"""How far two runs are apart, and what of it passes."""

import numpy as np
import pytest

from edgernn.export.proof.difference import Comparison, Difference, compare
from edgernn.export.proof.reference import RunResult
from edgernn.tolerances import CEILING, TOLERANCE

INF, NAN = float("inf"), float("nan")


def difference(got, expected):
    """Return what is found at the one port of two runs."""
    arrays = [np.array(one, np.float32) for one in (got, expected)]
    return compare(RunResult({"y": arrays[0]}, {}), RunResult({"y": arrays[1]}, {})).largest


@pytest.mark.parametrize(
    ("got", "expected", "amount", "how"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2, "by 2.0e-01"),
        ([0.5], [0.25], 0.25, "by 2.5e-01"),
        ([-INF, 1.0], [-INF, 1.0], 0.0, "by 0.0e+00"),
        ([-INF], [INF], INF, "in where it is NaN or infinite"),
        ([NAN], [NAN], INF, "in where it is NaN or infinite"),
        ([NAN], [1.0], INF, "in where it is NaN or infinite"),
        ([1.0, 2.0], [1.0], INF, "in shape: (2,) where (1,) was expected"),
    ],
)
def test_differences_have_an_amount_and_words(got, expected, amount, how):
    """Above 1 they are parts of the scale; NaN agrees with nothing, an infinity with itself."""
    found = difference(got, expected)
    assert (found.port, found.how) == ("y", how)
    assert found.amount == pytest.approx(amount)


@pytest.mark.parametrize(
    ("scale", "absolute", "passes"),
    [
        (1.0, 9e-6, True),
        (1.0, 1.1e-5, False),
        (100.0, 9e-4, True),
        (100.0, 1.1e-3, False),
        (1e-3, 9e-7, True),
        (1e-3, 1.1e-6, False),  # a part in a thousand of a small number
        (0.0, 1e-7, True),  # what is left where numbers cancel out
        (0.0, 1e-6, False),
    ],
)
def test_small_numbers_are_held_to_their_own_scale(scale, absolute, passes):
    """The tolerance is for numbers of magnitude 1; of smaller ones it is no more than 1e-3."""
    assert Difference("y", absolute, scale, scale, "").passes(1e-5) is passes


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_rounding_excuses_a_thousandth_at_most(scale):
    """However coarse float32 is for the model, a difference above the ceiling fails."""
    at, above = (Difference("y", f * CEILING * scale, scale, scale, "") for f in (0.999, 1.001))
    assert at.passes(1e-5, rounding=2 * scale)
    assert not above.passes(1e-5, rounding=2 * scale)


def test_pieces_are_held_to_the_scale_of_all_that_differs():
    """A piece of small numbers in a run of large ones is allowed what the run is allowed."""
    comparison = Comparison()
    for value, error in ((1e-3, 5e-6), (1.0, 5e-6)):
        piece = np.array([value], np.float32)
        comparison.add({"y": piece + np.float32(error)}, {"y": piece})
    assert comparison.violations(1e-5) == []
    assert comparison.compared == 2


MASK = -1e9


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        ([[0.5, MASK], [MASK, 0.4]], 0.1),  # masked here and there
        ([[0.5, 1.0], [0.4, 1.0]], 0.1),  # beside a column that is constant
        ([[0.5, 1e5], [0.4, 2e5]], 0.1),  # beside a column of large numbers that differ a little
        ([[5e-7, 1.0], [4e-7, 1.0]], 4e-7),  # tiny numbers beside ones
    ],
)
def test_large_numbers_beside_do_not_excuse_a_difference(expected, error):
    """Each feature is held to its own scale, and what is the same in both sets none."""
    wanted = np.array(expected, np.float32)
    got = wanted.copy()
    got[0, 0] += error
    got[wanted > 1e4] += 0.01
    comparison = compare(RunResult({"y": got}, {}), RunResult({"y": wanted}, {}), features=["y"])
    assert [one.port for one in comparison.violations(1e-5)][:1] == ["y"]


def test_rounding_of_large_numbers_passes_in_every_column():
    """Where an output has numbers of a thousand, one near zero was made of such numbers too."""
    wanted = np.array([[1000.0, 0.01]], np.float32)
    got = wanted + np.array([[5e-5, 5e-5]], np.float32)
    comparison = compare(RunResult({"y": got}, {}), RunResult({"y": wanted}, {}), features=["y"])
    assert comparison.violations(1e-5) == []


def test_an_integer_is_the_same_or_not():
    """A large count is as exact as a small one: its size is no scale."""
    for dtype, passes in ((np.int64, False), (np.float32, True)):
        comparison = Comparison()
        count = np.array([1_000_000], dtype)
        comparison.add({"position": count + 1}, {"position": count})
        assert (comparison.violations(TOLERANCE) == []) is passes


def test_a_port_without_numbers_is_empty():
    """One that has another shape than expected is not: it differs."""
    comparison = Comparison()
    empty, full = np.zeros((2, 0)), np.zeros((2, 1))
    comparison.add({"a": empty, "b": empty, "c": full}, {"a": empty, "b": full, "c": full})
    assert [comparison.is_empty(port) for port in "abcd"] == [True, False, False, True]


def test_a_port_that_was_not_compared_has_the_rounding_of_the_others():
    """Such as a context, which the reference does not give."""
    comparison = Comparison()
    comparison.add({"y": np.array([1.5])}, {"y": np.array([1.0])})
    assert comparison.rounding("context") == comparison.rounding("y") == 0.5
