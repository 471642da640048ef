"""Sound files as sequences: which samples become which steps, and what is refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgernn.cli.data_files.sequence_reader import open_sequence
from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

RATE = 8000
SAMPLES = np.random.default_rng(0).integers(-20000, 20000, (1000, 2)).astype(np.int16)
VALUES = SAMPLES.astype(np.float32) / 32768

Axes = dict[str, PortAxes]


def port(*shape: int | str, dtype: str = "float32", name: str = "x") -> Axes:
    return {name: PortAxes.of(Port(name, dtype, shape))}


MONO = port("batch", "sequence")
STEREO = port("batch", "sequence", 2)
CHANNELS_FIRST = port("batch", 2, "sequence")
ANY_CHANNELS = port("batch", "channels", "sequence")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, samples: NDArray[Any] = SAMPLES, **settings: Any) -> None:
    soundfile.write(name, samples, RATE, **settings)


def read(name: str, axes: Axes, *options: Any, **named: Any) -> NDArray[Any]:
    """Return the chunks of a file, joined."""
    with open_sequence(name, axes, *(options or (None, None)), **named) as sequence:
        assert (sequence.format, sequence.rate, sequence.batched) == ("sound", RATE, False)
        ((name, axis),) = axes.items()
        return axis.join_chunks([chunk[name] for chunk in sequence.chunks])


@pytest.mark.parametrize("suffix", ["wav", "flac", "rf64"])
def test_samples_are_exact(suffix: str) -> None:
    """A sample of 16 bits is its integer divided by 32768; what a file is, its content says."""
    write("x", format=suffix, subtype="PCM_16")
    np.testing.assert_array_equal(read("x", STEREO)[0], VALUES)


def test_ogg() -> None:
    """Ogg is read too; it keeps a tone to a hundredth."""
    tone = 0.5 * np.sin(np.arange(8000) / 10)
    write("x.ogg", tone)
    np.testing.assert_allclose(read("x.ogg", MONO)[0], tone, atol=0.02)


@pytest.mark.parametrize(
    ("axes", "wanted"),
    [
        (STEREO, VALUES[None]),
        (port("batch", "sequence", 2, 1), VALUES[None, ..., None]),
        (port("sequence", "batch", 2), VALUES[:, None]),
        (port("sequence", 2), VALUES),
        (CHANNELS_FIRST, VALUES.T[None]),
        (ANY_CHANNELS, VALUES.T[None]),
        (port(1, 2, "sequence", dtype="float16"), VALUES.T[None].astype(np.float16)),
    ],
    ids=lambda value: str(value["x"].port) if isinstance(value, dict) else "",
)
def test_channels_are_features(axes: Axes, wanted: NDArray[Any]) -> None:
    """Channels go where the port has its features, whatever the order of its axes."""
    write("x.wav")
    np.testing.assert_array_equal(read("x.wav", axes), wanted)


@pytest.mark.parametrize(
    "axes", [MONO, port("batch", "sequence", 1), port("batch", 1, "sequence"), port("sequence")]
)
def test_one_channel(axes: Axes) -> None:
    """A sound of one channel needs no axis of channels, but may have one."""
    write("x.wav", SAMPLES[:, 0])
    np.testing.assert_array_equal(read("x.wav", axes).ravel(), VALUES[:, 0])


@pytest.mark.parametrize(("columns", "chosen"), [("2", [1]), ("1", [0])])
def test_a_channel_is_chosen(columns: str, chosen: list[int]) -> None:
    """`--columns` chooses channels by number."""
    write("x.wav")
    got = read("x.wav", MONO, None, None, columns)
    np.testing.assert_array_equal(got[0], VALUES[:, chosen[0]])


@pytest.mark.parametrize(
    ("chunk", "block", "sizes"), [(400, 7, [400, 400, 200]), (None, 600, [600, 400])]
)
def test_chunks(chunk: int | None, block: int, sizes: list[int]) -> None:
    """A sound comes in the chunks that were asked for, else in blocks."""
    write("x.wav")
    with open_sequence("x.wav", STEREO, chunk, None, None, block) as sequence:
        assert sequence.steps == 1000
        assert [part["x"].shape[1] for part in sequence.chunks] == sizes


def test_standard_input_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as standard input is read as by its name."""
    write("x.flac")
    with Path("x.flac").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        np.testing.assert_array_equal(read("-", STEREO)[0], VALUES)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[str, BinaryIO]]:
    """Return the name of a pipe, and what writes to it without a buffer."""
    out, into = os.pipe()
    with open(into, "wb", buffering=0) as stream:
        yield f"/dev/fd/{out}", stream
    os.close(out)


PIPED = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("FLAC", "PCM_16")]


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs names of descriptors")
@pytest.mark.parametrize(("format_", "subtype"), [*PIPED, ("WAV", "PCM_U8")])
def test_pipe(format_: str, subtype: str) -> None:
    """A sound that comes through a pipe is the same as in a file."""
    write("x", format=format_, subtype=subtype)
    wanted = read("x", STEREO)
    with pipe() as (name, stream):
        stream.write(Path("x").read_bytes())
        stream.close()
        np.testing.assert_array_equal(read(name, STEREO), wanted)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs names of descriptors")
@pytest.mark.parametrize(("steps_per_answer", "size"), [(1, 80), (30, 60), (160, 160)])
def test_live(steps_per_answer: int, size: int) -> None:
    """A .wav is answered while it comes: a hundredth of a second, or more where outputs need it."""
    write("x.wav", subtype="PCM_16")
    content = Path("x.wav").read_bytes()
    start = len(content) - SAMPLES.nbytes
    with pipe() as (name, stream):
        stream.write(content[:start])
        with open_sequence(name, STEREO, None, steps_per_answer, None, 65536) as sequence:
            assert sequence.steps is None
            for first in (0, size):
                stream.write(SAMPLES[first : first + size].tobytes())
                chunk = next(sequence.chunks)["x"]
                np.testing.assert_array_equal(chunk[0], VALUES[first : first + size])
            stream.close()
            assert list(sequence.chunks) == []


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs names of descriptors")
@pytest.mark.parametrize(
    ("subtype", "size", "reason"),
    [("FLOAT", None, "unknown format: 3"), ("PCM_16", 20, "its header is cut off")],
)
def test_pipe_refused(subtype: str, size: int | None, reason: str) -> None:
    """A pipe whose samples are not integers is refused, with what it may send."""
    write("x.wav", subtype=subtype)
    with pipe() as (name, stream):
        stream.write(Path("x.wav").read_bytes()[:size])
        stream.close()
        with pytest.raises(InputError) as caught:
            read(name, STEREO)
    assert str(caught.value) == (
        f"`{name}` is a .wav that cannot be read from a pipe: {reason}. Write it to a file and "
        "name that, or send 16-bit integers."
    )


NAN = np.where(np.arange(1000) == 700, np.nan, 0)
TWO = {**STEREO, **port("batch", "sequence", 1, name="gain")}
REFUSED = {
    "too many": (
        MONO,
        SAMPLES,
        None,
        "`x.wav` has 2 channels; `x: float32[batch, sequence]` takes 1 per step. Choose 1 by "
        "number, such as --columns 1.",
    ),
    "too few": (
        STEREO,
        SAMPLES[:, 0],
        None,
        "`x.wav` has 1 channel; `x: float32[batch, sequence, 2]` takes 2 per step. Give a sound "
        "with as many.",
    ),
    "wrong number": (
        MONO,
        SAMPLES,
        "1,2",
        "--columns names 2 channels; `x: float32[batch, sequence]` takes 1 per step.",
    ),
    "no such channel": (
        MONO,
        SAMPLES,
        "3",
        "`3` in --columns is not among the columns of `x.wav`, which are 1 to 2.",
    ),
    "ids": (
        port("batch", "sequence", dtype="int64"),
        SAMPLES[:, 0],
        None,
        "`x.wav` is a sound, whose steps are real numbers, one per channel; "
        "`x: int64[batch, sequence]` does not take that. Give .npy, .npz or .jsonl.",
    ),
    "no steps": (
        port("batch", 2),
        SAMPLES,
        None,
        "`x.wav` is a sound, whose steps are real numbers, one per channel; "
        "`x: float32[batch, 2]` does not take that. Give .npy, .npz or .jsonl.",
    ),
    "two inputs": (
        TWO,
        SAMPLES,
        None,
        "`x.wav` is a sound, which holds one input; the model has 2: `x`, `gain`. Give .npz or "
        ".jsonl.",
    ),
    "empty": (MONO, SAMPLES[:0, 0], None, "`x.wav` holds no samples; at least one is needed."),
    "nan": (
        MONO,
        NAN,
        None,
        "`x.wav`, from step 400 on, holds nan at (300,) for `x: float32[batch]`; a recurrence "
        "never recovers from it. Give finite numbers.",
    ),
}


@pytest.mark.parametrize(
    ("axes", "samples", "columns", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refused(axes: Axes, samples: NDArray[Any], columns: str | None, message: str) -> None:
    """A sound that does not fit the model is refused with both."""
    write("x.wav", samples, subtype="FLOAT" if samples.dtype.kind == "f" else None)
    with pytest.raises(InputError) as caught:
        read("x.wav", axes, 400, None, columns)
    assert str(caught.value) == message


def test_cut_off() -> None:
    """A file that ends before its header says gives no steps that were not there."""
    write("x.flac")
    Path("cut").write_bytes(Path("x.flac").read_bytes()[:-700])
    with pytest.raises(InputError) as caught:
        read("cut", STEREO, 100, None)
    assert str(caught.value) == (
        "`cut` cannot be read after 0 of 1,000 samples: the file is damaged or cut off. Give a "
        "whole file."
    )


@pytest.mark.parametrize("start", [b"RIFF", b"fLaC", b"OggS"])
def test_no_sound(start: bytes) -> None:
    """What only starts as a sound is refused with the library's reason."""
    Path("x").write_bytes(start + bytes(100))
    with pytest.raises(InputError, match=r"^`x` cannot be read as a sound: [A-Z].*\.$"):
        read("x", MONO)
