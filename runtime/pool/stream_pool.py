"""A pool: many independent streams that are stepped as one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import Contract
from edgernn.errors import InputError, StateError
from edgernn.facts import Facts, ShownAsFacts, state_bytes
from edgernn.runtime.pool.pool_chunks import PoolChunks
from edgernn.runtime.pool.pool_inputs import PoolInputs, check_pool
from edgernn.runtime.pool.pool_parts import complete
from edgernn.runtime.pool.pool_runner import PoolRunner
from edgernn.runtime.pool.pool_sequences import PoolSequences
from edgernn.runtime.pool.pool_states import Rows
from edgernn.runtime.pool.pool_stream import PoolStream
from edgernn.runtime.sessions import Sessions
from edgernn.runtime.stream import Outputs, Stream, unwrap_single

__all__ = ["Outputs", "StreamPool"]

OneInput = ArrayLike | Mapping[str, ArrayLike]
"""The array of the only data input, or name of a data input → its array."""

_place = attrgetter("_row")


class StreamPool(ShownAsFacts):
    """Many independent streams of a model, stepped as one batch; `Model.pool` returns it.

    Streams come and go with `open` and `close`. Each gives what it would give by itself; where
    ONNX Runtime sums the products of a batch in another order, up to the rounding of the model's
    dtype.

    Threads may share a pool: its calls run one at a time. Pools of one model run in parallel. In a
    `with` block, all streams are closed at the end.

    A call that is refused changes no stream. An interrupt, such as KeyboardInterrupt, either
    changes none, or is raised after all streams of the call have made the step.

    Attributes:
        contract: What the graphs of the model promise.
        capacity: The most streams at the same time, or None where the pool grows.
    """

    def __init__(self, sessions: Sessions, capacity: int | None = None) -> None:
        check_pool(sessions.contract)
        if capacity is not None and (type(capacity) is not int or capacity < 1):
            raise InputError(
                f"`capacity` is {capacity!r}; it must be an integer of at least 1, or None."
            )
        self.contract: Contract = sessions.contract
        self.capacity = capacity
        self._sessions = sessions
        self._lock: Any = threading.RLock()
        self._inputs = PoolInputs(sessions.contract)
        self._start()

    def _start(self) -> None:
        """Begin without streams."""
        self._streams: list[PoolStream] = []
        self._runner = PoolRunner(self._sessions, self.capacity)
        self._states = self._runner.states
        self._sequences = PoolSequences(self.contract, self._states)
        self._chunks = PoolChunks(self.contract, self._inputs, self._runner, self._sequences)
        if self.capacity is not None:
            self._states.grow(self.capacity)

    def _alone(self) -> AbstractContextManager[Any]:
        """Return what lets one thread at a time into a `with` block.

        Raises:
            StateError: This thread is in one already.
        """
        if self._lock._is_owned():
            raise StateError(
                "The pool was called while a call of it runs in the same thread, as from a signal "
                "handler or `__del__`. Call it after the other call has returned."
            )
        lock: AbstractContextManager[Any] = self._lock  # an interrupt cannot leave it locked
        return lock

    def _facts(self) -> tuple[str, Facts]:
        count, most = len(self._streams), self.capacity
        return f"StreamPool of {self.contract.source}", [
            ("provider", self._sessions.provider.name),
            ("streams", f"{count:,} open" + ("" if most is None else f" of at most {most:,}")),
            *(("state", str(port)) for port in self.contract.state_ports.values()),
            (
                "memory",
                f"{self.nbytes:,} bytes for {count * state_bytes(self.contract):,} bytes of state",
            ),
        ]

    @property
    def streams(self) -> tuple[PoolStream, ...]:
        """The open streams in the order of their rows."""
        return tuple(self._streams)

    @property
    def nbytes(self) -> int:
        """The bytes of all states, with the room for more streams, and of the buffers of a step."""
        return self._runner.nbytes

    def __len__(self) -> int:
        return len(self._streams)

    def __bool__(self) -> bool:
        return True  # also without a stream

    def open(self, snapshot: Mapping[str, ArrayLike] | None = None) -> PoolStream:
        """Open a stream; its row is the last one.

        Args:
            snapshot: What `snapshot` of a stream of the same model returned, in a pool or by
                itself; None for the initial state.

        Raises:
            StateError: The pool is full, or the snapshot is not one of this model.
        """
        with self._alone():
            row = len(self._streams)
            if row == self._states.rows or row == self.capacity:
                self._make_room(row)
            stream = PoolStream(self, row)
            self._sequences.reset(stream, row)
            if snapshot is not None:
                self._sequences.restore(stream, row, snapshot)
            self._streams.append(stream)
            return stream

    def _make_room(self, row: int) -> None:
        if row == self.capacity:
            raise StateError(
                f"The pool is full: its capacity is {self.capacity}. Close a stream, or create the "
                "pool with a larger capacity, or without one: it then grows."
            )
        complete(partial(self._states.grow, row + 1 + row // 16))

    def close(self, stream: PoolStream) -> None:
        """Close a stream; the last one takes its row.

        Raises:
            StateError: The stream is closed already.
            InputError: It is not a stream of this pool.
        """
        with self._alone():
            row = self._row_of(stream)
            last = len(self._streams) - 1
            remove = partial(self._remove, stream, row, self._streams[last], last)
            try:
                remove()
            except BaseException:  # an interrupt
                complete(remove)
                raise

    def _remove(self, stream: PoolStream, row: int, moved: PoolStream, last: int) -> None:
        """Move the last stream to a row; may be run again where it was interrupted."""
        if row != last:
            self._states.move(last, row)
            self._streams[row], moved._row = moved, row
        stream._row = -1
        self._sequences.forget(stream)
        del self._streams[last:]

    @overload
    def step(self, inputs: Mapping[PoolStream, OneInput]) -> dict[PoolStream, Outputs]: ...

    @overload
    def step(self, inputs: OneInput, streams: Iterable[PoolStream] | None = None) -> Outputs: ...

    def step(
        self,
        inputs: OneInput | Mapping[PoolStream, OneInput],
        streams: Iterable[PoolStream] | None = None,
    ) -> Outputs | dict[PoolStream, Outputs]:
        """Run one time step, or one hop, of some streams or of all.

        Args:
            inputs: Stream → its data: an array in the shape of the step graph's port without the
                batch axis, such as `(input_size,)` float32, or name → array where the model has
                several inputs. Or arrays of all streams: one array `(streams, input_size)`, or
                name → array, with a row for each stream along the batch axis.
            streams: The streams of these rows; None for all that are open, in the order of
                `streams`.

        Returns:
            For a dict of streams: stream → what `Stream.step` returns for it, without the batch
            axis. For arrays: the output with a row for each stream, or name → output where the
            model has several; steps that are not defined yet (`delays` in the contract) are NaN.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes; a stream is of
                another pool, came twice, keeps a rest, has finished, or has no position left.
            StateError: A stream was closed.
            ProviderError: ONNX Runtime failed.
        """
        with self._alone():
            if streams is None and isinstance(inputs, Mapping) and _by_stream(inputs):
                return self._step_each(list(inputs), list(inputs.values()))
            if isinstance(streams, PoolStream):
                raise InputError("`streams` came as one stream. Give a list: [stream].")
            found = self._streams if streams is None else list(streams)
            return self._step_rows(inputs, found)

    def _step_each(self, streams: list[Any], values: list[Any]) -> dict[PoolStream, Outputs]:
        if not streams:
            return {}
        rows = self._rows_of(streams)
        self._sequences.check_step(streams, rows)
        arrays = self._inputs.stacked(values, rows.tolist())
        ages = self._sequences.ages(rows)
        outputs = self._runner.run_step(arrays, rows, len(self._streams))
        found = dict(zip(streams, self._sequences.rows_of(outputs), strict=True))
        for entry in np.flatnonzero(ages < self._sequences.chunks.undefined):
            one = self._sequences.step_of(outputs, int(entry), int(ages[entry]))
            found[streams[entry]] = unwrap_single(one)
        return found

    def _step_rows(self, inputs: Any, streams: list[PoolStream]) -> Outputs:
        rows = self._rows_of(streams)
        arrays = self._inputs.rows(inputs, len(rows))
        self._sequences.check_step(streams, rows)
        ages = self._sequences.ages(rows)
        self._sequences.check_marks(ages)
        outputs = self._runner.run_step(arrays, rows, len(self._streams))
        self._sequences.mark_undefined(outputs, ages)
        return unwrap_single(outputs)

    def feed(self, inputs: Mapping[PoolStream, OneInput]) -> dict[PoolStream, Outputs]:
        """Run a chunk of any number of steps of some streams, exactly as the steps one by one.

        Chunks of one length run as one batch. Steps that do not fill a hop are kept (`rest`).

        Args:
            inputs: Stream → its data: an array in the shape of the sequence graph's port without
                the batch axis, such as `(sequence, input_size)` float32, or name → array where the
                model has several inputs.

        Returns:
            Stream → what `Stream.feed` returns for it, without the batch axis.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes; a stream is of
                another pool, has finished, or has no positions left.
            StateError: A stream was closed.
            ProviderError: ONNX Runtime failed. No stream has changed.
        """
        with self._alone():
            if not isinstance(inputs, Mapping):
                raise InputError(
                    f"`inputs` came as {type(inputs).__name__}. Give a dict: {{stream: chunk}}."
                )
            streams = list(inputs)
            if not streams:
                return {}
            rows = self._rows_of(streams)
            outputs = self._chunks.feed(streams, rows, list(inputs.values()))
            return dict(zip(streams, map(unwrap_single, outputs), strict=True))

    def __enter__(self) -> StreamPool:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._alone():
            for stream in self._streams:
                stream._row = -1
            self._start()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A pool cannot be copied or pickled: it holds sessions of ONNX Runtime. Pickle "
            "stream.snapshot() of its streams, and open them in another pool: pool.open(snapshot)."
        )

    def _rows_of(self, streams: Sequence[PoolStream]) -> Rows:
        """Return the rows of streams, after checking that all are open, in this pool, and once.

        Raises:
            InputError: A stream is of another pool, or came twice.
            StateError: A stream is closed.
        """
        if streams is self._streams:
            rows = np.arange(len(streams))
        else:
            places: list[int] = []
            try:
                places = list(map(_place, streams))
                known = [self._streams[place] for place in places] == streams
            except (AttributeError, IndexError, TypeError):
                known = False
            if not known:
                places = [
                    self._row_of(stream, f"Stream {place} of the call")
                    for place, stream in enumerate(streams)
                ]
            rows = np.array(places, np.int64)
        if not len(rows):
            raise InputError("No stream came. Open one first: stream = pool.open().")
        if len(rows) > 1 and streams is not self._streams:
            ordered = np.sort(rows)
            twice = ordered[1:][ordered[1:] == ordered[:-1]]
            if len(twice):
                raise InputError(
                    f"`pool.streams[{twice[0]}]` came twice. Step each stream once in a call; run "
                    "several steps of it with pool.feed({stream: chunk})."
                )
        return rows

    def _row_of(self, stream: PoolStream, what: str = "The stream") -> int:
        if not isinstance(stream, PoolStream):
            raise InputError(
                f"{what} came as {type(stream).__name__}. Give what pool.open() returned."
            )
        if stream.pool is not self:
            raise InputError(
                f"{what} is of another pool. Move it to this one: pool.open(stream.snapshot())."
            )
        if stream._row < 0:
            raise StateError(f"{what} is closed. Open another: pool.open().")
        return stream._row

    # What a stream of the pool does

    def _steps(self, stream: PoolStream) -> int:
        return int(self._states.hops[self._row_of(stream)]) * self.contract.hop

    def _rest_steps(self, stream: PoolStream) -> int:
        self._row_of(stream)
        return self._sequences.chunks.rest_steps(self._sequences.rests.get(stream, {}))

    def _snapshot(self, stream: PoolStream) -> dict[str, NDArray[Any]]:
        with self._alone():
            return self._sequences.snapshot(stream, self._row_of(stream))

    def _restore(self, stream: PoolStream, snapshot: Mapping[str, ArrayLike]) -> None:
        with self._alone():
            row = self._row_of(stream)
            complete(lambda: self._sequences.restore(stream, row, snapshot))

    def _reset(self, stream: PoolStream) -> None:
        with self._alone():
            row = self._row_of(stream)
            complete(lambda: self._sequences.reset(stream, row))

    def _finish(
        self, stream: PoolStream, pad: float | None, named: Mapping[str, ArrayLike]
    ) -> Outputs:
        with self._alone():
            row = self._row_of(stream)
            self._sequences.check_room([stream], np.array([row]), 0)
            alone = Stream(self._sessions)
            alone.restore(self._sequences.snapshot(stream, row))
            found = alone.finish(pad, **self._inputs.steady(named))
            stripped = unwrap_single(self._sequences.strip_chunk(found))
            if pad is not None:
                self._sequences.rests.pop(stream, None)
            self._sequences.finished.add(stream)
            return stripped


def _by_stream(inputs: Mapping[Any, Any]) -> bool:
    """Say whether data came by stream, not by the names of inputs."""
    return not inputs or not all(isinstance(key, str) for key in inputs)
