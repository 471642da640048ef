"""A pool beside single streams that are given the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from edgernn.errors import InputError
from edgernn.runtime import Model, PoolStream, Stream, StreamPool
from edgernn.runtime.check_inputs import InputCheck
from edgernn.runtime.stream_inputs import chunk_check, step_check

__all__ = ["Twins", "agree"]

TOLERANCE = 1e-5
Pair = tuple[PoolStream, Stream]


def agree(pooled: Any, single: Any) -> None:
    """Check that outputs of a stream of a pool are those of a single stream, without the batch."""
    if isinstance(single, dict):
        assert list(pooled) == list(single)
        for name in single:
            agree(pooled[name], single[name])
    elif single is None:
        assert pooled is None
    else:
        assert (pooled.dtype, pooled.ndim) == (single.dtype, single.ndim - 1)
        np.testing.assert_allclose(
            pooled.ravel(), single.ravel(), rtol=0, atol=TOLERANCE, strict=True
        )


class Twins:
    """Streams of a pool, each with a single stream that is given the same."""

    def __init__(self, model: Model, seed: int, capacity: int | None = None) -> None:
        self.model = model
        self.random = np.random.default_rng(seed)
        self.pool: StreamPool = model.pool(capacity)
        self.pairs: list[Pair] = []
        self.step_inputs = step_check(model.contract)
        self.chunk_inputs = chunk_check(model.contract)

    def open(self, count: int = 1) -> None:
        """Open streams."""
        self.pairs += [(self.pool.open(), self.model.stream()) for _ in range(count)]

    def close(self, pairs: Iterable[Pair]) -> None:
        """Close streams."""
        for pair in pairs:
            self.pool.close(pair[0])
            self.pairs.remove(pair)

    def step(self, pairs: list[Pair]) -> None:
        """Step streams by name; those that must not be are refused alike."""
        inputs = [self._data(self.step_inputs) for _ in pairs]
        given = {
            pair[0]: _without_batch(self.step_inputs, data)
            for pair, data in zip(pairs, inputs, strict=True)
        }
        self._same(pairs, inputs, lambda: self.pool.step(given), "step")

    def feed(self, pairs: list[Pair]) -> None:
        """Feed streams chunks of different lengths; those that must not be are refused alike."""
        inputs = [self._data(self.chunk_inputs, int(self.random.integers(1, 6))) for _ in pairs]
        given = {
            pair[0]: _without_batch(self.chunk_inputs, data)
            for pair, data in zip(pairs, inputs, strict=True)
        }
        self._same(pairs, inputs, lambda: self.pool.feed(given), "feed")

    def step_rows(self, pairs: list[Pair] | None) -> None:
        """Step streams, or all of the pool, by arrays with a row for each."""
        order = {pair[0]: pair for pair in self.pairs}
        chosen = [order[stream] for stream in self.pool.streams] if pairs is None else pairs
        inputs = [self._data(self.step_inputs) for _ in chosen]
        arrays = {
            port.name: np.concatenate([one[port.name] for one in inputs], _axis(port))
            for port in self.step_inputs.ports
        }
        streams = None if pairs is None else [pair[0] for pair in chosen]
        found: list[Any] = []

        def run() -> dict[PoolStream, Any]:
            found.append(self.pool.step(arrays, streams))
            return {}

        expected = self._same(chosen, inputs, run, "step")
        for place, single in enumerate(expected):
            table = found[0] if isinstance(found[0], dict) else {"": found[0]}
            singles = single if isinstance(single, dict) else {"": single}
            assert list(table) == list(singles)
            for name, array in table.items():
                _agree_marked(array[place], singles[name])

    def reset(self, pairs: Iterable[Pair]) -> None:
        """Reset streams."""
        for pooled, single in pairs:
            pooled.reset()
            single.reset()

    def finish(self, pairs: Iterable[Pair]) -> None:
        """Finish streams, those that have finished alike."""
        names = [port.name for port in self.chunk_inputs.ports if port.axis("sequence") is None]
        for pair in pairs:
            steady = {name: self._data(self.step_inputs)[name] for name in names}
            given = _without_batch(self.step_inputs, steady, named=True)
            self._same([pair], [steady], partial(_finish, pair[0], given), "finish")

    def move(self, pairs: Iterable[Pair]) -> None:
        """Let the single stream and that of the pool exchange their states."""
        for pooled, single in pairs:
            saved = pooled.snapshot(), single.snapshot()
            assert list(saved[0]) == list(saved[1])
            for name in saved[0]:
                np.testing.assert_allclose(
                    saved[0][name], saved[1][name], rtol=0, atol=TOLERANCE, strict=True
                )
            pooled.restore(saved[1])
            single.restore(saved[0])

    def check(self) -> None:
        """Check what the pool says of its streams."""
        assert {pair[0] for pair in self.pairs} == set(self.pool.streams)
        for row, stream in enumerate(self.pool.streams):
            assert stream.row == row
        for pooled, single in self.pairs:
            assert (pooled.steps, pooled.rest) == (single.steps, single.rest)

    def _same(
        self,
        pairs: list[Pair],
        inputs: list[dict[str, Any]],
        run: Callable[[], dict[PoolStream, Any]],
        method: str,
    ) -> list[Any]:
        """Run the pool and then the single streams; where one of these refuses, the pool has too.

        Returns:
            What the single streams return.
        """
        allowed = [
            _attempt(getattr(pair[1].fork(), method), data)
            for pair, data in zip(pairs, inputs, strict=True)
        ]
        if not all(allowed):
            before = [pair[0].snapshot() for pair in pairs]
            assert not _attempt(run, {})
            for pair, state in zip(pairs, before, strict=True):
                np.testing.assert_equal(pair[0].snapshot(), state)
            return []
        found = run()
        expected = [
            getattr(pair[1], method)(**data) for pair, data in zip(pairs, inputs, strict=True)
        ]
        if found:
            assert list(found) == [pair[0] for pair in pairs]
            for pair, single in zip(pairs, expected, strict=True):
                agree(found[pair[0]], single)
        return expected

    def _data(self, check: InputCheck, steps: int = 1) -> dict[str, Any]:
        """Return inputs of one stream for a batch of 1."""
        found = {}
        for port in check.ports:
            symbols = {"batch": 1, "sequence": steps}
            shape = [size if isinstance(size, int) else symbols[size] for size in port.shape]
            numbers: Any = self.random.normal(size=shape)
            if port.limit is not None:
                numbers = self.random.integers(0, port.limit, shape)
            found[port.name] = numbers.astype(port.dtype)
        return found


def _agree_marked(row: Any, single: Any) -> None:
    """Check a row of an array of all streams, in which steps that are not defined are NaN."""
    if single is None:
        assert np.isnan(row).all()
    elif row.shape == single.shape[1:]:
        agree(row, single)
    else:
        undefined = len(row) - single.shape[1]
        assert np.isnan(row[:undefined]).all()
        agree(row[undefined:], single)


def _axis(port: Any) -> int:
    axis: int = port.shape.index("batch")
    return axis


def _without_batch(check: InputCheck, data: dict[str, Any], named: bool = False) -> Any:
    axes = {port.name: _axis(port) for port in check.ports}
    found = {name: np.squeeze(array, axes[name]) for name, array in data.items()}
    return found if len(found) > 1 or named else next(iter(found.values()))


def _finish(stream: PoolStream, steady: dict[str, Any]) -> dict[PoolStream, Any]:
    return {stream: stream.finish(**steady)}


def _attempt(call: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    try:
        call(**arguments)
    except InputError:
        return False
    return True
