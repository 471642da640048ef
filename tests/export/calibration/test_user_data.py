"""Data of the user's: its sizes, and the ids that an output should score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgernn.contract import Contract, Graph, Port
from edgernn.export.calibration.user_data import UserData

IDS = np.array([[1, 2, 0]])


def contract(scores: int, **changes: Any) -> Contract:
    """A model of three ids with so many scores."""
    ids = Port("ids", "int64", ("batch", "sequence"), limit=3)
    output = Port("output", "float32", ("batch", "sequence", scores))
    whole = Contract("f", "s", (), True, {"sequence": Graph((ids,), (output,))})
    return replace(whole, **changes)


def test_sizes_are_those_of_the_arrays():
    """Batch and sequence are found by the names of the axes."""
    user = UserData.of(contract(3), "arrays", {"ids": IDS}, {})
    assert (user.batch, user.steps) == (1, 3)


def test_scores_of_all_ids_are_of_the_next_one():
    """Each step but the last one has an id that follows."""
    user = UserData.of(contract(3), "arrays", {"ids": IDS}, {})
    following = user.next_ids(contract(3), "output")
    assert following is not None
    np.testing.assert_array_equal(following, [[2], [0]])


def test_other_outputs_score_no_ids():
    """An output of another size, or that comes later, is none of scores of the next id."""
    user = UserData.of(contract(3), "arrays", {"ids": IDS}, {})
    assert user.next_ids(contract(4), "output") is None
    assert user.next_ids(contract(3, delays={"output": 1}), "output") is None
    short = UserData.of(contract(3), "arrays", {"ids": IDS[:, :1]}, {})
    assert short.next_ids(contract(3), "output") is None


def test_nothing_follows_the_end_of_a_sequence():
    """An input of lengths says where each sequence ends; negative ids are not counted."""
    model = contract(3)
    graph = model.graphs["sequence"]
    ports = (*graph.inputs, Port("lengths", "int64", ("batch",)))
    model = replace(model, lengths=("lengths",), graphs={"sequence": replace(graph, inputs=ports)})

    def following(*lengths: int) -> Any:
        data = {"ids": IDS.repeat(len(lengths), 0), "lengths": np.array(lengths)}
        return UserData.of(model, "arrays", data, {}).next_ids(model, "output")

    np.testing.assert_array_equal(following(3, 2), [[2, 2], [0, -1]])
    assert following(1, 1) is None
