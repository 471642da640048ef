"""Read steps from a sound file, block by block: .wav, .flac or .ogg; a step is one sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.csv_columns import choose_columns
from edgernn.cli.data_files.sound_source import open_sound
from edgernn.cli.data_files.step_rows import StepRows
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, required_axes

__all__ = ["SoundReader"]

_BLOCK = 65536
_CHUNKS_PER_SECOND = 100


class SoundReader:
    """The samples of a sound file: one step each, a column for every channel.

    Attributes:
        rate: The number of samples per second.
        steps: The number of samples; None where that is not known.
    """

    def __init__(
        self, stream: IO[bytes], axes: Mapping[str, PortAxes], where: str, columns: str | None
    ) -> None:
        """Read the header.

        Args:
            stream: The file, which can seek.
            axes: The data inputs of the model.
            where: What messages call the file.
            columns: The channels that `--columns` names; None for all.

        Raises:
            InputError: It is not a sound, or does not fit the model.
        """
        self._where = where
        self._port, self._rows = _input_of_samples(axes, where)
        self._source = open_sound(stream, where)
        self.rate, self.steps = self._source.rate, self._source.steps
        self._channels = self._choose(columns)

    def chunk_size(self, steps_per_answer: int | None, block: int | None) -> int | None:
        """Return the number of steps to a chunk where none was asked for; None for all steps.

        Args:
            steps_per_answer: The number of steps that give an output; None where all must be there.
            block: The number for a file. From a pipe it is a hundredth of a second, or as many as
                give an output.
        """
        if not self._source.is_live or steps_per_answer is None:
            return block
        return max(1, self.rate // (_CHUNKS_PER_SECOND * steps_per_answer)) * steps_per_answer

    def chunks(self, size: int | None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield chunks of at most `size` steps, in the port's full shape; None for one chunk.

        Raises:
            InputError: There is no sample, one is NaN or infinite, or they cannot be read.
        """
        done = 0
        while blocks := self._read(size):
            where = self._where if done == 0 else f"{self._where}, from step {done} on,"
            rows = np.concatenate(blocks)[:, self._channels]
            yield {self._port: self._rows.to_chunk(rows, where)}
            done += len(rows)
        if not done:
            raise InputError(f"{self._where} holds no samples; at least one is needed.")

    def _read(self, size: int | None) -> list[NDArray[np.float32]]:
        """Return at most `size` steps in blocks, (steps, channels)."""
        blocks: list[NDArray[np.float32]] = []
        left = size
        while left is None or left:
            block = self._source.read(_BLOCK if left is None else min(left, _BLOCK))
            if not len(block):
                break
            blocks.append(block)
            left = None if left is None else left - len(block)
        return blocks

    def _choose(self, columns: str | None) -> list[int]:
        """Return the indexes of the channels that feed the model."""
        count, rows = self._source.channels, self._rows
        if columns is not None:
            chosen = choose_columns(columns, None, self._where, count)
            if not rows.fits(len(chosen)):
                raise InputError(
                    f"--columns names {_channels(len(chosen))}; {rows.takes} per step."
                )
            return chosen
        if rows.fits(count):
            return list(range(count))
        message = f"{self._where} has {_channels(count)}; {rows.takes} per step."
        fewer = next((size for size in range(count - 1, 0, -1) if rows.fits(size)), None)
        if fewer is None:
            raise InputError(f"{message} Give a sound with as many.")
        first = "1" if fewer == 1 else f"1-{fewer}"
        raise InputError(f"{message} Choose {fewer} by number, such as --columns {first}.")


def _input_of_samples(axes: Mapping[str, PortAxes], where: str) -> tuple[str, StepRows]:
    """Return the only input, which takes the samples.

    Raises:
        InputError: There is another, or it does not take samples.
    """
    inputs = required_axes(axes)
    if len(inputs) != 1:
        raise InputError(
            f"{where} is a sound, which holds one input; the model has {len(inputs)}: "
            f"{', '.join(f'`{name}`' for name in inputs)}. Give .npz or .jsonl."
        )
    ((name, axis),) = inputs.items()
    rows = StepRows(axis)
    is_real = np.dtype(axis.port.dtype).kind == "f"
    if not is_real or axis.sequence is None or rows.shape.count(-1) > 1:
        raise InputError(
            f"{where} is a sound, whose steps are real numbers, one per channel; `{axis.port}` "
            "does not take that. Give .npy, .npz or .jsonl."
        )
    return name, rows


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
