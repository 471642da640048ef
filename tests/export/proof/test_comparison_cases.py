"""The sizes at which a model is run for the proof."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.proof.comparison_cases import LONGEST, ComparisonCases
from tests.nets.running_sum import TRACED, WIDTH, contract, running_sum, sampler


def sizes(cases) -> list[tuple[int, int]]:
    return [(one.sizes["batch"], one.sizes["sequence"]) for one in cases]


def test_short_runs_are_at_the_traced_size_and_at_others():
    """One sequence and one step are among them, no size twice, and all have what is expected."""
    found = ComparisonCases(sampler()).short_cases()
    assert sizes(found)[0] == TRACED
    assert {(1, 1), (3, 1), (1, 9)} <= set(sizes(found))
    assert len(set(sizes(found))) == len(found) == 9
    for case in found:
        np.testing.assert_array_equal(
            case.expected.outputs["output"],
            running_sum(case.data["x"], np.zeros((case.batch, WIDTH), np.float32))[0],
        )


def test_sizes_that_the_model_does_not_take_are_passed_over():
    """Others are tried in their place, with more steps."""

    def at_least_five(x, h):
        if x.shape[1] < 5:
            raise ValueError("too short")
        return running_sum(x, h)

    cases = ComparisonCases(sampler(at_least_five))
    found = cases.short_cases()
    assert len(found) > 4
    assert all(steps >= 5 for _, steps in sizes(found))
    assert set(cases.failures) == {"too short"}


def test_a_model_without_numbers_at_any_size_is_refused():
    """NaN agrees with nothing."""
    with pytest.raises(UnsupportedModelError) as caught:
        ComparisonCases(sampler(lambda x, h: (x * np.nan, h))).short_cases()
    assert str(caught.value) == (
        "the sum itself gives nothing to compare with at any size that was tried: its results are "
        "NaN. Give example tensors of the kind that it was trained on, as a tuple of tensors in "
        "Python."
    )


def test_bounds_are_tried_from_both_sides():
    """At the largest and smallest size of an axis, and one within it."""
    ports = contract(most={"sequence": 12}, least={"batch": 2})
    assert sizes(ComparisonCases(sampler(ports=ports)).boundary_cases()) == [
        (2, 12),
        (2, 11),
        (2, 3),
        (3, 3),
    ]


def test_further_sizes_are_tried_with_the_bounds():
    """Sizes at which forward takes another branch, say."""
    assert sizes(ComparisonCases(sampler(), extra_sizes=({"sequence": 41},)).boundary_cases()) == [
        (2, 41)
    ]


def test_long_runs_get_shorter_and_shorter():
    """From a thousand steps of one sequence down; the model has still to be run."""
    found = list(ComparisonCases(sampler()).long_cases())
    assert sizes(found) == [(1, steps) for steps in (LONGEST, 500, 250, 125, 60, 30)]
    assert all(case.expected == ({}, {}) for case in found)


def test_constant_sizes_are_kept():
    """Graphs of 4 steps and a batch of 2 are run at whole calls of that size."""
    cases = ComparisonCases(sampler(), constants={"batch": 2, "sequence": 4})
    assert set(sizes(cases.short_cases())) == {(2, 4)}
    assert [cases.allowed_steps(steps) for steps in (1, 8, 9, LONGEST)] == [8, 8, 12, LONGEST]
    assert sizes(cases.long_cases())[0] == (2, LONGEST)
