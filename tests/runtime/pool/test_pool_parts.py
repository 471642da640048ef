"""The parts of a call, and calls that are interrupted or fail."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ProviderError, StateError
from edgernn.runtime import Model, StreamPool
from edgernn.runtime.pool import pool_runner
from edgernn.runtime.pool.batch_step import BatchStep
from edgernn.runtime.pool.pool_parts import parts_of

COUNT = 5
IDS = np.arange(COUNT) % 3


@given(opened=st.integers(1, 20), size=st.integers(1, 6), pads=st.booleans(), data=st.data())
def test_parts(opened: int, size: int, pads: bool, data: Any) -> None:
    """Each row is in one part; a part is a whole block or at most as many rows as one."""
    rows = np.array(
        data.draw(st.lists(st.integers(0, opened - 1), min_size=1, unique=True)), np.int64
    )
    whole = opened if pads else opened - opened % size
    parts = parts_of(rows, size, whole)
    assert sorted(np.concatenate([part.rows for part in parts])) == sorted(rows)
    for part in parts:
        np.testing.assert_array_equal(rows[part.entries], part.rows)
        assert 1 <= len(part.rows) <= size
        if part.block is not None:
            first = part.block * size
            np.testing.assert_array_equal(part.rows, np.arange(first, min(first + size, whole)))
    in_place = sum(part.block is not None for part in parts)
    blocks = [range(first, min(first + size, whole)) for first in range(0, whole, size)]
    assert in_place == sum(set(block) <= set(rows.tolist()) for block in blocks)
    assert len(parts) - in_place <= -(-len(rows) // size)


@pytest.fixture
def pool(model: Model, monkeypatch: pytest.MonkeyPatch) -> StreamPool:
    """A pool of two blocks and a half that has made a step."""
    monkeypatch.setattr(pool_runner, "_HOST_ROWS", 2)
    pool = model.pool()
    for _ in range(COUNT):
        pool.open()
    pool.step(IDS)
    return pool


def states(pool: StreamPool) -> list[Any]:
    return [(stream.row, stream.steps, stream.snapshot()) for stream in pool.streams]


def interrupted(call: Callable[[], Any], place: int) -> bool:
    """Run a call, and interrupt it where Python runs signal handlers: at calls and after them.

    Args:
        call: The call.
        place: Which of these places in the code of the pool.

    Returns:
        Whether it got there.
    """
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        code, file = frame.f_code, frame.f_code.co_filename
        if code.co_flags & inspect.CO_GENERATOR:
            return  # closing one is a call, too
        if event in ("call", "c_return") and "/pool/" in file and "/tests/" not in file:
            count += 1
            if count == place:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize("action", ["step", "each", "feed", "reset", "restore"])
def test_an_interrupted_call_changes_all_streams_or_none(
    model: Model, pool: StreamPool, action: str
) -> None:
    """Wherever it is interrupted, the pool goes on from before the call or from after it."""
    saved = pool.streams[4].snapshot()
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: pool.step(IDS),
        "each": lambda: pool.step(dict(zip(pool.streams[1:], IDS[1:], strict=True))),
        "feed": lambda: pool.feed({pool.streams[0]: [1], pool.streams[3]: [1, 2]}),
        "reset": lambda: pool.streams[1].reset(),
        "restore": lambda: pool.streams[1].restore(saved),
    }
    call, start, seen = calls[action], states(pool), set()
    call()
    after = states(pool)
    for place in range(1, 4000, 5 if action == "feed" else 1):
        for stream, (_, _, state) in zip(pool.streams, start, strict=True):
            stream.reset()
            stream.restore(state)
        pool._states.hops[:COUNT] = [steps for _, steps, _ in start]
        stopped = interrupted(call, place)
        found = states(pool)
        seen.add(_same(found, start) - _same(found, after))
        assert _same(found, start) or _same(found, after), place
        if not stopped:
            break
    assert not stopped
    assert seen >= {1, -1} or _same(start, after)


def _same(found: list[Any], expected: list[Any]) -> bool:
    try:
        np.testing.assert_equal(found, expected)
    except AssertionError:
        return False
    return True


def test_an_interrupted_close_closes_or_not(pool: StreamPool) -> None:
    """The stream is closed with the last in its place, or nothing has changed."""
    for place in range(1, 200):
        while len(pool) < COUNT:
            pool.open()
        first, second, *_, last = pool.streams
        before = states(pool)
        stopped = interrupted(partial(pool.close, second), place)
        if second.closed:
            assert pool.streams[:2] == (first, last)
            assert (last.row, len(pool)) == (1, COUNT - 1)
            np.testing.assert_equal(last.snapshot(), before[-1][2])
        else:
            np.testing.assert_equal(states(pool), before)
        if not stopped:
            break
    assert not stopped


def test_a_failure_of_the_first_part_changes_nothing(
    pool: StreamPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of a stream."""
    before = states(pool)
    monkeypatch.setattr(BatchStep, "run", _failing(0, BatchStep.run))
    with pytest.raises(ProviderError) as caught:
        pool.step(IDS)
    assert str(caught.value) == "`cpu` failed in the step graph: full. No state was changed."
    np.testing.assert_equal(states(pool), before)


def test_a_failure_of_a_later_part_says_which_streams_have_stepped(
    pool: StreamPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks have made the step, the fifth stream has not."""
    before = states(pool)
    with monkeypatch.context() as patch:
        patch.setattr(BatchStep, "run", _failing(2, BatchStep.run))
        with pytest.raises(ProviderError) as caught:
            pool.step(IDS)
    assert str(caught.value) == (
        "`cpu` failed in the step graph: full. 4 of the 5 streams have made this step, and the "
        "others have not changed: see `stream.steps`."
    )
    assert [stream.steps for stream in pool.streams] == [2, 2, 2, 2, 1]
    np.testing.assert_equal(pool.streams[4].snapshot(), before[4][2])


def _failing(after: int, run: Any) -> Any:
    """Return a run of a step that fails after some calls."""
    calls = iter(range(after))

    def fail(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise RuntimeError("full.")
        return run(*arguments)

    return fail


def test_a_call_within_a_call_is_refused(pool: StreamPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that runs in the middle of a step cannot move its streams."""
    messages = []

    def run(step: BatchStep, *arguments: Any) -> Any:
        with pytest.raises(StateError) as caught:
            pool.open()
        messages.append(str(caught.value))
        return original(step, *arguments)

    original = BatchStep.run
    monkeypatch.setattr(BatchStep, "run", run)
    pool.step({pool.streams[0]: 1})
    assert messages == [
        "The pool was called while a call of it runs in the same thread, as from a signal handler "
        "or `__del__`. Call it after the other call has returned."
    ]
    assert pool.open().row == COUNT
