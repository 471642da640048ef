"""The samples of a sound: from a file, or from a pipe while they come, as from a microphone."""

from __future__ import annotations

import wave
from typing import IO, BinaryIO, Protocol, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgernn.cli.data_files.input_stream import content_of_pipe, peek
from edgernn.errors import InputError

__all__ = ["SoundSource", "open_sound"]

_UNKNOWN_LENGTH = 2**62


class SoundSource(Protocol):
    """Samples in order.

    Attributes:
        rate: The number of samples per second.
        channels: The number of channels.
        steps: The number of samples; None where that is not known.
        is_live: Whether the samples may come as slowly as they are heard.
    """

    rate: int
    channels: int
    steps: int | None
    is_live: bool

    def read(self, count: int) -> NDArray[np.float32]:
        """Return the next samples, (samples, channels) from -1 to 1; at the end fewer than `count`.

        Raises:
            InputError: They cannot be read.
        """
        ...


def open_sound(stream: IO[bytes], where: str) -> SoundSource:
    """Open a sound; a .wav of integers is read from a pipe while it comes, others to their end.

    Args:
        stream: A file, or a pipe.
        where: What messages call it.

    Raises:
        InputError: It is not a sound that can be read.
    """
    if stream.seekable():
        stream.seek(0)
        return _File(stream, where)
    if peek(stream, 4) == b"RIFF":
        return _Pipe(stream, where)
    return _File(content_of_pipe(b"", stream, where), where)


class _File:
    """A sound that libsndfile reads."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._where = where
        try:
            self._file = soundfile.SoundFile(cast(BinaryIO, stream))
        except soundfile.LibsndfileError as error:
            raise InputError(f"{where} cannot be read as a sound: {error.error_string}") from error
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        frames = self._file.frames
        self.steps: int | None = frames if frames < _UNKNOWN_LENGTH else None
        self.is_live = False
        self._done = 0

    def read(self, count: int) -> NDArray[np.float32]:
        try:
            samples = self._file.read(count, "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._broken() from error
        self._done += len(samples)
        if not len(samples) and self.steps is not None and self._done < self.steps:
            raise self._broken()
        return cast("NDArray[np.float32]", samples)

    def _broken(self) -> InputError:
        total = "" if self.steps is None else f" of {self.steps:,}"
        return InputError(
            f"{self._where} cannot be read after {self._done:,}{total} samples: the file is "
            "damaged or cut off. Give a whole file."
        )


class _Pipe:
    """A .wav of integers, read without a seek."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        try:
            self._wave = wave.Wave_read(stream)
        except (wave.Error, EOFError) as error:
            raise InputError(
                f"{where} is a .wav that cannot be read from a pipe: "
                f"{str(error) or 'its header is cut off'}. Write it to a file and name that, or "
                "send 16-bit integers."
            ) from error
        self.rate = self._wave.getframerate()
        self.channels = self._wave.getnchannels()
        self.steps: int | None = None  # what sends a stream does not know it
        self.is_live = True
        self._width = self._wave.getsampwidth()

    def read(self, count: int) -> NDArray[np.float32]:
        data = self._wave.readframes(count)
        frame = self._width * self.channels
        values = np.frombuffer(data[: len(data) // frame * frame], np.uint8)
        values = values.reshape(-1, self._width)
        if self._width == 1:  # bytes alone have no sign
            values = values ^ np.uint8(0x80)
        wide = np.zeros((len(values), 4), np.uint8)
        wide[:, 4 - self._width :] = values
        samples = wide.view("<i4") / np.float64(2**31)
        return samples.reshape(-1, self.channels).astype(np.float32)
