"""A model that runs chunk after chunk, with its state carried from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.chunk_lengths import ChunkLengths
from edgernn.cli.data_files.output_file import OutputFile, write_npz
from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, StateError
from edgernn.numpy_files import NotArraysError, load_npz
from edgernn.regular_files import MEGABYTE, regular_file_size
from edgernn.runtime import Model, Stream
from edgernn.runtime.port_axes import input_axes, output_axes

__all__ = ["Arrays", "ChunkRunner", "read_state"]

_MAX_STATE_BYTES = 1024 * MEGABYTE

Arrays = Mapping[str, NDArray[Any]]
Observer = Callable[[Arrays, Arrays], None]


class ChunkRunner:
    """Runs one chunk after another; a chunk of one step goes through the step graph.

    Where the sequence graph takes a constant number of steps only, a stream takes the others too.
    A model in hops runs as a stream, which keeps the steps that fill no hop for the next chunk, and
    drops the outputs that are not defined. Lengths count the steps of all chunks together: a
    sequence that has ended keeps its state, and its outputs are those of padding.

    Attributes:
        observe: Called with the inputs and outputs of every chunk, if it is set.
    """

    def __init__(self, model: Model, state: Arrays | None = None) -> None:
        self._model = model
        self._inputs = input_axes(model.contract)
        self._outputs = output_axes(model.contract)
        self._state = state
        self._stream: Stream | None = None
        self._lengths = ChunkLengths(model.contract)
        self._last_outputs: Arrays = {}
        self._without_steps: Arrays = {}
        self.observe: Observer | None = None

    def run(self, chunk: Arrays) -> Arrays:
        """Return the outputs of the next chunk, in the ports' full shapes, by name.

        An output without an axis of steps is missing as long as it is not defined.

        Raises:
            InputError: The chunk does not fit the model.
            StateError: The initial state does not fit the model.
        """
        ends = self._lengths.advance(chunk, self.step_count(chunk))
        data = {name: array for name, array in chunk.items() if not self._inputs[name].optional}
        self._last_outputs = self._run_with_ends(data, ends) if ends else self._run_chunk(data)
        if self.observe is not None:
            self.observe(chunk, self._last_outputs)
        return self._last_outputs

    def check_lengths(self) -> None:
        """Check that no length is larger than the number of steps of all chunks together.

        Raises:
            InputError: One is.
        """
        self._lengths.check_total()

    def end(self, pad: bool) -> Arrays:
        """End the sequence of a model in hops, and return the outputs that come only then.

        Args:
            pad: Whether to fill a rest with zeros up to a hop, and run it too.
        """
        if self._stream is None:
            return {}
        outputs = self._by_name(self._stream.finish(0.0 if pad else None, **self._without_steps))
        if self.observe is not None:
            self.observe({}, outputs)
        return outputs

    @property
    def rest(self) -> int:
        """The number of last steps that fill no hop."""
        return self._stream.rest if self._stream else 0

    def _run_chunk(self, chunk: Arrays) -> Arrays:
        contract = self._model.contract
        if contract.in_hops:
            self._without_steps = {
                name: array for name, array in chunk.items() if self._inputs[name].sequence is None
            }
            return self._by_name(self._open_stream(chunk).feed(**chunk))
        if contract.carry and contract.step and self._is_one_step(chunk):
            return self._run_step(chunk)
        if contract.carry and SEQUENCE in contract.constants:
            return self._by_name(self._open_stream(chunk).feed(**chunk))
        return self._run_sequence_graph(chunk)

    def _run_sequence_graph(self, chunk: Arrays) -> Arrays:
        result = self._model.run(chunk, self.state)
        self._stream, self._state = None, result.state
        return result.outputs

    def _run_with_ends(self, data: Arrays, ends: Arrays) -> Arrays:
        """Run a chunk in which sequences end, or before which they have ended."""
        before = self.state or {}
        running = np.logical_and.reduce([left > 0 for left in ends.values()])
        lengths = {name: np.maximum(steps, 1) for name, steps in ends.items()}
        outputs = self._run_sequence_graph({**data, **lengths})
        if running.all():
            return outputs
        after = self._state or {}
        self._state = {
            name: _select(running, after[name], before[name], port.axis(BATCH))
            for name, port in self._model.contract.state_ports.items()
        }
        padded = self._padding_outputs(data, ends)
        old = {name: padded.get(name, self._last_outputs[name]) for name in outputs}
        return {
            name: _select(running, array, old[name], self._outputs[name].batch)
            for name, array in outputs.items()
        }

    def _padding_outputs(self, data: Arrays, ends: Arrays) -> Arrays:
        """Return the outputs of a model for steps after the end of their sequence.

        The chunk gets one more step in front, and every sequence the length 1: what follows it is
        padding.
        """
        with_step_in_front = {
            name: array
            if (axis := self._inputs[name].sequence) is None
            else np.concatenate([self._inputs[name].slice_steps(array, 0, 1), array], axis)
            for name, array in data.items()
        }
        lengths = {name: np.ones_like(left) for name, left in ends.items()}
        outputs = self._model.run({**with_step_in_front, **lengths}, self.state).outputs
        steps = self.step_count(with_step_in_front)
        return {
            name: self._outputs[name].slice_steps(array, 1, steps)
            for name, array in outputs.items()
            if self._outputs[name].sequence is not None
        }

    def step_count(self, chunk: Arrays) -> int:
        """Return the number of steps in `chunk`."""
        sizes = (
            chunk[name].shape[axis.sequence]
            for name, axis in self._inputs.items()
            if axis.sequence is not None
        )
        return next(sizes, 1)

    @property
    def state(self) -> Arrays | None:
        """The state after the last chunk; None for the initial one."""
        return self._stream.snapshot() if self._stream else self._state

    @state.setter
    def state(self, state: Arrays) -> None:
        self._stream, self._state = None, state

    def batch_size(self, chunk: Arrays) -> int:
        """Return the number of sequences in `chunk`."""
        sizes = [
            chunk[name].shape[axis.batch]
            for name, axis in self._inputs.items()
            if axis.batch is not None and name in chunk
        ]
        return next(iter(sizes), 1)

    def write_state(self, target: OutputFile) -> None:
        """Write the state as .npz, one array per name.

        Raises:
            StateError: It holds NaN or infinity, from which a recurrence never recovers.
        """
        state = self.state or {}
        for name, array in state.items():
            if not np.isfinite(array).all():
                raise StateError(
                    f"State `{name}` has values that are NaN or infinite after this run, so "
                    f"`{target.path}` was not written. Look for them in the outputs."
                )
        with target.open() as opened:
            write_npz(opened.stream, state)

    def _is_one_step(self, chunk: Arrays) -> bool:
        return all(
            chunk[name].shape[axis.sequence] == 1
            for name, axis in self._inputs.items()
            if axis.sequence is not None
        )

    def _run_step(self, chunk: Arrays) -> Arrays:
        stream = self._open_stream(chunk)
        inputs = {name: self._inputs[name].to_step(array) for name, array in chunk.items()}
        outputs = self._by_name(stream.step(**inputs))
        return {name: self._outputs[name].from_step(array) for name, array in outputs.items()}

    def _open_stream(self, chunk: Arrays) -> Stream:
        """Return the stream that continues after the last chunk."""
        if self._stream is None:
            self._stream = self._model.stream(self.batch_size(chunk))
            if self._state is not None:
                self._stream.restore(self._state)
        return self._stream

    def _by_name(self, outputs: Any) -> Arrays:
        """Return the outputs that are defined."""
        named = outputs if isinstance(outputs, dict) else {next(iter(self._outputs)): outputs}
        return {name: array for name, array in named.items() if array is not None}


def _select(
    running: NDArray[Any], new: NDArray[Any], old: NDArray[Any], batch: int | None
) -> NDArray[Any]:
    """Return the new values of the sequences that continue and the old ones of those that ended.

    Args:
        running: (batch,) bool: whether the sequence continues.
        new: The new values.
        old: The old values, of the same shape.
        batch: The batch axis; None where the values have none.
    """
    if batch is None:
        return new if running.all() else old
    shape = [-1 if axis == batch else 1 for axis in range(new.ndim)]
    return np.where(running.reshape(shape), new, old)


def read_state(path: Path) -> Arrays:
    """Read a state that `ChunkRunner.write_state` wrote; the model checks names and shapes.

    Raises:
        InputError: There is no such file.
        StateError: It is not a .npz file of arrays.
    """
    size = regular_file_size(path, f"State `{path}`", InputError, _MAX_STATE_BYTES)
    try:
        with path.open("rb") as file:
            return load_npz(file, size)
    except OSError as error:
        raise InputError(f"State `{path}` cannot be read: {error.strerror or error}.") from error
    except NotArraysError as error:
        raise StateError(
            f"`{path}` is not a state: expected a .npz file with one array per state, as "
            f"--state-out writes it, but {error}."
        ) from error
