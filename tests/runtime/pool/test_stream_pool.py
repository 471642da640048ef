"""Many independent streams, stepped as one batch."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgernn.facts import state_bytes
from edgernn.runtime import Model
from edgernn.runtime.pool import pool_runner
from edgernn.runtime.pool.device_states import DeviceStates
from tests.nets.framed import Framed
from tests.runtime.framed_streams import FRAMINGS
from tests.runtime.pool.twins import Twins

ACTIONS = ("open", "close", "step", "step_rows", "step_all", "feed", "reset", "finish", "move")
SOME = st.lists(st.integers(0, 99), min_size=1, max_size=9)
SEQUENCES = st.lists(st.tuples(st.sampled_from(ACTIONS), SOME), min_size=3, max_size=14)
MODELS = {
    **FRAMINGS,
    "limited": Framed(3, 1, 2, 0, rows=10),
    "gain": Framed(4, 2, 2, 2, gain=True),
}
GRAPHS = ("both", "sequence", "step", "constant")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few streams fill several blocks."""
    monkeypatch.setattr(pool_runner, "_HOST_ROWS", 3)


def follow(twins: Twins, actions: list[tuple[str, list[int]]]) -> None:
    """Do actions with streams that numbers choose, and check the pool after each."""
    twins.open(5)
    for action, numbers in actions:
        pairs = [twins.pairs[i] for i in dict.fromkeys(n % len(twins.pairs) for n in numbers)]
        if action == "open":
            twins.open(len(numbers))
        elif action == "step_all":
            twins.step_rows(None)
        else:
            getattr(twins, action)(pairs)
        if not twins.pairs:
            twins.open(1)
        twins.check()


@pytest.mark.parametrize(
    ("name", "graphs"),
    [("valid", "both"), ("centred", "step"), ("centred-1", "constant"), ("far", "sequence"),
     ("causal-1", "step"), ("limited", "both"), ("gain", "both"), ("valid-1", "sequence")],
)  # fmt: skip
@given(actions=SEQUENCES, seed=st.integers(0, 99))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_stream_is_as_if_alone(
    load_framed: Any, name: str, graphs: str, actions: list[Any], seed: int
) -> None:
    """Whatever is opened, stepped, fed, finished and closed, each has the numbers of its own."""
    follow(Twins(load_framed(MODELS[name], graphs), seed), actions)


@given(actions=SEQUENCES, seed=st.integers(0, 99))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("name", ["centred", "limited"])
def test_streams_on_a_device(
    load_framed: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    actions: list[Any],
    seed: int,
) -> None:
    """The same with blocks that are on a device, and copied where single rows change."""
    monkeypatch.setattr(pool_runner, "HOST", None)
    monkeypatch.setattr(pool_runner, "_DEVICE_ROWS", 3)
    twins = Twins(load_framed(MODELS[name]), seed)
    assert isinstance(twins.pool._states, DeviceStates)
    follow(twins, actions)


@given(actions=SEQUENCES, seed=st.integers(0, 99))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_streams_of_a_layer(any_model: Any, actions: list[Any], seed: int) -> None:
    """The same with ids, and states whose batch is not the first axis."""
    follow(Twins(any_model, seed), actions)


def test_rows_follow_the_streams(model: Model) -> None:
    """The last stream takes the row of one that is closed, and arrays are in that order."""
    pool = model.pool()
    a, b, c, d = (pool.open() for _ in range(4))
    pool.close(b)
    assert pool.streams == (a, d, c)
    assert [stream.row for stream in (a, d, c)] == [0, 1, 2]
    rows = pool.step([1, 2, 3])
    expected = {stream: model.stream().step([1 + stream.row]) for stream in pool.streams}
    for stream in pool.streams:
        np.testing.assert_allclose(rows[stream.row], expected[stream][0], rtol=0, atol=1e-6)


def test_blocks_end_streams(model: Model) -> None:
    """A stream is closed at the end of its block, and a pool without streams is empty again."""
    with model.pool() as pool:
        with pool.open() as stream:
            pool.step({stream: 1})
        assert stream.closed
        assert len(pool) == 0
        kept = pool.open()
    assert kept.closed
    assert pool.streams == ()
    assert pool.step({pool.open(): 1})


def test_the_memory_of_many_streams(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is little more than the states, also while streams come and go and a pool grows."""
    monkeypatch.setattr(pool_runner, "_HOST_ROWS", 256)
    pool = model.pool()
    for _ in range(10_000):
        pool.open()
    states = 10_000 * state_bytes(model.contract)
    ids = np.zeros(10_000, np.int64)
    pool.step(ids)
    tracemalloc.start()
    for _ in range(20):
        for stream in pool.streams[:50]:
            stream.close()
            pool.step({pool.open(): 1})
        pool.step(ids)
        del stream
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pool.nbytes <= 1.2 * states
    assert grown < 0.1 * states


def test_threads_share_a_pool(model: Model) -> None:
    """Threads open, step and close streams of one pool at the same time."""
    pool = model.pool()

    def run(seed: int) -> bool:
        random = np.random.default_rng(seed)
        for _ in range(20):
            with pool.open() as stream:
                ids = random.integers(0, 5, 4)
                found = [pool.step({stream: one})[stream] for one in ids]
            alone = model.stream().feed(ids[:, None])[:, 0]
            np.testing.assert_allclose(found, alone, rtol=0, atol=1e-6)
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(run, range(4)))
    assert len(pool) == 0


def test_what_a_pool_shows(model: Model) -> None:
    """Its streams, states and memory; the facts of a stream are its row and its steps."""
    pool = model.pool(capacity=2)
    stream = pool.open()
    pool.step({stream: 1})
    assert repr(pool) == (
        "StreamPool of demo\n"
        "provider  cpu\n"
        "streams   1 open of at most 2\n"
        "state     h_in: float32[1, batch, 4]\n"
        "state     c_in: float32[1, batch, 4]\n"
        f"memory    {pool.nbytes} bytes for 32 bytes of state"
    )
    assert repr(stream) == "PoolStream of demo\nrow    0\nsteps  1 so far"
