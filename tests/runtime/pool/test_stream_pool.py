"""Many independent streams, stepped as one batch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgernn.runtime.pool import pool_runner
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
def test_streams_of_a_layer(any_model: Any, actions: list[Any], seed: int) -> None:
    """The same with ids, and states whose batch is not the first axis."""
    follow(Twins(any_model, seed), actions)
