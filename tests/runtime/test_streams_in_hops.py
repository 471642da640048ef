"""Models that take hops, delay an output or pad after the end: any division gives the whole."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import edgernn
from edgernn.errors import ContractError
from edgernn.export import export_model
from edgernn.runtime.golden_replay import golden_report, median_step_time, require_passed
from tests.nets.framed import Framed
from tests.nets.framed_tagger import FramedTagger
from tests.runtime.framed_streams import FRAMINGS, GRAPHS, TOLERANCE, Runner, check, refused, signal


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("name", FRAMINGS)
@given(
    chunks=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    batch=st.integers(1, 3),
    move=st.sampled_from(["stay", "snapshot", "fork", "copy"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_any_division_gives_the_whole(
    load_framed: Any, name: str, graphs: str, chunks: list[int], batch: int, move: str, seed: int
) -> None:
    """Feeds of any size, hops (0), and a stream moved between them give the model's own outputs."""
    framed = FRAMINGS[name]
    model = load_framed(framed, graphs)
    steps = sum(chunk or framed.hop for chunk in chunks)
    x = signal(batch, max(steps, 2 * framed.kernel), seed)
    runner, at = Runner(framed, model, batch), 0
    for chunk in [*chunks, x.shape[1] - steps]:
        if chunk == 0 and not runner.stream.rest and at + framed.hop <= x.shape[1]:
            runner.step(x[:, at : at + framed.hop])
            at += framed.hop
        elif chunk:
            runner.feed(x[:, at : at + chunk])
            at += chunk
        assert runner.stream.rest == at % framed.hop
        runner.stream = moved(runner, move)
    if at < x.shape[1]:
        runner.feed(x[:, at:])
    whole = x[:, : x.shape[1] // framed.hop * framed.hop]
    check(runner.finish(), framed.reference(whole))


def moved(runner: Runner, move: str) -> Any:
    """Return a stream that continues where that of a runner is."""
    stream = runner.stream
    if move == "fork":
        return stream.fork()
    if move == "copy":
        return copy.copy(stream)
    if move == "snapshot":
        saved, noise = stream.snapshot(), signal(stream.batch, 3)
        stream.feed(noise.T if runner.steps_first else noise)
        stream.restore(saved)
    return stream


@pytest.mark.parametrize(
    ("name", "graphs"),
    [*itertools.product(FRAMINGS, ["both", "sequence"]), ("centred", "constant")],
)
@pytest.mark.parametrize("steps", [14, 15])
def test_a_call_is_the_model(load_framed: Any, name: str, graphs: str, steps: int) -> None:
    """A call gives what the model gives for the whole hops, from the first to the last step."""
    framed = FRAMINGS[name]
    x = signal(2, steps)
    found = load_framed(framed, graphs)(x)
    check(found, framed.reference(x[:, : steps // framed.hop * framed.hop]))


@pytest.mark.parametrize("name", FRAMINGS)
def test_chunks_of_run_are_one_run(load_framed: Any, name: str) -> None:
    """The state of a result has the rest and what is not defined yet: chunks give the whole."""
    framed, model, x = FRAMINGS[name], load_framed(FRAMINGS[name]), signal(2, 30)
    result, state, parts = model.run({"x": x}), None, []
    places = [0, 1, 2, 5, 6, 13, 20, 30]
    for start, stop in itertools.pairwise(places):
        part = model.run({"x": x[:, start:stop]}, state)
        assert part.rest == stop % framed.hop
        state = part.state
        parts.append(part.outputs)
    defined = 30 // framed.hop - framed.delay
    expected = framed.reference(x)
    for output, count in (("scores", defined), ("wave", defined * framed.hop)):
        joined = np.concatenate([part[output] for part in parts], 1)
        np.testing.assert_allclose(joined, expected[output][:, :count], atol=TOLERANCE, strict=True)
        np.testing.assert_allclose(result.outputs[output], joined, atol=TOLERANCE, strict=True)
    assert state is not None
    for key, array in result.state.items():
        np.testing.assert_allclose(state[key], array, atol=TOLERANCE)


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("name", FRAMINGS)
def test_the_golden_run(load_framed: Any, name: str, graphs: str) -> None:
    """It is replayed whole, by hops and by chunks; what is not defined is not compared."""
    model = load_framed(FRAMINGS[name], graphs)
    report = golden_report(model)
    require_passed(report)
    names = [one.name for one in report.checks]
    expected = {"step": ["steps"], "constant": ["steps", "chunks"]}
    assert names == expected.get(graphs, ["whole", "steps", "chunks"])
    assert (median_step_time(model) or 0) > 0


def test_a_golden_run_without_a_defined_step(load_framed: Any) -> None:
    """It would compare nothing, so it is refused."""
    model = load_framed(FRAMINGS["valid"])
    far = {"scores": 9, "wave": 18, "last": 9}
    object.__setattr__(model.contract, "delays", far)
    try:
        with pytest.raises(ContractError) as caught:
            golden_report(model)
    finally:
        object.__setattr__(model.contract, "delays", {"scores": 1, "wave": 2, "last": 1})
    assert str(caught.value) == (
        "The golden run has 9 steps of `scores`, and the first 9 are not defined. Export the model "
        "again."
    )


def test_outputs_of_a_step(load_framed: Any) -> None:
    """An axis of steps is cut to what is defined; an output without one is None until then."""
    stream, x = load_framed(FRAMINGS["valid"]).stream(), signal(1, 4)
    first = stream.step(x[:, :2])
    assert first["scores"] is None
    assert first["last"] is None
    assert first["wave"].shape == (1, 0)
    second = stream.step(x[:, 2:])
    assert (second["scores"].shape, second["wave"].shape) == ((1, 3), (1, 2))


def test_a_chunk_of_less_than_a_hop(load_framed: Any) -> None:
    """It gives no step of an output, and None for the last step; `steps` counts whole hops."""
    stream = load_framed(FRAMINGS["causal"]).stream(2)
    outputs = stream.feed(signal(2, 1))
    assert {name: None if one is None else one.shape for name, one in outputs.items()} == {
        "scores": (2, 0, 3),
        "wave": (2, 0),
        "last": None,
    }
    assert (stream.steps, stream.rest) == (0, 1)
    assert repr(stream).splitlines()[3] == "rest      1 step kept"
    assert stream.feed(signal(2, 1))["last"].shape == (2, 3)
    assert (stream.steps, stream.rest) == (2, 0)


def test_a_rest_is_a_copy(load_framed: Any) -> None:
    """Neither the caller's array nor a snapshot changes the steps that a stream keeps."""
    framed, x = FRAMINGS["causal"], signal(1, 6)
    stream, chunk = load_framed(framed).stream(), x[:, :3].copy()
    first = stream.feed(chunk)["scores"]
    chunk[:] = 9
    stream.snapshot()["stream.rest.x"][:] = 9
    second = stream.feed(x[:, 3:])["scores"]
    expected = framed.reference(x)["scores"]
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, atol=TOLERANCE)


def test_the_end_of_a_rest(load_framed: Any) -> None:
    """What fills no hop is left out and counted, or filled on request."""
    framed, x = FRAMINGS["centred"], signal(2, 11)
    runner = Runner(framed, load_framed(framed), 2)
    runner.feed(x)
    check(runner.finish(), framed.reference(x[:, :10]))
    assert runner.stream.rest == 1
    runner = Runner(framed, load_framed(framed), 2)
    runner.feed(x)
    filled = np.pad(x, ((0, 0), (0, 1)), constant_values=-1.5)
    check(runner.finish(pad=-1.5), framed.reference(filled))
    assert runner.stream.rest == 0


def test_the_last_step_after_the_end(load_framed: Any) -> None:
    """An output that is the last step is that of the tail, where there is one."""
    for name, is_new in (("centred", True), ("causal", False)):
        framed, x = FRAMINGS[name], signal(1, 10)
        stream = load_framed(framed).stream()
        before, last = stream.feed(x)["last"], stream.finish()["last"]
        assert (last is not None) == is_new
        np.testing.assert_allclose(
            last if is_new else before, framed.reference(x)["last"], atol=TOLERANCE
        )


def test_a_tail_that_padding_does_not_give(load_framed: Any) -> None:
    """It is missing: the stream says how many steps, and the model gives the others."""
    framed, x = Framed(4, 2, 0, 2, exact=False), signal(1, 10)
    model = load_framed(framed)
    stream = model.stream()
    assert stream.missing == {"scores": 1, "wave": 2, "last": 1}
    assert load_framed(FRAMINGS["ahead"]).stream().missing == {}
    scores = stream.feed(x)["scores"]
    np.testing.assert_allclose(scores, framed.reference(x)["scores"][:, :-1], atol=TOLERANCE)
    assert stream.finish()["scores"].shape == (1, 0, 3)
    np.testing.assert_array_equal(model(x)["scores"], scores)


def test_a_finished_stream_starts_anew(load_framed: Any) -> None:
    """It takes nothing before a reset, or the snapshot of another place; forks have ended too."""
    framed, x = FRAMINGS["centred"], signal(1, 10)
    stream = load_framed(framed).stream()
    stream.feed(x[:, :4])
    saved = stream.snapshot()
    stream.feed(x[:, 4:])
    stream.finish()
    message = (
        "The stream has finished. Start a new sequence with stream.reset(), or continue from a "
        "snapshot with stream.restore(snapshot)."
    )
    for one in (stream, stream.fork()):
        assert refused(one.step, x[:, :2]) == message
        assert refused(one.feed, x) == message
        assert refused(one.finish) == message
    stream.restore(saved)
    expected = framed.reference(x)["scores"]
    np.testing.assert_allclose(stream.feed(x[:, 4:])["scores"], expected[:, 2:-1], atol=TOLERANCE)
    stream.finish()
    stream.reset()
    assert (stream.steps, stream.rest) == (0, 0)
    np.testing.assert_allclose(stream.feed(x)["scores"], expected[:, :-1], atol=TOLERANCE)


def test_an_input_without_steps(load_framed: Any) -> None:
    """It is given with every chunk, and again where the end is run; the model does that itself."""
    framed = Framed(4, 2, 2, 2, pad=0.0, gain=True)
    model, x, gain = load_framed(framed), signal(2, 10), np.array([0.5, 2.0], np.float32)
    expected = framed.reference(x * gain[:, None])
    check(model(x, gain), expected)
    stream = model.stream(2)
    parts = [stream.feed(part, gain)["scores"] for part in np.split(x, [3, 8], axis=1)]
    assert refused(stream.finish) == (
        "`gain` is missing: the sequence graph takes `x: float32[batch, sequence]`, "
        "`gain: float32[batch]`."
    )
    parts.append(stream.finish(gain=gain)["scores"])
    np.testing.assert_allclose(np.concatenate(parts, 1), expected["scores"], atol=TOLERANCE)


def test_a_constant_batch(tmp_path: Path) -> None:
    """A model in hops that was exported for two sequences runs two."""
    torch.manual_seed(0)
    module, path = FramedTagger(4).eval(), tmp_path / "m.edgernn"
    export_model(module, path, inputs=["x:float32[batch,sequence,3]"], batch_size=2)
    x = torch.randn(2, 21, 3)
    with torch.no_grad():
        expected = module(x[:, :20])
    for found, tensor in zip(edgernn.load(path)(x.numpy()).values(), expected, strict=True):
        np.testing.assert_allclose(found, tensor.numpy(), atol=TOLERANCE, strict=True)
