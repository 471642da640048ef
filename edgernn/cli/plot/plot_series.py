"""The inputs and outputs of a run as they are drawn: of bounded size, however long the run is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.chunk_runner import Arrays
from edgernn.contract import Contract
from edgernn.join_chunks import SEQUENCE_OUTER
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes, required_axes

__all__ = ["PlotRecorder", "Series"]

_MOST_INTERVALS = 2048
_MOST_FEATURES = 1024
_WAITING_STEPS = 512

Values = NDArray[np.float64]


class Series:
    """The values of one port over the steps of one sequence.

    Up to 2048 steps are kept as they are. Of more steps, the smallest and the largest value in
    each of at most 2048 intervals are kept, so that no peak is lost. Of more than 1024 features,
    the first 1024 are kept.

    Attributes:
        name: The name of the port.
        is_input: Whether the port is an input.
        is_ids: Whether it is an input of integers.
        features: The number of features in a step.
        kept: The number of those that are kept.
        length: The length of one of its steps, in steps of the input.
        steps: The number of steps so far.
        starts: (intervals,) int: the first step of each interval.
        low: (intervals, features): the smallest values.
        high: (intervals, features): the largest values.
    """

    def __init__(
        self,
        name: str,
        features: int,
        is_input: bool = False,
        is_ids: bool = False,
        length: float = 1,
    ) -> None:
        self.name, self.features = name, features
        self.is_input, self.is_ids = is_input, is_ids
        self.length = length
        self.steps = 0
        self.kept = min(features, _MOST_FEATURES)
        self.starts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.low: Values = np.zeros((0, self.kept))
        self.high: Values = np.zeros((0, self.kept))
        self._length = 1  # of an interval, in values
        self._waiting: list[Values] = []
        self._waiting_starts: list[NDArray[np.int64]] = []

    def add(self, start: int, values: NDArray[Any]) -> None:
        """Add the values, (steps, features), of the steps from `start` on."""
        self._waiting.append(values[:, :_MOST_FEATURES].astype(np.float64))
        self._waiting_starts.append(np.arange(start, start + len(values)))
        self.steps += len(values)
        if sum(map(len, self._waiting)) >= _WAITING_STEPS:
            self.flush()

    def flush(self) -> None:
        """Take all that was added into the intervals."""
        if not self._waiting:
            return
        values, starts = np.concatenate(self._waiting), np.concatenate(self._waiting_starts)
        self._waiting, self._waiting_starts = [], []
        cuts = np.arange(0, len(values), self._length)
        self._append(
            starts[cuts], np.minimum.reduceat(values, cuts), np.maximum.reduceat(values, cuts)
        )
        while len(self.starts) > _MOST_INTERVALS:
            self._length *= 2
            cuts = np.arange(0, len(self.starts), 2)
            self.starts = self.starts[cuts]
            self.low = np.minimum.reduceat(self.low, cuts)
            self.high = np.maximum.reduceat(self.high, cuts)

    def _append(self, starts: NDArray[np.int64], low: Values, high: Values) -> None:
        self.starts = np.concatenate([self.starts, starts])
        self.low = np.concatenate([self.low, low])
        self.high = np.concatenate([self.high, high])


class PlotRecorder:
    """Keeps the inputs and outputs of the first sequence of a run.

    Attributes:
        steps: The number of steps so far.
        sequences: The number of sequences.
    """

    def __init__(self, contract: Contract) -> None:
        self._inputs = {
            name: axis
            for name, axis in required_axes(input_axes(contract)).items()
            if axis.sequence is not None
        }
        self._outputs = output_axes(contract)
        self._lengths = {
            name: contract.hop / contract.steps_per_hop(name)
            for name, axis in self._outputs.items()
            if axis.sequence is not None
        }
        self._series: dict[str, Series] = {}
        self.steps = 0
        self.sequences = 1

    def record(self, steps: int, sequences: int, inputs: Arrays, outputs: Arrays) -> None:
        """Keep the inputs and outputs of a chunk.

        Args:
            steps: The number of its steps.
            sequences: The number of its sequences.
            inputs: Its inputs by name.
            outputs: Its outputs by name, in the ports' full shapes.
        """
        self.sequences = sequences
        for ports, arrays in ((self._inputs, inputs), (self._outputs, outputs)):
            for name, axis in ports.items():
                if name not in arrays or not arrays[name].size:
                    continue
                values = _first_sequence(axis, arrays[name], sequences)
                series = self._series.get(name)
                if series is None:
                    is_input = ports is self._inputs
                    is_ids = is_input and values.dtype.kind in "iu" and values.shape[1] == 1
                    length = self._lengths.get(name, 1)
                    series = Series(name, values.shape[1], is_input, is_ids, length)
                    self._series[name] = series
                start = self.steps + steps - 1 if axis.sequence is None else series.steps
                series.add(start, values)
        self.steps += steps

    def series(self) -> list[Series]:
        """Return what was kept: the inputs, then the outputs."""
        for one in self._series.values():
            one.flush()
        return list(self._series.values())


def _first_sequence(axis: PortAxes, array: NDArray[Any], sequences: int) -> NDArray[Any]:
    """Return the values of the first sequence, (steps, features); one step without that axis."""
    if axis.flattened:
        array = np.moveaxis(array, axis.sequence or 0, 0)
        stride = sequences if axis.port.axes[axis.sequence or 0] == SEQUENCE_OUTER else 1
        steps = len(array) // sequences
        return array[::stride][:steps].reshape(steps, -1)
    if axis.batch is not None:
        array = array.take([0], axis.batch)
    if axis.sequence is None:
        return array.reshape(1, -1)
    return np.moveaxis(array, axis.sequence, 0).reshape(array.shape[axis.sequence], -1)
