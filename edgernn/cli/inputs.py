"""Read a sequence from a file or standard input: .npy, .npz, .csv or .jsonl."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.lines import csv_steps, is_jsonl, jsonl_steps
from edgernn.errors import InputError
from edgernn.runtime.axes import Axes

__all__ = ["Chunk", "Input", "open_input"]

Chunk = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Input:
    """A sequence that is read chunk by chunk.

    Attributes:
        format: `npy`, `npz`, `csv` or `jsonl`, as its content tells.
        steps: The number of steps, or None where only reading to the end tells.
        batched: Whether the arrays have a batch axis, where the ports have one.
        chunks: Per chunk, the array of every port in the port's full shape.
    """

    format: str
    steps: int | None
    batched: bool
    chunks: Iterator[Chunk]


@contextlib.contextmanager
def open_input(
    path: str, axes: Mapping[str, Axes], chunk: int | None, live: int | None
) -> Iterator[Input]:
    """Open a sequence and find out by its content what it is.

    Args:
        path: A file, or `-` for standard input.
        axes: The data inputs of the model.
        chunk: The number of steps to a chunk; None for all of them at once.
        live: The number of lines from standard input to a chunk where `chunk` is None.

    Raises:
        InputError: The content is not a sequence for these ports.
    """
    where = "Standard input" if path == "-" else f"`{path}`"
    with _open(path) as stream:
        first = stream.readline()
        if first.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            format_ = "npy" if first.startswith(b"\x93") else "npz"
            source = io.BytesIO(first + stream.read()) if path == "-" else path
            arrays = _loaded(format_, source, axes, where)
            yield _from_arrays(format_, arrays, axes, chunk, where)
            return
        lines = _text(itertools.chain([first], stream), where)
        head = next(lines, "")
        jsonl = is_jsonl(head, named=path.endswith((".jsonl", ".ndjson")))
        steps = (jsonl_steps if jsonl else csv_steps)(itertools.chain([head], lines), axes, where)
        size = live if chunk is None and path == "-" else chunk
        yield _from_lines("jsonl" if jsonl else "csv", steps, axes, size, where)


def _open(path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if path == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"Input `{path}` cannot be read: {error.strerror or error}.") from error


def _text(lines: Iterable[bytes], where: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{where} is neither .npy nor .npz nor UTF-8 text (line {number}). "
                "Give .npy, .npz, .csv or .jsonl."
            ) from None


# --- arrays ---------------------------------------------------------------------------------------


def _read_npy(source: str | io.BytesIO, axes: Mapping[str, Axes], where: str) -> Chunk:
    if len(axes) != 1:
        raise InputError(
            f"{where} holds one array; the model has {len(axes)} inputs: {_names(axes)}. "
            "Give a .npz or .jsonl with one entry for each."
        )
    (name,) = axes
    if isinstance(source, str):
        return {name: np.load(source, mmap_mode="r", allow_pickle=False)}
    return {name: np.load(source, allow_pickle=False)}


def _read_npz(source: str | io.BytesIO, axes: Mapping[str, Axes], where: str) -> Chunk:
    with contextlib.ExitStack() as stack:
        # np.load leaves a file that it opened itself open where it is no archive.
        file = stack.enter_context(open(source, "rb")) if isinstance(source, str) else source
        arrays = dict(stack.enter_context(np.load(file, allow_pickle=False)))
    if arrays.keys() != axes.keys():
        raise InputError(
            f"{where} holds the arrays {_names(arrays)}; the model's inputs are {_names(axes)}. "
            "Name the arrays as the inputs."
        )
    return arrays


_READERS: dict[str, Callable[[Any, Mapping[str, Axes], str], Chunk]] = {
    "npy": _read_npy,
    "npz": _read_npz,
}


def _loaded(format_: str, source: str | io.BytesIO, axes: Mapping[str, Axes], where: str) -> Chunk:
    try:
        return _READERS[format_](source, axes, where)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).rstrip(".")
        raise InputError(f"{where} is not a readable .{format_} file: {reason}.") from error


def _from_arrays(
    format_: str, arrays: Chunk, axes: Mapping[str, Axes], chunk: int | None, where: str
) -> Input:
    batched = [axes[name].is_batched(array, where) for name, array in arrays.items()]
    if not all(batched):
        arrays = {
            name: array if full else axes[name].with_batch(array)
            for (name, array), full in zip(arrays.items(), batched, strict=True)
        }
    lengths = {
        name: arrays[name].shape[axis.sequence]
        for name, axis in axes.items()
        if axis.sequence is not None
    }
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise InputError(f"{where} has inputs of different numbers of steps: {counts}.")
    steps = next(iter(lengths.values()), None)
    if steps == 0:
        raise InputError(f"{where} holds no steps; at least one is needed.")
    return Input(format_, steps, all(batched), _slices(arrays, axes, steps, chunk, where))


def _slices(
    arrays: Chunk, axes: Mapping[str, Axes], steps: int | None, chunk: int | None, where: str
) -> Iterator[Chunk]:
    size = chunk or steps or 1
    for start in range(0, steps or 1, size):
        at = where if start == 0 else f"{where}, from step {start} on,"
        yield {
            name: axes[name].cast(axes[name].part(array, start, start + size), at)
            for name, array in arrays.items()
        }


# --- lines ----------------------------------------------------------------------------------------


def _from_lines(
    format_: str,
    steps: Iterator[tuple[bool, Chunk]],
    axes: Mapping[str, Axes],
    size: int | None,
    where: str,
) -> Input:
    first = next(steps, None)
    if first is None:
        raise InputError(f"{where} holds no steps; at least one line of numbers is needed.")
    arrays = (step for _, step in itertools.chain([first], steps))
    return Input(format_, None, first[0], _stacks(arrays, axes, size))


def _stacks(steps: Iterator[Chunk], axes: Mapping[str, Axes], size: int | None) -> Iterator[Chunk]:
    while group := list(itertools.islice(steps, size)):
        yield {name: axis.stack([step[name] for step in group]) for name, axis in axes.items()}


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
