"""The rules for the data that models are run on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgernn.contract import Graph, Port, State
from edgernn.export.proof.comparison_cases import ComparisonCases
from edgernn.export.proof.reference import RunResult
from tests.nets.running_sum import WIDTH, Reference, contract, running_sum, sampler


def test_data_are_like_the_example_where_random_ones_have_no_numbers():
    """A root of what may be negative is NaN: such a model is run on entries of its example."""
    examples = {"x": np.array([[[1.0, 4.0]] * 4] * 2, np.float32)}
    drawn = sampler(lambda x, h: running_sum(np.sqrt(x), h), examples=examples)
    with np.errstate(invalid="ignore"):
        data = drawn.draw_data({"batch": 3, "sequence": 7})
    assert data["x"].shape == (3, 7, WIDTH)
    assert set(data["x"].ravel()) == {1.0, 4.0}


@pytest.mark.parametrize("longest_first", [True, False])
def test_lengths_differ_and_one_is_full(longest_first):
    """Whole sequences are compared at uneven lengths, sorted where the reference wants them so."""
    ports = contract(
        inputs=(Port("lengths", "int64", ("batch",), "n"),), lengths=("lengths",), carry=False
    )
    used = sampler(ports=ports, lengths={"lengths": longest_first})
    ComparisonCases(used).short_cases()
    assert isinstance(used.reference, Reference)
    given = used.reference.inputs[1:]  # after the first look whether random data have numbers
    drawn = [(one["n"].tolist(), one["x"].shape[1]) for one in given]
    assert all(max(lengths) == steps and min(lengths) >= 1 for lengths, steps in drawn)
    assert any(len(set(lengths)) > 1 for lengths, _ in drawn)
    in_order = [lengths == sorted(lengths, reverse=True) for lengths, _ in drawn]
    assert all(in_order) is longest_first


class Counter(Reference):
    """A reference that also counts its steps."""

    def __call__(self, inputs: Any, states: Any) -> RunResult:
        x = inputs["x"]
        count = states.get("count", np.zeros(len(x), np.int64)) + x.shape[1]
        return RunResult({"": x}, {"h": x[:, -1], "count": count})


def test_a_state_that_counts_leaves_room_below_its_limit():
    """States are reached in seven steps, in one where only that leaves room, or are initial."""
    count = Port("count_in", "int64", ("batch",), limit=10), Port("count_out", "int64", ("batch",))
    known = contract()
    graph = known.graphs["sequence"]
    graph = Graph((*graph.inputs, count[0]), (*graph.outputs, count[1]))
    states = (*known.states, State("count", "count_in", "count_out"))
    counting = replace(known, graphs={"sequence": graph}, states=states)
    drawn = replace(sampler(ports=counting), reference=Counter())
    assert [drawn.draw_states(2, steps)["count"].tolist() for steps in (3, 4, 9, 10)] == [
        *([7, 7], [1, 1], [1, 1], [0, 0]),
    ]
