"""Prompts side by side: what their scores are, and which models run them together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgernn.contract import Contract
from edgernn.runtime import Model
from edgernn.runtime.generation.prompt_batch import PromptBatch, largest_batch
from edgernn.runtime.generation.text_ports import TextPorts
from tests.nets import embedded_lstm
from tests.runtime.generation.conftest import LETTERS

IDS = np.array([[0, 1, 2], [3, 3, 0], [2, 1, 1]])


def batch_of(model: Model, rows: list[int]) -> PromptBatch:
    """Return a batch at the initial state."""
    return PromptBatch(model, TextPorts.of(model.contract), rows, {})


def test_scores(letters: Model) -> None:
    """The scores are those of the last step, one row per prompt."""
    batch = batch_of(letters, [7, 8, 9])
    batch.feed(IDS)
    whole = embedded_lstm.reference(IDS.T)[0]
    np.testing.assert_allclose(batch.scores, whole[-1], atol=1e-6)
    batch.step([1, 2, 3])
    longer = embedded_lstm.reference(np.vstack([IDS.T, [1, 2, 3]]))[0]
    np.testing.assert_allclose(batch.scores, longer[-1], atol=1e-6)


def test_parts(letters: Model) -> None:
    """Parts of a batch go on on their own, and joined again in any order."""
    batch = batch_of(letters, [7, 8, 9])
    batch.feed(IDS)
    joined = PromptBatch.join([batch.select([2]), batch.select([0, 1])])
    assert joined.rows == [9, 7, 8]
    np.testing.assert_array_equal(joined.scores, batch.scores[[2, 0, 1]])
    joined.step([3, 1, 2])
    batch.step([1, 2, 3])
    np.testing.assert_allclose(joined.scores, batch.scores[[2, 0, 1]], atol=1e-6)


def test_observed(letters: Model) -> None:
    """Runs are observed with the axes of the sequence graph."""
    shapes = []
    batch = batch_of(letters, [0])
    batch.observe = lambda inputs, outputs: shapes.append(
        (inputs["tokens"].shape, outputs["output"].shape)
    )
    batch.feed(IDS[:1])
    batch.step([1])
    assert shapes == [((3, 1), (3, 1, 4)), ((1, 1), (1, 1, 4))]


def contract(**changes: object) -> Contract:
    """Return the contract of the model on letters."""
    return replace(embedded_lstm.contract(vocabulary=LETTERS), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("promise", "largest"),
    [
        (contract(most={"batch": 5}), 5),
        (contract(divisible=False), 1),
        (embedded_lstm.contract(batch=1, vocabulary=LETTERS), 1),
    ],
    ids=["bounded", "a call is a chunk", "constant"],
)
def test_largest_batch(promise: Contract, largest: int) -> None:
    """Prompts run together where each one's numbers are those of running alone."""
    assert largest_batch(promise, TextPorts.of(promise)) == largest
