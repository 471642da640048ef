"""Write the outputs of a model chunk by chunk: .npy, .npz, .csv, .jsonl or a sound."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, Protocol

import click
import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.array_writer import ArrayWriter
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

__all__ = ["FORMATS", "SOUND_FORMATS", "OutputWriter", "open_output"]

SOUND_FORMATS = ("wav", "flac", "ogg")
FORMATS = ("npy", "npz", "csv", "jsonl", *SOUND_FORMATS)


class OutputWriter(Protocol):
    """What writes the outputs of one chunk after another."""

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Write the outputs of one chunk, in the ports' full shapes, by name."""


@contextlib.contextmanager
def open_output(
    target: OutputFile | None, format_: str, layout: OutputLayout
) -> Iterator[OutputWriter]:
    """Open the output; a file appears under its name only when the block succeeds.

    Args:
        target: Where to write, its suffix one of `FORMATS`; None for standard output.
        format_: The format of the input, which is that of results where no suffix gives it: on
            standard output, in devices and pipes. One that holds the model's outputs takes its
            place where it cannot.
        layout: What the outputs are.

    Raises:
        InputError: The model's outputs do not fit the format.
    """
    suffix = "" if target is None else target.path.suffix.removeprefix(".")
    if suffix in SOUND_FORMATS and target is not None:
        with _open_sound(target, suffix, layout) as sound:
            yield sound
        return
    if suffix in FORMATS:
        format_ = suffix
        _check_fit(format_, layout.axes, f"{target.path}" if target else "")
        layout = replace(layout, header=True)
    else:
        format_ = _suitable_format(format_, layout.axes)
    if target is None:
        yield from _to_stdout(format_, layout)
        return
    began = time.monotonic()
    with target.open() as output:
        if format_ in _LINE_WRITERS:
            with output.text() as stream:
                yield (written := _SizedWriter(_LINE_WRITERS[format_](stream, layout), layout.axes))
        else:
            arrays = ArrayWriter(layout, output.folder if layout.steps else None)
            yield (written := _SizedWriter(arrays, layout.axes))
            arrays.save(output.stream, format_)
    target.note("wrote", f"{written.size}, {time.monotonic() - began:.1f} s")


def _to_stdout(format_: str, layout: OutputLayout) -> Iterator[OutputWriter]:
    if format_ in _LINE_WRITERS:
        yield _LINE_WRITERS[format_](sys.stdout, layout)
        return
    arrays = ArrayWriter(layout, None)
    yield arrays
    if sys.stdout.isatty():
        click.echo(arrays.as_text())
        if arrays.is_shortened:
            note("To get all numbers: --output FILE")
    else:
        arrays.save(sys.stdout.buffer, format_)


def _suitable_format(format_: str, axes: Mapping[str, PortAxes]) -> str:
    """Return the format, or one like it that holds the model's outputs; of a sound, rows."""
    format_ = "csv" if format_ == "sound" else format_
    if format_ in _LINE_WRITERS:
        return format_ if len(axes) == 1 and _fits_csv(axes) else "jsonl"
    return format_ if len(axes) == 1 else "npz"


def _check_fit(format_: str, axes: Mapping[str, PortAxes], path: str) -> None:
    if format_ in ("npy", "csv") and len(axes) != 1:
        raise InputError(
            f"`{path}` holds one output; the model has {len(axes)}: "
            f"{', '.join(f'`{name}`' for name in axes)}. Write .npz or .jsonl."
        )
    if format_ == "csv" and not _fits_csv(axes):
        (axis,) = axes.values()
        raise InputError(
            f"`{path}` holds one row per step; `{axis.port}` has more axes than that. "
            "Write .npy or .jsonl."
        )


def _fits_csv(axes: Mapping[str, PortAxes]) -> bool:
    return all(len(axis.features) <= 1 for axis in axes.values())


# --- lines ----------------------------------------------------------------------------------------


class _CsvWriter:
    """One row per step, columns = features, under their names; flushed chunk by chunk."""

    def __init__(self, stream: IO[str], layout: OutputLayout) -> None:
        self._stream, self._layout = stream, layout
        self._needs_header = layout.header

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        rows = csv.writer(self._stream, lineterminator="\n")
        for name, array in outputs.items():
            for step in self._layout.axes[name].split_steps(array, batched=False):
                if step.ndim > 1:
                    raise InputError(
                        f"`{name}` has {len(step)} sequences; .csv holds one. "
                        "Write .npy, .npz or .jsonl."
                    )
                features = np.atleast_1d(step)
                if self._needs_header:
                    rows.writerow(self._layout.column_names(name, len(features)))
                    self._needs_header = False
                rows.writerow(_to_lists(features))
        self._stream.flush()


class _JsonlWriter:
    """One number or array per step, or an object from port to one where there are several.

    An output with fewer steps than another has each of them in the line of the last step that it
    covers. An output without an axis of steps is in the last line of its chunk.
    """

    def __init__(self, stream: IO[str], layout: OutputLayout) -> None:
        self._stream, self._axes, self._batched = stream, layout.axes, layout.batched

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        steps = {
            name: self._axes[name].split_steps(array, self._batched)
            for name, array in outputs.items()
        }
        count = max(map(len, steps.values()), default=0)
        lines: list[dict[str, Any]] = [{} for _ in range(count)]
        for name, values in steps.items():
            for index, step in enumerate(values, 1):
                lines[index * count // len(values) - 1][name] = _to_lists(step)
        for line in lines:
            written = line if len(self._axes) > 1 else next(iter(line.values()))
            self._stream.write(json.dumps(written) + "\n")
        self._stream.flush()


_LINE_WRITERS: dict[str, type[_CsvWriter] | type[_JsonlWriter]] = {
    "csv": _CsvWriter,
    "jsonl": _JsonlWriter,
}


def _to_lists(array: NDArray[Any]) -> Any:
    """Return nested lists whose numbers have no more digits than the array's dtype needs."""
    if array.dtype.kind != "f":
        return array.tolist()
    return np.array([float(str(number)) for number in array.flat]).reshape(array.shape).tolist()


# --- sounds ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_sound(target: OutputFile, format_: str, layout: OutputLayout) -> Iterator[OutputWriter]:
    """Open a sound file; it appears under its name only when the block succeeds."""
    from edgernn.cli.data_files.sound_writer import SoundWriter

    if target.is_stream:
        raise InputError(
            f"`{target.path}` is a device or pipe, and a sound needs a file, as its header is "
            "written last. Name a file, or write .csv or .jsonl."
        )
    began = time.monotonic()
    with target.open() as output:
        sound = SoundWriter(output.stream.name, format_, layout, f"{target.path}")
        with contextlib.closing(sound):
            yield (written := _SizedWriter(sound, layout.axes))
    target.note("wrote", f"{written.size} at {sound.rate:,} Hz, {time.monotonic() - began:.1f} s")
    if sound.clipped:
        note(
            f"clipped {sound.clipped:,} of {sound.values:,} values, which were above 1 or below "
            "-1. A .wav keeps them."
        )


# --- size ---------------------------------------------------------------------------------------


class _SizedWriter:
    """A writer that knows how much was written."""

    def __init__(self, writer: OutputWriter, axes: Mapping[str, PortAxes]) -> None:
        self._writer, self._axes = writer, axes
        self._steps = 0
        self._last: Mapping[str, NDArray[Any]] = {}

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        self._writer.write(outputs)
        self._last = {**self._last, **outputs}
        self._steps += max(
            (
                outputs[name].shape[axis.sequence]
                for name, axis in self._axes.items()
                if axis.sequence is not None and name in outputs
            ),
            default=0,
        )

    @property
    def size(self) -> str:
        """What was written, such as `200 steps × 6` or `3 sequences × 200 steps × 2 outputs`."""
        name, axis = next(iter(self._axes.items()))
        if name not in self._last:
            return "nothing"
        shape = self._last[name].shape
        sequences = 1 if axis.batch is None else shape[axis.batch]
        parts = [f"{sequences} sequences"] if sequences > 1 else []
        parts.append(
            "the last step"
            if all(axis.sequence is None for axis in self._axes.values())
            else "1 step"
            if self._steps == 1
            else f"{self._steps:,} steps"
        )
        if len(self._axes) > 1:
            parts.append(f"{len(self._axes)} outputs")
        else:
            around = (axis.sequence, axis.batch)
            parts += [str(size) for index, size in enumerate(shape) if index not in around]
        return " × ".join(parts)
