"""Where the streams of a pool are in their sequences: rests, ends, and outputs not yet defined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import BATCH, Contract
from edgernn.errors import InputError
from edgernn.runtime.check_inputs import check_states, format_steps
from edgernn.runtime.hop_chunks import HOPS_KEY, REST_KEY, HopChunks
from edgernn.runtime.pool.pool_inputs import Arrays, step_outputs, without_batch
from edgernn.runtime.pool.pool_states import PoolStates, Rows
from edgernn.runtime.port_axes import output_axes

if TYPE_CHECKING:
    from edgernn.runtime.pool.pool_stream import PoolStream

__all__ = ["PoolSequences"]


class PoolSequences:
    """What is known of the sequences of a pool's streams besides their states.

    Attributes:
        chunks: Divides chunks into hops, and outputs into steps that are defined.
        rests: Stream → the steps of its inputs that do not fill a hop yet.
        finished: The streams that take no more steps.
    """

    def __init__(self, contract: Contract, states: PoolStates) -> None:
        self._contract = contract
        self._states = states
        self._steps = step_outputs(contract)
        self._whole = output_axes(contract)
        self.chunks = HopChunks(contract)
        self.rests: dict[PoolStream, Mapping[str, NDArray[Any]]] = {}
        self.finished: set[PoolStream] = set()

    def reset(self, stream: PoolStream, row: int) -> None:
        """Start a new sequence in a stream."""
        self._states.start(row, self.chunks.undefined)
        self.forget(stream)

    def forget(self, stream: PoolStream) -> None:
        """Drop the rest and the end of a stream."""
        if self.rests or self.finished:
            self.rests.pop(stream, None)
            self.finished.discard(stream)

    def check_step(self, streams: Sequence[PoolStream], rows: Rows) -> None:
        """Check that streams take one more hop.

        Raises:
            InputError: One keeps a rest, has finished, or has no position left.
        """
        if self.rests:
            for stream in streams:
                if stream in self.rests:
                    raise InputError(
                        f"`pool.streams[{stream.row}]` keeps a rest of "
                        f"{format_steps(stream.rest)} from `feed`, which comes before this hop. "
                        "Feed it as well, pool.feed({stream: x}), or start a new sequence with "
                        "stream.reset()."
                    )
        self.check_room(streams, rows, 1)

    def check_room(self, streams: Sequence[PoolStream], rows: Rows, hops: int | Rows) -> None:
        """Check that streams take more hops.

        Raises:
            InputError: One has finished, or a state would count past the end of a table.
        """
        if self.finished:
            for stream in streams:
                if stream in self.finished:
                    raise InputError(
                        f"`pool.streams[{stream.row}]` has finished. Start a new sequence with "
                        "stream.reset(), or continue from a snapshot with "
                        "stream.restore(snapshot)."
                    )
        limits = self._contract.limited_states
        values = self._states.read(rows) if limits else {}
        for name, limit in limits.items():
            axis = self._contract.state_ports[name].shape.index(BATCH)
            counts = np.moveaxis(values[name], axis, 0).reshape(len(rows), -1).max(1)
            full = np.flatnonzero(counts + hops > limit)
            if len(full):
                row, left = int(rows[full[0]]), limit - int(counts[full[0]])
                unit = "step" if self._contract.hop == 1 else "hop"
                came = int(np.broadcast_to(hops, len(rows))[full[0]])
                raise InputError(
                    f"`pool.streams[{row}]`: state `{name}` counts the {unit}s of a sequence up to "
                    f"{limit}, the end of a table of the model; {left} of them "
                    f"{'is' if left == 1 else 'are'} left, and {came} came. Start a new sequence "
                    "with stream.reset()."
                )

    def ages(self, rows: Rows) -> Rows:
        """Return the hops of the sequences so far, where an output is not defined yet."""
        states = self._states
        ages: Rows = states.hops[rows] - states.defined_after[rows] + self.chunks.undefined
        return ages

    def check_marks(self, ages: Rows) -> None:
        """Check that steps that are not defined can be marked in arrays of all streams.

        Raises:
            InputError: Such an output does not hold floats.
        """
        for name in self._contract.delays:
            port = self._steps[name]
            if np.dtype(port.dtype).kind != "f" and self._delayed(name, ages).any():
                raise InputError(
                    f"`{port}` is not defined yet for {int((self._delayed(name, ages) > 0).sum())} "
                    "of the streams, which an array of all streams can only say with NaN. Step "
                    "them by name: pool.step({stream: x})."
                )

    def mark_undefined(self, outputs: Arrays, ages: Rows) -> None:
        """Write NaN to the steps of outputs that are not defined.

        Args:
            outputs: The outputs of a step with a row for each stream.
            ages: The hops of the sequence of each stream before the step.
        """
        for name in self._contract.delays:
            batch, steps = self._steps[name].shape.index(BATCH), self._whole[name].sequence
            rows, left = np.moveaxis(outputs[name], batch, 0), self._delayed(name, ages)
            for entry in np.flatnonzero(left):
                row = rows[entry, ...]  # a view, also of a single number
                if self._contract.steps_per_hop(name) > 1 and steps is not None:
                    row = np.moveaxis(row, steps - (steps > batch), 0)[: left[entry]]
                row[...] = np.nan

    def _delayed(self, name: str, ages: Rows) -> Rows:
        """Return how many of the steps of an output are left that are not defined."""
        rate, delay = self._contract.steps_per_hop(name), self._contract.delays[name]
        left: Rows = np.maximum(delay - rate * ages, 0)
        return left

    def step_of(self, outputs: Arrays, entry: int, age: int) -> dict[str, Any]:
        """Return the outputs of a step of one stream, without those that are not defined.

        Args:
            outputs: The outputs with a row for each stream.
            entry: The place of the stream.
            age: The hops of its sequence before the step.
        """
        one = {
            name: np.take(array, [entry], self._steps[name].shape.index(BATCH))
            for name, array in outputs.items()
        }
        return self.strip(self.chunks.defined_step(one, age, 1), self._steps)

    def rows_of(self, outputs: Arrays) -> Iterable[Any]:
        """Return the outputs of a step of each stream, as `Stream.step` does; all are defined."""
        rows = {
            name: np.moveaxis(array, self._steps[name].shape.index(BATCH), 0)
            for name, array in outputs.items()
        }
        if len(rows) == 1:
            return next(iter(rows.values()))
        return (dict(zip(rows, each, strict=True)) for each in zip(*rows.values(), strict=True))

    def strip(self, outputs: Mapping[str, Any], ports: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of one stream without the batch axis."""
        return {
            name: None if array is None else without_batch(ports[name], array)
            for name, array in outputs.items()
        }

    def strip_chunk(self, outputs: Any) -> dict[str, Any]:
        """Return the outputs of a chunk of one stream by name, without the batch axis."""
        if not isinstance(outputs, dict):
            outputs = dict.fromkeys(self._whole, outputs)  # the only one
        return self.strip(outputs, {name: axes.port for name, axes in self._whole.items()})

    def snapshot(self, stream: PoolStream, row: int) -> dict[str, NDArray[Any]]:
        """Return the state of a stream, as `Stream.snapshot` does for a batch of 1."""
        rows = np.array([row])
        states = self._states.read(rows)
        age = int(self.ages(rows)[0])
        if age < self.chunks.undefined:
            states[HOPS_KEY] = np.array(age)
        rest = self.rests.get(stream, {})
        return states | {REST_KEY + name: array.copy() for name, array in rest.items()}

    def restore(self, stream: PoolStream, row: int, snapshot: Mapping[str, ArrayLike]) -> None:
        """Give a stream what `snapshot` returned.

        Raises:
            StateError: A name, dtype, shape or value is not this model's.
        """
        given, age, rest = self.chunks.place_in(snapshot, 1)
        states = check_states(given, self._contract.state_ports, 1)
        rows = np.array([row])
        self._states.scatter(rows, states)
        self._states.defined_after[row] = self._states.hops[row] - age + self.chunks.undefined
        self.forget(stream)
        if rest:
            self.rests[stream] = rest
