"""Chunks of different lengths for streams of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract
from edgernn.runtime.pool.pool_inputs import Arrays, PoolInputs
from edgernn.runtime.pool.pool_parts import complete
from edgernn.runtime.pool.pool_runner import PoolRunner
from edgernn.runtime.pool.pool_sequences import PoolSequences
from edgernn.runtime.pool.pool_states import Rows
from edgernn.runtime.port_axes import output_axes
from edgernn.runtime.stream_inputs import chunk_ports

if TYPE_CHECKING:
    from edgernn.runtime.pool.pool_stream import PoolStream

__all__ = ["PoolChunks"]


@dataclass(frozen=True)
class _Chunk:
    """The chunk of one stream.

    Attributes:
        arrays: Its whole hops, with a rest from before.
        hops: Their number.
        rest: The steps that are kept.
    """

    arrays: Arrays
    hops: int
    rest: Mapping[str, NDArray[Any]]

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What chunks have in common that run as one batch."""
        return self.hops, *(array.shape for array in self.arrays.values())


class PoolChunks:
    """Runs chunks of streams: those of one length as one batch."""

    def __init__(
        self,
        contract: Contract,
        inputs: PoolInputs,
        runner: PoolRunner,
        sequences: PoolSequences,
    ) -> None:
        self._inputs, self._runner, self._sequences = inputs, runner, sequences
        ports = (*chunk_ports(contract), *(axes.port for axes in output_axes(contract).values()))
        self._axes: dict[str, int] | None = None
        if all(BATCH in port.shape for port in ports):
            self._axes = {port.name: port.shape.index(BATCH) for port in ports}

    def feed(
        self, streams: Sequence[PoolStream], rows: Rows, values: Sequence[object]
    ) -> list[dict[str, Any]]:
        """Run a chunk of each stream, and return its outputs without the batch axis.

        No stream changes before all have run.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes, a stream has finished
                or has no positions left.
            ProviderError: ONNX Runtime failed.
        """
        chunks = [
            self._chunk(stream, int(row), value)
            for stream, row, value in zip(streams, rows, values, strict=True)
        ]
        hops = np.array([chunk.hops for chunk in chunks])
        self._sequences.check_room(streams, rows, hops)
        outputs = [self._sequences.chunks.empty(1) for _ in chunks]
        ages, commits = self._sequences.ages(rows), []
        for group in _groups(chunks):
            found, commit = self._runner.run_chunks(
                [chunks[entry].arrays for entry in group], int(hops[group[0]]), rows[group],
                self._axes,
            )  # fmt: skip
            commits.append(commit)
            for entry, arrays in zip(group, found, strict=True):
                outputs[entry] = self._sequences.chunks.defined(
                    arrays, int(ages[entry]), int(hops[entry]), 1
                )
        rests = [chunk.rest for chunk in chunks]
        complete(lambda: self._commit(commits, streams, rests))
        return [self._sequences.strip_chunk(one) for one in outputs]

    def _chunk(self, stream: PoolStream, row: int, value: object) -> _Chunk:
        arrays, steps = self._inputs.chunk(value, row)
        rest = self._sequences.rests.get(stream, {})
        whole, hops, left = self._sequences.chunks.split(rest, arrays, steps)
        return _Chunk(dict(whole), hops, left)

    def _commit(
        self,
        commits: Sequence[Callable[[], None]],
        streams: Sequence[PoolStream],
        rests: Sequence[Mapping[str, NDArray[Any]]],
    ) -> None:
        for commit in commits:
            commit()
        for stream, rest in zip(streams, rests, strict=True):
            if rest:
                self._sequences.rests[stream] = rest
            else:
                self._sequences.rests.pop(stream, None)


def _groups(chunks: Sequence[_Chunk]) -> list[list[int]]:
    """Return the places of chunks that run, those of the same sizes together."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, chunk in enumerate(chunks):
        if chunk.hops:
            groups.setdefault(chunk.sizes, []).append(place)
    return list(groups.values())
