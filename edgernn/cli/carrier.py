"""A model and the state that is carried from chunk to chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.arrays import NotArraysError, load_npz
from edgernn.cli.target import Target, write_npz
from edgernn.contract import SEQUENCE
from edgernn.errors import InputError, StateError
from edgernn.files import regular
from edgernn.runtime import Model, Stream
from edgernn.runtime.axes import input_axes, output_axes

__all__ = ["Carrier", "read_state"]

Arrays = Mapping[str, NDArray[Any]]


class Carrier:
    """Runs one chunk after another, one step at a time where a chunk has one step only.

    Where the sequence graph takes a constant number of steps, a stream makes do with any.
    """

    def __init__(self, model: Model, state: Arrays | None = None) -> None:
        self._model = model
        self._inputs = input_axes(model.contract)
        self._outputs = output_axes(model.contract)
        self._state = state
        self._stream: Stream | None = None

    def answer(self, chunk: Arrays) -> Arrays:
        """Return the outputs of the next chunk, in the ports' full shapes, by name.

        Raises:
            InputError: The chunk does not fit the model.
            StateError: The state to start from does not.
        """
        contract = self._model.contract
        if contract.carry and contract.step and self._is_step(chunk):
            return self._step(chunk)
        if contract.carry and SEQUENCE in {**contract.constants, **contract.most}:
            return self._by_name(self._running(chunk).feed(**chunk))
        result = self._model.run(chunk, self.state)
        self._stream, self._state = None, result.state
        return result.outputs

    @property
    def state(self) -> Arrays | None:
        """The state after the last chunk; None for the initial one."""
        return self._stream.snapshot() if self._stream else self._state

    def batch(self, chunk: Arrays) -> int:
        """Return the number of sequences in `chunk`."""
        sizes = [
            chunk[name].shape[axis.batch]
            for name, axis in self._inputs.items()
            if axis.batch is not None
        ]
        return next(iter(sizes), 1)

    def write_state(self, target: Target) -> None:
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
        with target.opened() as opened:
            write_npz(opened.stream, state)

    def _is_step(self, chunk: Arrays) -> bool:
        return all(
            chunk[name].shape[axis.sequence] == 1
            for name, axis in self._inputs.items()
            if axis.sequence is not None
        )

    def _step(self, chunk: Arrays) -> Arrays:
        stream = self._running(chunk)
        inputs = {name: axis.to_step(chunk[name]) for name, axis in self._inputs.items()}
        outputs = self._by_name(stream.step(**inputs))
        return {name: self._outputs[name].from_step(array) for name, array in outputs.items()}

    def _running(self, chunk: Arrays) -> Stream:
        """Return the stream that goes on from the last chunk."""
        if self._stream is None:
            self._stream = self._model.stream(self.batch(chunk))
            if self._state is not None:
                self._stream.restore(self._state)
        return self._stream

    def _by_name(self, outputs: Any) -> Arrays:
        return outputs if isinstance(outputs, dict) else {next(iter(self._outputs)): outputs}


def read_state(path: Path) -> Arrays:
    """Read a state that `Carrier.write_state` wrote; the model checks names and shapes.

    Raises:
        InputError: There is no such file.
        StateError: It is not a .npz file of arrays.
    """
    size = regular(path, f"State `{path}`", InputError)
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
