"""What is kept of a run for its picture: of bounded size, and with every peak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.cli.plot.plot_series import PlotRecorder, Series
from edgernn.contract import Contract, Graph, Port
from tests.nets.framed import Framed


def recorded(values: np.ndarray, sizes: list[int]) -> Series:
    series = Series("x", values.shape[1])
    start = 0
    for size in [*sizes, len(values)]:
        series.add(start, values[start : start + size])
        start += size
    series.flush()
    return series


@given(st.integers(1, 30_000), st.lists(st.integers(1, 5_000), max_size=8), st.integers(1, 3))
def test_any_chunks_keep_every_peak(steps: int, sizes: list[int], features: int) -> None:
    """However long and in whatever chunks, each interval has the extremes of its steps."""
    values = np.random.default_rng(steps).normal(size=(steps, features))
    series = recorded(values, sizes)
    assert len(series.starts) <= 2048
    assert series.starts[0] == 0
    assert (np.diff(series.starts) > 0).all()
    np.testing.assert_array_equal(series.low, np.minimum.reduceat(values, series.starts))
    np.testing.assert_array_equal(series.high, np.maximum.reduceat(values, series.starts))


def test_short_runs_are_kept_whole() -> None:
    """Up to 2048 steps, every step is an interval."""
    values = np.arange(2048.0)[:, None]
    series = recorded(values, [1, 100, 1])
    np.testing.assert_array_equal(series.starts, np.arange(2048))
    np.testing.assert_array_equal(series.low, values)


def test_many_features() -> None:
    """Of more than 1024 features, the first 1024 are kept."""
    series = recorded(np.zeros((2, 3000)), [])
    assert (series.features, series.kept, series.low.shape) == (3000, 1024, (2, 1024))


def test_model_in_hops() -> None:
    """Each port counts its own steps, which have a length in steps of the input."""
    net = Framed(8, 4)
    recorder = PlotRecorder(net.contract())
    x = np.ones((2, 6), np.float32)
    scores, wave = np.zeros((2, 1, 3), np.float32), np.zeros((2, 4), np.float32)
    recorder.record(6, 2, {"x": x}, {"scores": scores, "wave": wave, "last": scores[:, 0]})
    recorder.record(6, 2, {"x": x}, {"scores": scores[:, :0], "wave": wave[:, :0]})
    recorder.record(0, 2, {}, {"scores": scores, "wave": wave, "last": scores[:, 0]})
    kept = {one.name: (one.length, one.starts.tolist()) for one in recorder.series()}
    assert kept == {
        "x": (1, [*range(12)]),
        "scores": (4, [0, 1]),
        "wave": (1, [*range(8)]),
        "last": (1, [5, 11]),
    }


X = np.arange(24.0, dtype=np.float32).reshape(2, 6, 2)


@pytest.mark.parametrize(
    ("shape", "output"),
    [
        (("batch", "sequence", 2), X),
        (("sequence", "batch", 2), X.swapaxes(0, 1)),
        (("batch*sequence", 2), X.reshape(12, 2)),
        (("sequence*batch", 2), X.swapaxes(0, 1).reshape(12, 2)),
        (("batch", 2), X[:, -1]),
    ],
    ids=str,
)
def test_first_sequence(shape: tuple[str | int, ...], output: np.ndarray) -> None:
    """Of several sequences the first is kept, wherever the axes are."""
    graph = Graph(
        (Port("x", "float32", ("batch", "sequence", 2)), Port("speaker", "int64", ("batch",))),
        (Port("y", "float32", shape),),
    )
    recorder = PlotRecorder(Contract("0", "Net", (), True, {"sequence": graph}))
    for _ in range(2):
        recorder.record(6, 2, {"x": X, "speaker": np.array([1, 2])}, {"y": output})
    given, returned = recorder.series()
    assert (given.name, given.is_input, returned.name, returned.is_input) == ("x", True, "y", False)
    np.testing.assert_array_equal(given.low, np.concatenate([X[0], X[0]]))
    if shape == ("batch", 2):
        np.testing.assert_array_equal(returned.starts, [5, 11])
        np.testing.assert_array_equal(returned.low, [X[0, -1], X[0, -1]])
    else:
        np.testing.assert_array_equal(returned.starts, range(12))
        np.testing.assert_array_equal(returned.low, given.low)
    assert (recorder.steps, recorder.sequences) == (12, 2)
