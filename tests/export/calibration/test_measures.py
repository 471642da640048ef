"""Measures of quality, each against numbers computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgernn.contract import Contract, Graph, Port
from edgernn.errors import InputError, ParityError
from edgernn.export.calibration.measures import measure, relative_loss
from edgernn.export.calibration.user_data import UserData

IDS = Port("ids", "int64", ("batch", "sequence"), limit=3)
SCORES = Port("output", "float32", ("batch", "sequence", 3))
CONTRACT = Contract("f", "s", (), True, {"sequence": Graph((IDS,), (SCORES,))})
RIGHT = np.log([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [1.0, 1.0, 1.0]]])
EVEN = np.zeros((1, 3, 3))


def user(**expected: Any) -> UserData:
    """Return ids 1, 0, 2 with what is expected."""
    return UserData.of(CONTRACT, "arrays", {"ids": np.array([[1, 0, 2]])}, expected)


def measured(data: UserData, before: Any, after: Any) -> dict[str, tuple[float, float]]:
    """Return the measures by name."""
    found = measure(CONTRACT, data, {"output": 1}, {"output": before}, {"output": after})
    return {one.name: (one.before, one.after) for one in found}


def test_perplexity_and_accuracy_of_the_next_id():
    """The model gives the ids 0 and 2, which follow, a half each; even scores a third."""
    found = measured(user(), RIGHT, EVEN)
    assert found["perplexity"] == pytest.approx((2.0, 3.0))
    assert found["accuracy"] == (1.0, 0.5)


def test_probabilities_are_scores_too():
    """What adds up to 1 is taken as it is."""
    scores = np.full((1, 3, 3), 0.25)
    scores[0, 0, 0] = scores[0, 1, 2] = scores[0, 2, 0] = 0.5
    assert measured(user(), scores, scores)["perplexity"] == pytest.approx((2.0, 2.0))


def test_expected_ids_and_numbers():
    """Negative ids are not counted; numbers are held against numbers."""
    found = measured(user(output=np.array([[0, -100, -1]])), RIGHT, EVEN)
    assert found["perplexity"] == pytest.approx((2.0, 3.0))
    error = measured(user(output=np.ones((1, 3, 3))), EVEN, EVEN + 2)
    assert error == {"error": (1.0, 1.0)}


def test_without_anything_expected_the_difference_counts():
    """It is relative to the size of the outputs."""
    one = UserData.of(CONTRACT, "arrays", {"ids": np.array([[1]])}, {})
    found = measured(one, np.full((1, 1, 3), 2.0), np.full((1, 1, 3), 2.5))
    assert found == {"difference": (0.0, 0.25)}


def test_the_loss_is_relative():
    """It is that of the first measure, in percent."""
    even = measure(CONTRACT, user(), {"output": 1}, {"output": RIGHT}, {"output": EVEN})
    assert relative_loss(even, user()) == pytest.approx(50.0)
    data = user(output=np.full((1, 3, 3), 4.0))
    exact, off = np.full((1, 3, 3), 4.0), np.full((1, 3, 3), 5.0)
    found = measure(CONTRACT, data, {"output": 1}, {"output": exact}, {"output": off})
    assert relative_loss(found, data) == pytest.approx(25.0)
    one = UserData.of(CONTRACT, "arrays", {"ids": np.array([[1]])}, {})
    found = measure(CONTRACT, one, {"output": 1}, {"output": exact}, {"output": off})
    assert relative_loss(found, one) == pytest.approx(25.0)


def test_what_is_expected_must_fit():
    """Shapes and ids name the output."""
    with pytest.raises(InputError) as caught:
        measured(user(output=np.ones((3, 3))), EVEN, EVEN)
    assert str(caught.value) == (
        "The calibration data have (3, 3) for the output `output`; the model gives (1, 3, 3). "
        "Give as many values as the output has."
    )
    with pytest.raises(InputError) as caught:
        measured(user(output=np.array([[0, 1, 3]])), EVEN, EVEN)
    assert str(caught.value) == (
        "The calibration data expect 3 of `output`, which has scores for ids 0 to 2. Give ids in "
        "that range, and negative ones where none is expected."
    )


def test_outputs_that_overflow_are_no_measure():
    """NaN where there was none is refused, also beside infinite scores of a mask."""
    masked = np.where(np.arange(3) == 0, -math.inf, EVEN)
    for before, after in ((EVEN, EVEN * math.nan), (masked, masked * math.nan)):
        with pytest.raises(ParityError) as caught:
            measured(user(), before, after)
        assert str(caught.value) == (
            "`output` is NaN or infinite on the calibration data (arrays), which it is not in "
            "float32. Nothing was written. Choose another precision."
        )


def test_flags_and_unsigned_integers_differ_like_numbers():
    """A difference of flags is 0 or 1, and 1 - 2 is -1."""
    one = UserData.of(CONTRACT, "arrays", {"ids": np.array([[1]])}, {})
    flags = np.array([True, True, True, True])
    found = measured(one, flags, np.array([True, True, True, False]))
    assert found == {"difference": (0.0, 0.5)}
    small = np.full(4, 2, np.uint8)
    assert measured(one, small, small - np.uint8(1)) == {"difference": (0.0, 0.5)}
    assert measured(user(output=flags), flags, ~flags) == {"error": (0.0, 1.0)}
