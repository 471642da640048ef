"""What a stream of a model that takes hops refuses; it stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgernn.errors import ProviderError
from tests.nets.framed import Framed
from tests.runtime.framed_streams import FRAMINGS, GRAPHS, TOLERANCE, Runner, check, refused, signal


@pytest.mark.parametrize("graphs", ["both", "sequence", "step"])
def test_the_end_of_a_table_of_positions(load_framed: Any, graphs: str) -> None:
    """A sequence that is longer than a table is refused before the call; the state stays."""
    framed, x = Framed(4, 2, 2, 0, rows=12), signal(2, 40)
    model = load_framed(framed, graphs)
    stream = model.stream(2)
    message = (
        "State `position` counts the hops of a sequence up to 12, the end of a table of the model; "
        "{}, and {} came. Start a new sequence; a stream does with "
        "stream.reset()."
    )
    scores = stream.feed(x[:, :21])["scores"]
    before = stream.snapshot()
    assert refused(stream.feed, x[:, 21:]) == message.format("2 of them are left", 10)
    np.testing.assert_equal(stream.snapshot(), before)
    assert stream.rest == 1
    more = stream.feed(x[:, 21:24])["scores"]
    axis = 0 if graphs == "step" else 1
    joined = np.concatenate([scores, more], axis)
    joined = np.moveaxis(joined, 0, 1) if graphs == "step" else joined
    expected = framed.reference(x[:, :24])["scores"]
    np.testing.assert_allclose(joined, expected, atol=TOLERANCE)
    assert refused(stream.step, x[:, :2]) == message.format("0 of them are left", 1)
    assert refused(model.run, {"x": x}) == message.format("12 of them are left", 20)
    other = model.stream(2)
    other.restore({**before, "position": np.array([1, 11])})
    assert refused(other.feed, x[:, :3]) == message.format("1 of them is left", 2)
    stream.reset()
    np.testing.assert_array_equal(stream.feed(x[:, :21])["scores"], scores)


def test_a_position_past_its_table_is_no_position_of_a_step(load_framed: Any) -> None:
    """A whole sequence has the same bound where the model takes single steps without a delay."""
    framed = Framed(3, 1, 2, 0, rows=12)
    model, x = load_framed(framed), signal(1, 13)
    check(model(x[:, :12]), framed.reference(x[:, :12]))
    assert refused(model, x) == (
        "State `position` counts the steps of a sequence up to 12, the end of a table of the "
        "model; 12 of them are left, and 13 came. Start a new sequence; a stream does with "
        "stream.reset()."
    )


def test_positions_that_the_graph_starts_anew(load_framed: Any) -> None:
    """The count in the state itself decides: an input such as `reset` may have set it back."""
    framed, x = Framed(4, 2, 2, 0, rows=12), signal(1, 24)
    stream = load_framed(framed).stream()
    stream.feed(x)
    assert refused(stream.feed, x[:, :2]).startswith("State `position` counts the hops")
    stream._now["position"].write(np.array([3]))
    assert stream.feed(x[:, :18])["scores"].shape == (1, 9, 3)
    assert refused(stream.step, x[:, :2]).startswith("State `position` counts the hops")
    stream._now["position"].write(np.array([11]))
    assert stream.step(x[:, :2])["wave"].shape == (1, 2)


def test_padding_past_the_end_of_a_table(load_framed: Any) -> None:
    """The tail of the longest sequence is refused where its positions are past the table."""
    framed, x = Framed(4, 2, 2, 2, rows=12), signal(1, 24)
    model = load_framed(framed)
    check(model(x[:, :22]), framed.reference(x[:, :22]))
    assert refused(model, x) == (
        "State `position` counts the hops of a sequence up to 12, the end of a table of the "
        "model; 0 of them are left, and 1 came. Start a new sequence; a stream does with "
        "stream.reset()."
    )


def test_a_step_after_a_rest_is_refused(load_framed: Any) -> None:
    """A hop comes after the steps that are kept, which only `feed` can fill."""
    stream, x = load_framed(FRAMINGS["causal"]).stream(), signal(1, 3)
    stream.feed(x)
    before = stream.snapshot()
    assert refused(stream.step, x[:, :2]) == (
        "The stream keeps a rest of 1 step from `feed`, which comes before this hop. Feed it as "
        "well, stream.feed(x), or start a new sequence with stream.reset()."
    )
    np.testing.assert_equal(stream.snapshot(), before)
    assert stream.feed(x[:, :2])["scores"].shape == (1, 1, 3)


@pytest.mark.parametrize("graphs", ["both", "sequence", "step"])
def test_a_hop_has_its_number_of_steps(load_framed: Any, graphs: str) -> None:
    """A step of another size is refused, and says how to give any number."""
    stream = load_framed(FRAMINGS["causal"], graphs).stream()
    assert refused(stream.step, signal(1, 3)) == (
        "`x: float32[batch, 2]` came with 3 steps; a hop has 2. Give 2, or feed any number of "
        "steps: stream.feed(x)."
    )
    assert stream.feed(signal(1, 3))["wave"].shape == (1, 2)


def test_a_sequence_has_at_least_one_hop(load_framed: Any) -> None:
    """A whole sequence without any frame is refused; a stream takes it."""
    model = load_framed(FRAMINGS["causal"])
    assert refused(model, signal(1, 1)) == (
        "The sequence has 1 step; the model takes hops of 2 steps. Give at least one hop, or feed "
        "a stream (model.stream().feed)."
    )
    assert model.stream().feed(signal(1, 1))["scores"].shape == (1, 0, 3)


@pytest.mark.parametrize("graphs", GRAPHS)
def test_a_failed_call_leaves_everything(
    load_framed: Any, graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State, rest and counts are those before a call in which ONNX Runtime fails."""
    framed, x = FRAMINGS["centred"], signal(1, 16)
    runner = Runner(framed, load_framed(framed, graphs), 1)
    runner.feed(x[:, :3])
    before = runner.stream.snapshot()

    def fail(*arguments: Any) -> Any:
        raise ProviderError("It failed.")

    with monkeypatch.context() as patched:
        patched.setattr("edgernn.runtime.graph_runner.run_graph", fail)
        for call in (lambda: runner.feed(x), runner.finish):
            with pytest.raises(ProviderError):
                call()
    np.testing.assert_equal(runner.stream.snapshot(), before)
    assert (runner.stream.steps, runner.stream.rest) == (2, 1)
    runner.feed(x[:, 3:])
    check(runner.finish(), framed.reference(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stream.hops": np.array(-1)},
            "`stream.hops` must be an integer of at least 0, the hops of the sequence so far; it "
            "came as int64[]. Restore what `snapshot` returned.",
        ),
        (
            {"stream.hops": np.array([0.5, 1])},
            "`stream.hops` must be an integer of at least 0, the hops of the sequence so far; it "
            "came as float64[2]. Restore what `snapshot` returned.",
        ),
        (
            {"stream.rest.x": np.zeros((1, 2), np.float32)},
            "The rest in the snapshot has 2 steps; a rest is less than a hop, 2 steps. Restore "
            "what `snapshot` returned.",
        ),
        (
            {"stream.rest.x": np.zeros((2, 1), np.float32)},
            "The rest in the snapshot does not fit: `x: float32[batch, sequence]` came with shape "
            "(2, 1): axis 0 must be 1, the `batch` of this stream, not 2.",
        ),
        (
            {"stream.rest.x": np.full((1, 1), np.nan, np.float32)},
            "`stream.rest.x` has 1 values that are NaN or infinite; a recurrence never recovers "
            "from them. Restore a finite state, or reset.",
        ),
        (
            {"stream.rest.y": np.zeros((1, 1), np.float32)},
            "`stream.rest.y` is not a state of this model; its states are `context`, `position`, "
            "`sum`.",
        ),
    ],
)
def test_a_broken_snapshot_is_refused(
    load_framed: Any, changes: dict[str, NDArray[Any]], message: str
) -> None:
    """The hops and the rest of a snapshot are checked as its states are; nothing changes."""
    stream, x = load_framed(FRAMINGS["valid"]).stream(), signal(1, 3)
    stream.feed(x)
    before = stream.snapshot()
    assert refused(stream.restore, {**before, **changes}) == message
    np.testing.assert_equal(stream.snapshot(), before)


def test_a_state_alone_is_one_under_way(load_framed: Any) -> None:
    """Restored without the hops so far, a stream drops nothing."""
    framed, x = FRAMINGS["valid"], signal(1, 8)
    stream = load_framed(framed).stream()
    states = {name: array for name, array in stream.snapshot().items() if "." not in name}
    stream.restore(states)
    scores = stream.feed(x)["scores"]
    assert scores.shape == (1, 4, 3)
    np.testing.assert_allclose(scores[:, 1:], framed.reference(x)["scores"], atol=TOLERANCE)
    assert stream.snapshot().keys() == states.keys()


@pytest.mark.parametrize(
    ("pad", "reason"),
    [
        (float("nan"), "came as nan; it takes finite numbers"),
        (float("inf"), "came as inf; it takes finite numbers"),
    ],
)
def test_a_rest_is_filled_with_a_number(load_framed: Any, pad: float, reason: str) -> None:
    """Anything else is refused, and the stream has not finished."""
    stream = load_framed(FRAMINGS["causal"]).stream()
    stream.feed(signal(1, 3))
    assert refused(stream.finish, pad=pad) == (
        f"The padding of `x: float32[batch, sequence]` {reason}."
    )
    assert stream.finish(pad=0.0)["wave"].shape == (1, 2)
