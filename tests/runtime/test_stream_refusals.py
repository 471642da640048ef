"""Batches and states that a stream refuses."""

from __future__ import annotations

import numpy as np
import pytest

import edgernn
from edgernn.errors import InputError, StateError, UnsupportedModelError
from tests.nets import embedded_lstm
from tests.runtime.test_stream import TOLERANCE, ids


def test_a_constant_batch_is_the_only_one(tmp_path):
    """A model exported for a batch of 2 refuses other batches by number and runs that one."""
    model = edgernn.load(
        embedded_lstm.write_lstm(tmp_path / "two.edgernn", embedded_lstm.contract(batch=2))
    )
    with pytest.raises(InputError) as caught:
        model.stream()
    assert str(caught.value) == (
        "`batch` is 1, but this model was exported for a batch of 2 only "
        "(`h_in: float32[1, 2, 4]`). Run 2 sequences at a time."
    )
    tokens = ids(4, 2)
    stream = model.stream(batch=2)
    stepped = np.stack([stream.step(row) for row in tokens])
    np.testing.assert_allclose(stepped, embedded_lstm.reference(tokens)[0], atol=TOLERANCE)
    np.testing.assert_allclose(model(tokens), stepped, atol=TOLERANCE)


def test_a_batch_of_none_is_refused(model):
    """A stream has at least one sequence."""
    with pytest.raises(InputError) as caught:
        model.stream(batch=0)
    assert str(caught.value) == "`batch` is 0; a stream runs at least 1 sequence."


def test_a_state_that_is_not_carried_makes_no_stream(tmp_path):
    """Without carry, stream() says why and what to do; whole sequences run."""
    promise = embedded_lstm.contract(
        kinds=("sequence",), carry=False, no_step="it is bidirectional."
    )
    model = edgernn.load(embedded_lstm.write_lstm(tmp_path / "m.edgernn", promise))
    with pytest.raises(UnsupportedModelError) as caught:
        model.stream()
    assert str(caught.value) == (
        "`demo` cannot run as a stream: it is bidirectional. Give it whole sequences: model(x)."
    )
    assert model(ids(3, 1)).shape == (3, 1, embedded_lstm.HIDDEN)


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        ({"h": np.zeros((1, 1, 4))}, "State `c` is missing; give all states: `h`, `c`."),
        ({"x": 0}, "`x` is not a state of this model; its states are `h`, `c`."),
        (
            {"h": np.zeros((1, 2, 4)), "c": np.zeros((1, 1, 4))},
            "State `h` must have shape (1, 1, 4) for batch 1, `h_in: float32[1, batch, 4]`; "
            "it came with shape (1, 2, 4).",
        ),
        (
            {"h": np.full((1, 1, 4), np.nan), "c": np.zeros((1, 1, 4))},
            "State `h` has 4 values that are NaN or infinite; a recurrence never recovers from "
            "them. Restore a finite state, or reset.",
        ),
        (
            {"h": np.zeros((1, 1, 4), np.int64), "c": np.zeros((1, 1, 4))},
            "`h_in: float32[1, batch, 4]` came as int64, but takes floats only. If the values "
            "are floats, convert them with `.astype('float32')`.",
        ),
        (
            {"h": np.zeros((1, 1, 4)), "c": np.full((1, 1, 4), 1e300)},
            "`c_in: float32[1, batch, 4]` came with numbers above 3.4e+38, the largest float32.",
        ),
    ],
    ids=["missing", "unknown", "shape", "nan", "dtype", "overflow"],
)
def test_a_wrong_state_is_refused(model, snapshot, message):
    """Both restore and run name what is wrong with a state, and the stream keeps its state."""
    stream = model.stream()
    stream.step([1])
    before = stream.snapshot()
    with pytest.raises(StateError) as caught:
        stream.restore(snapshot)
    assert str(caught.value) == message
    with pytest.raises(StateError) as caught:
        model.run({"tokens": [[1]]}, state=snapshot)
    assert str(caught.value) == message
    np.testing.assert_array_equal(stream.snapshot()["h"], before["h"])
