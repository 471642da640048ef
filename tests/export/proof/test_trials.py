"""The sizes at which a model is run for the proof."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.proof.trials import LONGEST, Trials
from tests.nets.running_sum import TRACED, WIDTH, contract, running_sum, samples


def sizes(trials) -> list[tuple[int, int]]:
    return [(one.sizes["batch"], one.sizes["sequence"]) for one in trials]


def test_short_runs_are_at_the_traced_size_and_at_others():
    """One sequence and one step are among them, no size twice, and all have what is expected."""
    found = Trials(samples()).short()
    assert sizes(found)[0] == TRACED
    assert {(1, 1), (3, 1), (1, 9)} <= set(sizes(found))
    assert len(set(sizes(found))) == len(found) == 9
    for trial in found:
        np.testing.assert_array_equal(
            trial.expected[0]["output"],
            running_sum(trial.data["x"], np.zeros((trial.batch, WIDTH), np.float32))[0],
        )


def test_sizes_that_the_model_does_not_take_are_passed_over():
    """Others are tried in their place, with more steps."""

    def at_least_five(x, h):
        if x.shape[1] < 5:
            raise ValueError("too short")
        return running_sum(x, h)

    trials = Trials(samples(at_least_five))
    found = trials.short()
    assert len(found) > 4
    assert all(steps >= 5 for _, steps in sizes(found))
    assert set(trials.failures) == {"too short"}


def test_a_model_without_numbers_at_any_size_is_refused():
    """NaN agrees with nothing."""
    with pytest.raises(UnsupportedModelError) as caught:
        Trials(samples(lambda x, h: (x * np.nan, h))).short()
    assert str(caught.value) == (
        "the sum itself gives nothing to compare with at any size that was tried: its results are "
        "NaN. Give example tensors of the kind that it was trained on, as a tuple of tensors in "
        "Python."
    )


def test_bounds_are_tried_from_both_sides():
    """At the largest and smallest size of an axis, and one within it."""
    ports = contract(most={"sequence": 12}, least={"batch": 2})
    assert sizes(Trials(samples(ports=ports)).bounds()) == [(2, 12), (2, 11), (2, 3), (3, 3)]


def test_further_sizes_are_tried_with_the_bounds():
    """Sizes at which forward takes another branch, say."""
    assert sizes(Trials(samples(), apart=({"sequence": 41},)).bounds()) == [(2, 41)]


def test_long_runs_get_shorter_and_shorter():
    """From a thousand steps of one sequence down; the model has still to be run."""
    found = list(Trials(samples()).long())
    assert sizes(found) == [(1, steps) for steps in (LONGEST, 500, 250, 125, 60, 30)]
    assert all(trial.expected == ({}, {}) for trial in found)


def test_constant_sizes_are_kept():
    """Graphs of 4 steps and a batch of 2 are run at whole calls of that size."""
    trials = Trials(samples(), constants={"batch": 2, "sequence": 4})
    assert set(sizes(trials.short())) == {(2, 4)}
    assert [trials.steps(steps) for steps in (1, 8, 9, LONGEST)] == [8, 8, 12, LONGEST]
    assert sizes(trials.long())[0] == (2, LONGEST)
