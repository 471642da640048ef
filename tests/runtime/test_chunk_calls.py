"""Chunks of any number of steps where the sequence graph takes a constant number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgernn
from edgernn.contract import Contract, Graph, Port
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.runtime import Model
from edgernn.runtime.chunk_calls import ChunkCalls, GraphCall
from edgernn.runtime.io_binding import run_graph
from tests.nets import embedded_lstm
from tests.nets.framed import Framed

STEPS = 4
TOKENS = np.random.default_rng(1).integers(0, embedded_lstm.SYMBOLS, (11, 2))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The embedded LSTM, its sequence graph for 4 steps only."""
    folder = tmp_path_factory.mktemp("four")
    return edgernn.load(
        embedded_lstm.write_lstm(folder / "m.edgernn", embedded_lstm.contract(sequence=STEPS))
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same without a step graph, and for a batch of 2 only."""
    promise = embedded_lstm.contract(2, ["sequence"], STEPS)
    folder = tmp_path_factory.mktemp("alone")
    return edgernn.load(embedded_lstm.write_lstm(folder / "m.edgernn", promise))


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises((InputError, UnsupportedModelError)) as caught:
        call(*arguments, **named)
    return str(caught.value)


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11])
def test_a_stream_takes_any_number_of_steps(four: Model, steps: int) -> None:
    """Full calls run in the sequence graph, the rest step by step; the state is carried on."""
    stream = four.stream(batch=2)
    stream.step(TOKENS[0])
    expected, h, c = embedded_lstm.reference(TOKENS[: steps + 1] if steps < 11 else TOKENS)
    output = stream.feed(TOKENS[1 : steps + 1])
    np.testing.assert_allclose(output, expected[1 : steps + 1], atol=1e-6)
    state = stream.snapshot()
    np.testing.assert_allclose(state["h"], h, atol=1e-6)
    np.testing.assert_allclose(state["c"], c, atol=1e-6)
    assert stream.steps == 1 + len(output)


def test_calls(four: Model, alone: Model) -> None:
    """A chunk is divided into as many full calls as fit, and then into steps."""
    chunks = ChunkCalls(four.contract)
    assert chunks.calls(9) == [
        GraphCall("sequence", 0, 4),
        GraphCall("sequence", 4, 8),
        GraphCall("step", 8, 9),
    ]
    assert chunks.calls(2) == [GraphCall("step", 0, 1), GraphCall("step", 1, 2)]
    assert ChunkCalls(embedded_lstm.contract()).calls(9) == [GraphCall("sequence", 0, 9)]
    assert ChunkCalls(embedded_lstm.contract(kinds=["step"])).calls(1) == [GraphCall("step", 0, 1)]
    assert ChunkCalls(alone.contract).calls(4) == [GraphCall("sequence", 0, 4)]


def test_a_bound_cuts_chunks(tmp_path: Path) -> None:
    """A chunk of more steps than the graph takes runs in equal calls; the model refuses it."""
    promise = embedded_lstm.contract(kinds=["sequence"], most={"sequence": 4, "batch": 2})
    assert ChunkCalls(promise).calls(4) == [GraphCall("sequence", 0, 4)]
    assert ChunkCalls(promise).calls(9) == [
        GraphCall("sequence", 0, 3),
        GraphCall("sequence", 3, 6),
        GraphCall("sequence", 6, 9),
    ]
    model = edgernn.load(embedded_lstm.write_lstm(tmp_path / "m.edgernn", promise))
    stream = model.stream(batch=2)
    np.testing.assert_allclose(stream.feed(TOKENS), embedded_lstm.reference(TOKENS)[0], atol=1e-6)
    assert refused(model, TOKENS) == (
        "`tokens: int64[sequence, batch]` came with 11 steps; the sequence graph takes at most 4. "
        "Give fewer, or feed a stream (model.stream().feed)."
    )
    assert refused(model.stream, 3) == "`batch` is 3; the model takes at most 2 sequences at once."


def test_a_model_takes_its_number_of_steps_only(four: Model) -> None:
    """`model(x)` and `model.run` refuse any other number of steps and name the alternatives."""
    expected = embedded_lstm.reference(TOKENS[:STEPS])[0]
    np.testing.assert_allclose(four(TOKENS[:STEPS]), expected, atol=1e-6)
    message = (
        "`tokens: int64[4, batch]` came with 5 steps; the sequence graph takes exactly 4. Give 4 "
        "steps, feed a stream (model.stream().feed), or export the model without a constant "
        "`sequence`."
    )
    assert refused(four, TOKENS[:5]) == message
    assert refused(four.run, {"tokens": TOKENS[:5]}) == message
    assert refused(four, TOKENS[:1]) == message.replace("5 steps", "1 step")


def test_a_state_that_is_not_carried_takes_no_stream(tmp_path: Path) -> None:
    """Without streams the message does not recommend one."""
    promise = embedded_lstm.contract(kinds=["sequence"], sequence=STEPS, carry=False)
    model = edgernn.load(embedded_lstm.write_lstm(tmp_path / "m.edgernn", promise))
    assert refused(model, TOKENS[:3]) == (
        "`tokens: int64[4, batch]` came with 3 steps; the sequence graph takes exactly 4. Give 4 "
        "steps, or export the model without a constant `sequence`."
    )


def test_without_a_step_graph_chunks_are_multiples(alone: Model) -> None:
    """Full calls run; a remainder and a single step are refused before anything runs."""
    stream = alone.stream(batch=2)
    expected = embedded_lstm.reference(TOKENS[:8])[0]
    np.testing.assert_allclose(stream.feed(TOKENS[:8]), expected, atol=1e-6)
    before = stream.snapshot()
    assert refused(stream.feed, TOKENS[:6]) == (
        "The chunk has 6 steps, but the sequence graph takes 4 at a time, and there is no step "
        "graph for the rest. Feed a multiple of 4 steps, or export the model without a constant "
        "`sequence`."
    )
    assert refused(stream.step, TOKENS[0]) == (
        "`demo` has no step graph, and its sequence graph takes 4 steps at a time. Feed it "
        "chunks: stream.feed(x)."
    )
    assert stream.steps == 8
    for name, array in stream.snapshot().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_only_batch_is_known_beside_it(alone: Model) -> None:
    """The names of the axes show which constant is the batch and which the steps."""
    assert alone.contract.constants == {"sequence": 4, "batch": 2}
    assert refused(alone.stream) == (
        "`batch` is 1, but this model was exported for a batch of 2 only "
        "(`h_in: float32[1, 2, 4]`). Run 2 sequences at a time."
    )
    assert refused(alone, TOKENS[:4, :1]) == (
        "`tokens: int64[4, 2]` came with shape (4, 1): axis 1 must be 2, not 1."
    )


def test_one_step_at_a_time(tmp_path: Path) -> None:
    """A sequence graph of one step also runs single steps."""
    promise = embedded_lstm.contract(kinds=["sequence"], sequence=1)
    stream = edgernn.load(embedded_lstm.write_lstm(tmp_path / "m.edgernn", promise)).stream(batch=2)
    expected = embedded_lstm.reference(TOKENS[:3])[0]
    np.testing.assert_allclose(stream.step(TOKENS[0]), expected[0], atol=1e-6)
    np.testing.assert_allclose(stream.feed(TOKENS[1:3]), expected[1:], atol=1e-6)


def test_a_call_that_fails_leaves_the_state(four: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last call of a chunk fails, the state is that before the chunk."""
    stream = four.stream(batch=2)
    stream.feed(TOKENS[:4])
    before = stream.snapshot()

    def fail(sessions: Any, kind: str, *rest: Any) -> Any:
        if kind == "step":
            raise RuntimeError("no")
        return run_graph(sessions, kind, *rest)

    monkeypatch.setattr("edgernn.runtime.graph_runner.run_graph", fail)
    with pytest.raises(RuntimeError, match="no"):
        stream.feed(TOKENS[:5])
    assert stream.steps == 4
    for name, array in stream.snapshot().items():
        np.testing.assert_array_equal(array, before[name])


def test_lengths_end_within_single_calls_only() -> None:
    """No sequence ends within a chunk of several calls; each call gets its own lengths."""
    lengths = Port("lengths", "int64", ("batch",))
    whole = embedded_lstm.contract(sequence=STEPS)
    ports = whole.graphs["sequence"]
    promise = Contract(
        "f00d",
        "demo",
        embedded_lstm.STATES,
        True,
        {**whole.graphs, "sequence": Graph((lengths, *ports.inputs), ports.outputs)},
        lengths=("lengths",),
    )
    chunks = ChunkCalls(promise)
    arrays = {"tokens": TOKENS[:8], "lengths": np.array([8, 8])}
    chunks.check_lengths(arrays, 8)
    part = chunks.inputs(arrays, GraphCall("sequence", 4, 8))
    np.testing.assert_array_equal(part["lengths"], [4, 4])
    np.testing.assert_array_equal(part["tokens"], TOKENS[4:8])
    assert chunks.inputs(arrays, GraphCall("step", 0, 1)).keys() == {"tokens"}
    assert refused(chunks.check_lengths, {"lengths": np.array([8, 3])}, 8) == (
        "`lengths` ends sequences within a chunk of 8 steps, which is run in parts of 4. Feed 4 "
        "steps at a time."
    )


@pytest.mark.parametrize("graphs", [("sequence", "step"), ("step",)])
def test_calls_take_whole_hops(graphs: tuple[str, ...]) -> None:
    """Also where the sequence graph takes a constant number of steps, or up to a number."""
    framed = Framed(4, 2, 0, 0)
    bounded = replace(framed.contract(graphs), most={"sequence": 7})
    calls = ChunkCalls(bounded).calls(20)
    if graphs == ("step",):
        assert calls == [GraphCall("step", t, t + 2) for t in range(0, 20, 2)]
        return
    assert [(call.start, call.stop) for call in calls] == [(0, 4), (4, 10), (10, 14), (14, 20)]
    constant = ChunkCalls(framed.contract(graphs, 6)).calls(16)
    assert constant == [
        GraphCall("sequence", 0, 6),
        GraphCall("sequence", 6, 12),
        GraphCall("step", 12, 14),
        GraphCall("step", 14, 16),
    ]
