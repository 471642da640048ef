"""Read a sequence from a file or standard input: .npy, .npz, .csv or .jsonl."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgernn.cli.data_files.array_reader import load_arrays
from edgernn.cli.data_files.csv_reader import CsvReader
from edgernn.cli.data_files.input_stream import (
    decode_lines,
    is_descriptor,
    open_input,
    peek,
    read_line,
)
from edgernn.cli.data_files.jsonl_reader import is_jsonl, jsonl_steps
from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError
from edgernn.numpy_files import NPY_MAGIC, ZIP_MAGIC
from edgernn.runtime.port_axes import PortAxes, required_axes
from edgernn.untrusted_text import quote

__all__ = ["Chunk", "ChunkedSequence", "open_sequence"]

Chunk = dict[str, NDArray[Any]]

_SOUND_MAGIC = (b"RIFF", b"RF64", b"fLaC", b"OggS")


@dataclass(frozen=True)
class ChunkedSequence:
    """A sequence that is read chunk by chunk.

    Attributes:
        format: `npy`, `npz`, `csv`, `jsonl` or `sound`, by its content.
        steps: The number of steps, or None where it is known at the end only.
        batched: Whether the arrays have a batch axis, where the ports have one.
        chunks: Per chunk, the array of every port in the port's full shape.
        columns: The names of the columns in the header of a .csv; None where there is none.
        rate: The number of samples per second of a sound.
    """

    format: str
    steps: int | None
    batched: bool
    chunks: Iterator[Chunk]
    columns: tuple[str, ...] | None = None
    rate: int | None = None


@contextlib.contextmanager
def open_sequence(
    path: str,
    axes: Mapping[str, PortAxes],
    chunk: int | None,
    steps_per_answer: int | None,
    columns: str | None = None,
    sound_block: int | None = None,
) -> Iterator[ChunkedSequence]:
    """Open a sequence and recognise its format by its content.

    Args:
        path: A file, or `-` for standard input; what the shell opened (`/dev/stdin`,
            `/dev/fd/N`) may be a pipe, any other path is a regular file.
        axes: The data inputs of the model.
        chunk: The number of steps to a chunk; None for all of them at once.
        steps_per_answer: The same for lines on standard input where `chunk` is None; of a sound
            that comes through a pipe, the steps that give an output.
        columns: What `--columns` names of a .csv or a sound; None for all columns or channels.
        sound_block: The same as `chunk` for a sound in a file where `chunk` is None.

    Raises:
        InputError: The content is not a sequence for these ports.
    """
    where = "Standard input" if path == "-" else f"`{path}`"
    with open_input(path) as stream:
        if peek(stream, 4) in _SOUND_MAGIC:
            from edgernn.cli.data_files.sound_reader import SoundReader

            sound = SoundReader(stream, axes, where, columns)
            size = chunk or sound.chunk_size(steps_per_answer, sound_block)
            yield ChunkedSequence("sound", sound.steps, False, sound.chunks(size), rate=sound.rate)
            return
        first = read_line(stream, 1, where)
        if first.startswith((NPY_MAGIC, ZIP_MAGIC)):
            format_ = "npy" if first.startswith(NPY_MAGIC) else "npz"
            _check_no_columns(columns, format_, where)
            arrays = load_arrays(
                format_, None if is_descriptor(path) else Path(path), first, stream, where
            )
            yield _from_arrays(format_, _match_ports(arrays, axes, where), axes, chunk, where)
            return
        lines = decode_lines(first, stream, where)
        head = next(lines, "")
        lines = itertools.chain([head], lines)
        size = steps_per_answer if chunk is None and path == "-" else chunk
        if not is_jsonl(head, named=path.endswith((".jsonl", ".ndjson"))):
            table = CsvReader(lines, axes, where, columns)
            yield ChunkedSequence("csv", None, False, table.chunks(size), table.names)
            return
        _check_no_columns(columns, "jsonl", where)
        yield _from_lines("jsonl", jsonl_steps(lines, axes, where), axes, size, where)


def _check_no_columns(columns: str | None, format_: str, where: str) -> None:
    if columns is not None:
        raise InputError(f"{where} is .{format_}, and --columns needs .csv. Leave out --columns.")


# --- arrays ---------------------------------------------------------------------------------------


def _match_ports(arrays: Chunk, axes: Mapping[str, PortAxes], where: str) -> Chunk:
    if arrays.keys() == {""}:
        if len(required_axes(axes)) != 1:
            raise InputError(
                f"{where} holds one array; the model has {len(axes)} inputs: {_names(axes)}. "
                "Give a .npz or .jsonl with one entry for each."
            )
        return dict.fromkeys(required_axes(axes), arrays[""])
    if not required_axes(axes).keys() <= arrays.keys() <= axes.keys():
        raise InputError(
            f"{where} holds the arrays {_names(arrays)}; the model's inputs are {_names(axes)}. "
            "Name the arrays as the inputs."
        )
    return arrays


def _from_arrays(
    format_: str, arrays: Chunk, axes: Mapping[str, PortAxes], chunk: int | None, where: str
) -> ChunkedSequence:
    batched = [axes[name].is_batched(array, where) for name, array in arrays.items()]
    if not all(batched):
        arrays = {
            name: array if full else axes[name].with_batch(array)
            for (name, array), full in zip(arrays.items(), batched, strict=True)
        }
    lengths = {
        name: arrays[name].shape[axis.sequence]
        for name, axis in required_axes(axes).items()
        if axis.sequence is not None
    }
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise InputError(f"{where} has inputs of different numbers of steps: {counts}.")
    steps = next(iter(lengths.values()), None)
    if steps == 0:
        raise InputError(f"{where} holds no steps; at least one is needed.")
    return ChunkedSequence(
        format_, steps, all(batched), _array_chunks(arrays, axes, steps, chunk, where)
    )


def _array_chunks(
    arrays: Chunk, axes: Mapping[str, PortAxes], steps: int | None, chunk: int | None, where: str
) -> Iterator[Chunk]:
    size = chunk or steps or 1
    for start in range(0, steps or 1, size):
        at = where if start == 0 else f"{where}, from step {start} on,"
        yield {
            name: axes[name].cast(axes[name].slice_steps(array, start, start + size), at)
            for name, array in arrays.items()
        }


# --- lines ----------------------------------------------------------------------------------------


def _from_lines(
    format_: str,
    steps: Iterator[tuple[bool, Chunk]],
    axes: Mapping[str, PortAxes],
    size: int | None,
    where: str,
) -> ChunkedSequence:
    first = next(steps, None)
    if first is None:
        raise InputError(f"{where} holds no steps; at least one line of numbers is needed.")
    arrays = (step for _, step in itertools.chain([first], steps))
    return ChunkedSequence(format_, None, first[0], _line_chunks(arrays, axes, size, where))


def _line_chunks(
    steps: Iterator[Chunk], axes: Mapping[str, PortAxes], size: int | None, where: str
) -> Iterator[Chunk]:
    while group := list(itertools.islice(steps, size)):
        if size is None and len(group) == 1:
            _note_sequences(group[0], axes, where)
        for name in (name for name, axis in axes.items() if axis.sequence is not None):
            shapes = {step[name].shape: None for step in group}
            if len(shapes) > 1:
                raise InputError(
                    f"{where} has steps of different shapes for `{name}`: "
                    f"{' and '.join(map(str, [*shapes][:2]))}. Give every step the same shape."
                )
        names = group[-1].keys()
        yield {
            name: axes[name].stack_steps([step[name] for step in group if name in step])
            for name in names
        }


def _note_sequences(step: Chunk, axes: Mapping[str, PortAxes], where: str) -> None:
    """Say of the only line of a file how many sequences it is a step of, if several."""
    for name, axis in required_axes(axes).items():
        batch = axis.step.batch
        if axis.sequence is not None and batch is not None and step[name].shape[batch] > 1:
            count = step[name].shape[batch]
            note(
                f"{where} has one line, so it is one step of {count} sequences. For {count} steps "
                "of one sequence, put each on a line of its own."
            )
            return


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))
