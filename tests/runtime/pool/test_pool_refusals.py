"""What a pool refuses, by name, without a change of any stream."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError, StateError, UnsupportedModelError
from edgernn.runtime import Model, StreamPool
from edgernn.runtime.pool import pool_runner
from tests.nets import embedded_lstm
from tests.nets.framed import Framed
from tests.runtime.framed_streams import FRAMINGS

IDS = np.array([1, 2, 3])


@pytest.fixture
def pool(model: Model) -> StreamPool:
    """A pool of three streams that have made a step, two of them in one block."""
    pool = model.pool()
    for _ in range(3):
        pool.open()
    pool.step(IDS)
    return pool


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three streams fill two blocks."""
    monkeypatch.setattr(pool_runner, "_HOST_ROWS", 2)


def refused(pool: StreamPool, call: Callable[[], Any]) -> str:
    """Return the message of a call that is refused, after checking that no stream has changed."""
    before = [(stream.steps, stream.snapshot()) for stream in pool.streams]
    with pytest.raises((InputError, StateError)) as caught:
        call()
    np.testing.assert_equal([(one.steps, one.snapshot()) for one in pool.streams], before)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_a_closed_stream(pool: StreamPool) -> None:
    """It takes no step, has no state, and can be replaced."""
    first, second, _ = pool.streams
    pool.close(first)
    for call in (first.snapshot, first.reset, lambda: pool.close(first), lambda: first.steps):
        message = refused(pool, call)
        assert message == "StateError: The stream is closed. Open another: pool.open()."
    closed = refused(pool, lambda: pool.step([1, 2], [second, first]))
    assert closed == "StateError: Stream 1 of the call is closed. Open another: pool.open()."
    first.close()  # closing once more by itself is nothing
    assert first.closed
    assert repr(first).endswith("closed  yes")
    assert pool.step({second: 1, pool.open(): 2})


def test_a_stream_that_came_twice(pool: StreamPool) -> None:
    """It is stepped once in a call."""
    first = pool.streams[0]
    assert refused(pool, lambda: pool.step([1, 2], [first, first])) == (
        "InputError: `pool.streams[0]` came twice. Step each stream once in a call; run several "
        "steps of it with pool.feed({stream: chunk})."
    )
    assert pool.feed({first: [1, 2]})[first].shape == (2, embedded_lstm.HIDDEN)


def test_a_stream_of_another_pool(pool: StreamPool, model: Model) -> None:
    """It can be moved."""
    other = model.pool().open()
    assert refused(pool, lambda: pool.step({other: 1})) == (
        "InputError: Stream 0 of the call is of another pool. Move it to this one: "
        "pool.open(stream.snapshot())."
    )
    assert pool.step({pool.open(other.snapshot()): 1})


def test_what_is_not_a_stream(pool: StreamPool) -> None:
    """Only what `open` returned is one."""
    first = pool.streams[0]
    mixed: Any = {first: 1, "tokens": 2}
    assert refused(pool, lambda: pool.step(mixed)) == (
        "InputError: Stream 1 of the call came as str. Give what pool.open() returned."
    )
    assert refused(pool, lambda: pool.step([1], first)) == (  # type: ignore[call-overload]
        "InputError: `streams` came as one stream. Give a list: [stream]."
    )
    assert refused(pool, lambda: pool.feed([1])) == (  # type: ignore[arg-type]
        "InputError: `inputs` came as list. Give a dict: {stream: chunk}."
    )


def test_a_foreign_shape(pool: StreamPool) -> None:
    """The message has the shape that one stream takes, and which stream it was."""
    first, second, _ = pool.streams
    assert refused(pool, lambda: pool.step({first: 1, second: [1]})) == (
        "InputError: `pool.streams[1]`: `tokens` came with shape (1,) for one stream, which takes "
        "`tokens: int64[]`. Give that shape, without the axis `batch`."
    )
    assert refused(pool, lambda: pool.step({second: 5})) == (
        "InputError: `pool.streams[1]`: `tokens: int64[batch]` has id 5 at (0,); the model knows "
        "ids 0 to 4."
    )
    assert refused(pool, lambda: pool.step([1, 2])) == (
        "InputError: `tokens: int64[batch]` came with 2 rows for 3 streams. Give one row for each "
        "stream, in the order of the streams."
    )
    assert refused(pool, lambda: pool.feed({first: [[1]]})) == (
        "InputError: `pool.streams[0]`: `tokens` came with shape (1, 1) for one stream, which "
        "takes `tokens: int64[sequence]`. Give that shape, without the axis `batch`."
    )


class Crowd(nn.Module):
    """A GRU over the mean of a number of points per step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Map (batch, sequence, points, 3) to (batch, sequence, 4)."""
        output: torch.Tensor = self.rnn(points.mean(2))[0]
        return output


def test_different_sizes_in_one_step(folder: Path) -> None:
    """A step takes one size of every other axis; `feed` takes a size for each stream."""
    torch.manual_seed(0)
    path = folder / "crowd.edgernn"
    edgernn.export_model(Crowd().eval(), path, inputs=(torch.randn(2, 3, 5, 3),), verify=False)
    pool = edgernn.load(path).pool()
    first, second, third = (pool.open() for _ in range(3))
    small, large = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    assert refused(pool, lambda: pool.step({second: small, first: small, third: large})) == (
        "InputError: `pool.streams[2]`: `points` came with shape (4, 3), and with (2, 3) for "
        "`pool.streams[1]`. A step runs all streams as one batch: give one shape, or step these "
        "streams in another call."
    )
    fed = pool.feed({first: small[None], second: large[None]})
    np.testing.assert_allclose(fed[first], fed[second], rtol=0, atol=1e-6)


def test_an_empty_call(pool: StreamPool, model: Model) -> None:
    """No stream by name is nothing to do; an array of no stream is a mistake."""
    assert (pool.step({}), pool.feed({})) == ({}, {})
    assert refused(pool, lambda: model.pool().step(IDS)) == (
        "InputError: No stream came. Open one first: stream = pool.open()."
    )


def test_a_full_pool(model: Model) -> None:
    """It has room again after a stream was closed."""
    pool = model.pool(capacity=3)
    streams = [pool.open() for _ in range(3)]
    assert refused(pool, pool.open) == (
        "StateError: The pool is full: its capacity is 3. Close a stream, or create the pool with "
        "a larger capacity, or without one: it then grows."
    )
    pool.close(streams[0])
    assert pool.open().row == 2
    with pytest.raises(InputError) as caught:
        model.pool(capacity=0)
    assert str(caught.value) == "`capacity` is 0; it must be an integer of at least 1, or None."


def test_a_snapshot_that_does_not_fit(pool: StreamPool) -> None:
    """Neither is a stream opened, nor does one change."""
    expected = "StateError: State `h` is missing; give all states: `h`, `c`."
    assert refused(pool, lambda: pool.open({})) == expected
    assert refused(pool, lambda: pool.streams[0].restore({})) == expected
    assert len(pool) == 3


def test_inputs_without_a_name(leaky: Model) -> None:
    """A model with several inputs takes them by name."""
    pool = leaky.pool()
    stream = pool.open()
    names = [str(port) for port in leaky.contract.data_inputs("step")]
    assert refused(pool, lambda: pool.step({stream: [1.0]})) == (
        "InputError: `pool.streams[0]`: One value came without a name, but the model takes "
        f"`{names[0]}`, `{names[1]}`. Give each by name: {{name: value}}."
    )


def test_a_rest_and_an_end(load_framed: Any) -> None:
    """A step after half a hop, or after the end, is refused as in a stream."""
    pool = load_framed(FRAMINGS["centred"]).pool()
    stream, other = pool.open(), pool.open()
    hop = np.zeros(2, np.float32)
    pool.feed({stream: hop[:1]})
    assert refused(pool, lambda: pool.step({other: hop, stream: hop})) == (
        "InputError: `pool.streams[0]` keeps a rest of 1 step from `feed`, which comes before this "
        "hop. Feed it as well, pool.feed({stream: x}), or start a new sequence with stream.reset()."
    )
    stream.reset()
    stream.finish()
    for call in (lambda: pool.step([hop, hop]), lambda: pool.feed({stream: hop}), stream.finish):
        assert refused(pool, call) == (
            "InputError: `pool.streams[0]` has finished. Start a new sequence with stream.reset(), "
            "or continue from a snapshot with stream.restore(snapshot)."
        )
    stream.reset()
    assert pool.step({other: hop, stream: hop})


def test_the_end_of_a_table(load_framed: Any) -> None:
    """A stream without a position left stops the call before any other is stepped."""
    pool = load_framed(Framed(3, 1, 2, 0, rows=10)).pool()
    stream, other = pool.open(), pool.open()
    pool.feed({stream: np.zeros(9, np.float32)})
    assert refused(pool, lambda: pool.feed({other: [0.0], stream: [0.0, 0.0]})) == (
        "InputError: `pool.streams[0]`: state `position` counts the steps of a sequence up to 10, "
        "the end of a table of the model; 1 of them is left, and 2 came. Start a new sequence with "
        "stream.reset()."
    )
    assert pool.step({other: 0.0, stream: 0.0})


def test_marks_that_an_array_cannot_hold(load_framed: Any) -> None:
    """Integers that are not defined yet have no place in an array of all streams."""
    pool = load_framed(FRAMINGS["valid"]).pool()
    steps = pool._sequences._steps
    steps["last"] = replace(steps["last"], dtype="int64")
    pool.open()
    assert refused(pool, lambda: pool.step(np.zeros((1, 2), np.float32))) == (
        "InputError: `last: int64[batch, 3]` is not defined yet for 1 of the streams, which an "
        "array of all streams can only say with NaN. Step them by name: pool.step({stream: x})."
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"batch": 2},
            "it was exported for a batch of 2 only (`h_in: float32[1, 2, 4]`)",
        ),
        ({"least": {"batch": 2}}, "it takes at least 2 sequences at once"),
    ],
)
def test_models_that_have_no_pool(model: Model, changes: Any, reason: str) -> None:
    """They are refused when the pool is created."""
    sessions = copy.copy(model._sessions)
    sessions.contract = embedded_lstm.contract(**changes)
    with pytest.raises(UnsupportedModelError) as caught:
        StreamPool(sessions)
    assert str(caught.value) == (
        "`demo` cannot run in a pool, which steps many streams as one batch: "
        f"{reason}. Run each sequence by itself, model.stream(), or export the model with a "
        "dynamic `batch` of any size."
    )


def test_copies(pool: StreamPool) -> None:
    """Neither a pool nor its streams can be copied; the messages say what to do."""
    with pytest.raises(TypeError) as caught:
        copy.deepcopy(pool)
    assert str(caught.value) == (
        "A pool cannot be copied or pickled: it holds sessions of ONNX Runtime. Pickle "
        "stream.snapshot() of its streams, and open them in another pool: pool.open(snapshot)."
    )
    with pytest.raises(TypeError) as caught:
        pickle.dumps(pool.streams[0])
    assert str(caught.value) == (
        "A stream of a pool cannot be copied or pickled. Copy it with "
        "pool.open(stream.snapshot()), and pickle stream.snapshot()."
    )
    saved = pickle.loads(pickle.dumps(pool.streams[0].snapshot()))
    np.testing.assert_equal(pool.open(saved).snapshot(), saved)
