"""One running state."""

from __future__ import annotations

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgernn
from edgernn.errors import InputError, ProviderError
from edgernn.runtime.devices import Device
from tests.nets import embedded_lstm

TOLERANCE = 1e-6


def ids(steps, batch, seed=0):
    return np.random.default_rng(seed).integers(0, embedded_lstm.SYMBOLS, (steps, batch))


@given(
    chunks=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_chunking_equals_the_whole(any_model, chunks, batch, seed):
    """Steps (0) and chunks (n) in any order give the outputs and the state of one run."""
    steps = sum(max(chunk, 1) for chunk in chunks)
    tokens = ids(steps, batch, seed)
    whole, h, c = embedded_lstm.reference(tokens)
    stream, at, parts = any_model.stream(batch), 0, []
    for chunk in chunks:
        if chunk:
            parts.append(stream.feed(tokens[at : at + chunk]))
        else:
            parts.append(stream.step(tokens[at])[None])
        at += max(chunk, 1)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=TOLERANCE)
    np.testing.assert_allclose(stream.snapshot()["h"], h, atol=TOLERANCE)
    np.testing.assert_allclose(stream.snapshot()["c"], c, atol=TOLERANCE)
    assert stream.steps == steps


def test_steps_open_the_step_graph_only(lstm, tmp_path):
    """A run of steps never loads sequence.onnx, and a run of chunks never step.onnx."""
    path = embedded_lstm.write_lstm(tmp_path / "m.edgernn", embedded_lstm.contract())
    (path / "sequence.onnx").unlink()
    stream = edgernn.load(path).stream()
    stream.step([1])
    stream.step([2])
    assert stream.steps == 2


def test_the_callers_arrays_stay(model):
    """An array that a step returned is not written by later steps, nor is the input."""
    stream, token = model.stream(), np.array([3])
    first = stream.step(token)
    kept = first.copy()
    second = stream.step(token)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(token, [3])


def test_snapshot_and_restore_repeat_a_run(any_model):
    """From a restored snapshot the same input gives the same numbers; the count continues."""
    stream = any_model.stream(2)
    stream.feed(ids(5, 2))
    saved = stream.snapshot()
    once = [stream.step(row) for row in ids(3, 2, 1)]
    stream.restore(saved)
    again = [stream.step(row) for row in ids(3, 2, 1)]
    np.testing.assert_array_equal(once, again)
    assert stream.steps == 11


def test_a_snapshot_is_a_copy(model):
    """Neither later steps nor the caller change each other through a snapshot."""
    stream = model.stream()
    stream.step([1])
    saved = stream.snapshot()
    before = saved["h"].copy()
    stream.step([2])
    np.testing.assert_array_equal(saved["h"], before)
    saved["h"][:] = 9
    assert not (stream.snapshot()["h"] == 9).any()


def test_a_snapshot_fits_another_stream_and_run(model):
    """The state of one stream starts another, and Model.run, by its names."""
    stream = model.stream()
    stream.feed(ids(4, 1))
    other = model.stream()
    other.restore(stream.snapshot())
    result = model.run({"tokens": ids(2, 1, 3)}, state=stream.snapshot())
    np.testing.assert_allclose(other.feed(ids(2, 1, 3)), result.outputs["output"], atol=TOLERANCE)


def test_fork_goes_its_own_way(any_model):
    """A fork has the state and count of its origin; from then on neither moves the other."""
    stream = any_model.stream()
    stream.step([1])
    fork = stream.fork()
    assert (fork.steps, fork.batch) == (1, 1)
    fork.step([2])
    np.testing.assert_allclose(
        stream.step([3]), embedded_lstm.reference(np.array([[1], [3]]))[0][-1], atol=TOLERANCE
    )
    np.testing.assert_allclose(
        fork.step([4]), embedded_lstm.reference(np.array([[1], [2], [4]]))[0][-1], atol=TOLERANCE
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_a_fork(any_model, copied):
    """Python's own copies share no memory with the stream, on whichever side they step first."""
    for steps in (0, 1, 2):
        stream = any_model.stream()
        for token in range(steps):
            stream.step([token])
        before = stream.snapshot()
        other = copied({"it": stream})["it"] if copied is copy.deepcopy else copied(stream)
        assert other.steps == steps
        for _ in range(3):
            other.step([5 % embedded_lstm.SYMBOLS])
        np.testing.assert_equal(stream.snapshot(), before)
        kept = other.snapshot()
        stream.step([1])
        np.testing.assert_equal(other.snapshot(), kept)


def test_a_stream_is_not_pickled(model):
    """Pickling is refused with both alternatives."""
    with pytest.raises(TypeError) as caught:
        pickle.dumps(model.stream())
    assert str(caught.value) == (
        "A stream cannot be pickled: it holds sessions of ONNX Runtime. Pickle stream.snapshot() "
        "and restore it in a stream of the loaded model; within one process, stream.fork() gives "
        "an independent copy."
    )


def interrupted(last, call, *arguments):
    """Call with Ctrl-C pressed at the line `last` of the runtime; say whether it came to that."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if "runtime" not in frame.f_code.co_filename:
            return None
        seen += event == "line"
        if seen == last:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(*arguments)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("name", ["feed", "step", "restore", "reset"])
def test_an_interrupt_leaves_a_whole_state(any_model, name):
    """Interrupted at any line, a stream is where it was before the call or where it is after."""

    def two_steps():
        stream = any_model.stream()
        stream.step([1])
        stream.step([2])
        return stream

    arguments = {"feed": [ids(3, 1)], "step": [[3]], "restore": [any_model.stream().snapshot()]}
    after = two_steps()
    getattr(after, name)(*arguments.get(name, []))
    known = {str(one.snapshot()): one.steps for one in (two_steps(), after)}
    stream = two_steps()
    seen: list[str] = []
    while interrupted(len(seen) + 1, getattr(stream, name), *arguments.get(name, [])):
        seen.append(str(stream.snapshot()))
        assert known[seen[-1]] == stream.steps
        stream = two_steps()
    assert seen[0] == str(two_steps().snapshot())
    assert len(seen) > 5


def test_reset_goes_back_to_the_initial_state(leaky):
    """After a reset the state is the learned initial state, after any number of steps."""
    stream = leaky.stream(2)
    for steps in (1, 2):
        for _ in range(steps):
            stream.step(np.ones((2, 2)), np.ones((2, 1)))
        stream.reset()
        np.testing.assert_array_equal(stream.snapshot()["s"], [[[3, -1], [3, -1]]])
        assert stream.steps == 0


def test_several_inputs_and_outputs(leaky):
    """Inputs come by position or name in any order; several outputs come by name."""
    stream = leaky.stream()
    x, scale = np.array([[1, 2]], np.float32), np.array([[10]], np.float32)
    first = stream.step(x, scale)
    np.testing.assert_array_equal(first["level"], [[11.5, 19.5]])
    np.testing.assert_array_equal(first["double"], [[23, 39]])
    stream.reset()
    named = stream.step(scale=scale, x=x)
    np.testing.assert_array_equal(named["level"], first["level"])
    stream.reset()
    mixed = stream.step(x, scale=scale)
    np.testing.assert_array_equal(mixed["level"], first["level"])


def test_feed_through_a_step_graph_has_the_sequence_in_front(leaky):
    """Where there is a step graph only, a chunk's arrays are the step's with an axis in front."""
    chunk = leaky.stream().feed(np.ones((3, 1, 2)), np.ones((3, 1, 1)))
    np.testing.assert_array_equal(chunk["level"][:, 0], [[2.5, 0.5], [2.25, 1.25], [2.125, 1.625]])


def test_an_axis_of_its_own_may_change_every_step(tmp_path):
    """A step graph whose shapes the batch does not determine takes other sizes step by step."""
    stream = edgernn.load(embedded_lstm.free_axis(tmp_path / "free.edgernn")).stream()
    outputs = [stream.step(np.zeros((1, width))) for width in (1, 3, 2)]
    for t, (output, width) in enumerate(zip(outputs, (1, 3, 2), strict=True)):
        np.testing.assert_array_equal(output, np.full((1, width), t))


@pytest.mark.parametrize(
    "wrong",
    [[5], [-1], [0.5], [[1]], [], [1, 2], np.array([1], np.float32)],
    ids=["above", "negative", "real", "rank", "empty", "batch", "dtype"],
)
@pytest.mark.parametrize("call", ["step", "feed"])
def test_a_failed_call_leaves_the_state(any_model, call, wrong):
    """After a wrong input, state and count are unchanged and the stream continues."""
    stream = any_model.stream()
    stream.step([1])
    before = stream.snapshot()
    value = [wrong] if call == "feed" and isinstance(wrong, list) else wrong
    with pytest.raises(InputError):
        getattr(stream, call)(value)
    for name, array in stream.snapshot().items():
        np.testing.assert_array_equal(array, before[name])
    assert stream.steps == 1
    np.testing.assert_allclose(
        stream.step([2]), embedded_lstm.reference(np.array([[1], [2]]))[0][-1], atol=TOLERANCE
    )


def test_a_failure_of_onnxruntime_leaves_the_state(leaky, monkeypatch):
    """If the second step of a chunk fails, the state does not change; the error says why."""
    stream = leaky.stream()
    stream.step([[1, 1]], [[1]])
    before = stream.snapshot()["s"]
    session, calls = leaky._sessions.open("step"), []

    class Breaking:
        def run(self, names, feeds):
            calls.append(feeds)
            if len(calls) == 2:
                raise RuntimeError("no more memory")
            return session.run(names, feeds)

    monkeypatch.setitem(leaky._sessions._open, "step", Breaking())
    with pytest.raises(ProviderError) as caught:
        stream.feed(np.ones((3, 1, 2)), np.ones((3, 1, 1)))
    assert str(caught.value) == (
        "`cpu` failed in the step graph: no more memory. No state was changed."
    )
    np.testing.assert_array_equal(stream.snapshot()["s"], before)
    assert stream.steps == 1


def test_threads_share_a_model(lstm):
    """Streams of one model in several threads each give what they give alone."""
    model = edgernn.load(lstm)

    def run(seed):
        tokens, stream = ids(50, 1, seed), model.stream()
        return np.stack([stream.step(row) for row in tokens]), stream.feed(tokens)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, range(16)))
    for seed, (steps, chunk) in enumerate(results):
        tokens = ids(50, 1, seed)
        whole = embedded_lstm.reference(np.concatenate([tokens, tokens]))[0]
        np.testing.assert_allclose(np.concatenate([steps, chunk]), whole, atol=1e-5)


@pytest.mark.parametrize("artifact", ["model", "leaky"])
def test_device_memory_gives_what_host_memory_gives(request, monkeypatch, artifact):
    """Buffers on a device, here on the host, give the same numbers bit for bit."""
    model = edgernn.load(request.getfixturevalue(artifact).artifact.path)
    tokens = ids(6, 2)
    inputs = (tokens,) if artifact == "model" else (np.ones((6, 2, 2)), np.ones((6, 2, 1)))

    def run():
        stream = model.stream(2)
        stepped = [stream.step(*(array[t] for array in inputs)) for t in range(6)]
        fork = stream.fork()
        fork.restore(stream.snapshot())
        return stepped, fork.feed(*inputs), fork.snapshot()

    expected = run()
    monkeypatch.setattr("edgernn.runtime.io_binding.HOST", Device("nowhere"))
    np.testing.assert_equal(run(), expected)


def test_a_stream_and_a_result_show_their_facts(any_model):
    """Where a stream runs, how far it is, and what it keeps; the arrays of a result."""
    stream = any_model.stream(2)
    stream.feed(ids(7, 2))
    assert (
        repr(stream)
        == """\
Stream of demo
provider  cpu
steps     7 so far
batch     2
state     h_in: float32[1, batch, 4]
state     c_in: float32[1, batch, 4]
memory    64 bytes of state"""
    )
    assert (
        repr(any_model.run({"tokens": ids(7, 2)}))
        == """\
Result
output  output: float32[7, 2, 4]
state   h: float32[1, 2, 4]
state   c: float32[1, 2, 4]"""
    )
    assert stream._repr_html_().count("<tr>") == 6


def test_the_end_of_a_stream_without_a_tail(any_model):
    """`finish` gives no steps where nothing depends on them; a reset starts anew."""
    stream = any_model.stream(2)
    first = stream.feed(ids(3, 2))
    end = stream.finish()
    assert (end.shape, end.dtype) == ((0, 2, embedded_lstm.HIDDEN), np.float32)
    with pytest.raises(InputError) as caught:
        stream.step(ids(1, 2)[0])
    assert str(caught.value) == (
        "The stream has finished. Start a new sequence with stream.reset(), or continue from a "
        "snapshot with stream.restore(snapshot)."
    )
    stream.reset()
    np.testing.assert_array_equal(stream.feed(ids(3, 2)), first)
