"""Calibration data: a file or arrays of the user's, as arrays of the model's ports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.cli.data_files.array_reader import load_arrays
from edgernn.cli.data_files.sequence_reader import open_sequence
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.export.calibration.user_data import UserData
from edgernn.numpy_files import NPY_MAGIC, ZIP_MAGIC
from edgernn.option_names import option
from edgernn.regular_files import MEGABYTE, read_text, regular_file_size
from edgernn.runtime.check_inputs import InputCheck
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes, required_axes
from edgernn.streaming_rules import steps_per_hop
from edgernn.untrusted_text import quote

__all__ = ["Given", "read_calibration"]

Given = Mapping[str, ArrayLike] | str | Path

MOST_STEPS = 20_000
"""The most steps of a sequence that are run: what follows says little more and takes long."""

_MAX_TEXT = 64 * MEGABYTE
_NUMBER_FILES = (".csv", ".jsonl", ".ndjson", ".wav", ".flac", ".ogg")


def read_calibration(
    given: Given | None, contract: Contract, constants: Mapping[str, int]
) -> UserData | None:
    """Return data for the inputs of a model, and expected outputs where they are given.

    Args:
        given: Arrays by the names of ports, or a file of them: .npy, .npz, .csv, .jsonl, a sound;
            text for a model with a vocabulary. An array of an output holds what is expected of it.
        contract: The contract of the model, with a sequence graph.
        constants: The sizes of `batch` and `sequence` that the graphs are exported with, if any.

    Returns:
        None where nothing is given.

    Raises:
        InputError: The file cannot be read, or holds what a port does not take.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        source, arrays = "arrays", {name: np.asarray(array) for name, array in given.items()}
    else:
        path = Path(given)
        source, arrays = path.name, _read_file(path, contract)
    outputs = {port.name for port in contract.data_outputs("sequence")}
    inputs = {name: array for name, array in arrays.items() if name not in outputs}
    expected = {name: array for name, array in arrays.items() if name in outputs}
    constants = {**contract.constants, **constants}
    whole = _fit(inputs, contract, constants, source)
    data = _cut(whole, contract, constants)
    user = UserData.of(contract, source, data, {})
    expected = _fit_expected(expected, contract, constants, source)
    if user.steps < _steps(whole, contract):
        expected = _cut_expected(expected, contract, user.steps)
    return replace(user, expected=expected)


def _read_file(path: Path, contract: Contract) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by the names of ports."""
    where = f"{option('calibrate')} `{path}`"
    regular_file_size(path, where, InputError)
    with path.open("rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        if head.startswith((NPY_MAGIC, ZIP_MAGIC)):
            format_ = "npy" if head.startswith(NPY_MAGIC) else "npz"
            return _named(load_arrays(format_, path, head, stream, where), contract, where)
    axes = input_axes(contract)
    if contract.vocabulary is not None and path.suffix.lower() not in _NUMBER_FILES:
        return _ids_of_text(read_text(path, where, InputError, _MAX_TEXT), contract, where)
    with open_sequence(os.fspath(path), axes, None, None) as sequence:
        (chunk,) = sequence.chunks
    return chunk


def _named(
    arrays: dict[str, NDArray[Any]], contract: Contract, where: str
) -> dict[str, NDArray[Any]]:
    """Give the array of a .npy the name of the only input."""
    if arrays.keys() != {""}:
        return arrays
    names = list(required_axes(input_axes(contract)))
    if len(names) != 1:
        raise InputError(
            f"{where} holds one array; the model has {len(names)} inputs: "
            f"{', '.join(map(quote, names))}. Give a .npz with one array for each."
        )
    return {names[0]: arrays[""]}


def _ids_of_text(text: str, contract: Contract, where: str) -> dict[str, NDArray[Any]]:
    """Return the ids of a text, one sequence, for the only input of ids."""
    vocabulary, axes = contract.vocabulary, required_axes(input_axes(contract))
    assert vocabulary is not None
    ports = [axis.port for axis in axes.values()]
    if len(ports) != 1 or np.dtype(ports[0].dtype).kind != "i" or len(ports[0].shape) > 2:
        taken = ", ".join(f"`{port}`" for port in ports)
        raise InputError(
            f"{where} is text, which needs a model with one input of ids; this one takes {taken}. "
            "Give a .npz with one array for each input."
        )
    if text.endswith("\n") and "\n" not in vocabulary.symbols:
        text = text.removesuffix("\n").removesuffix("\r")
    ids = vocabulary.encode(text)
    (axis,) = axes.values()
    array = np.array(ids, axis.port.dtype)
    shape = [array.size if place == axis.sequence else 1 for place in range(len(axis.port.shape))]
    return {axis.port.name: array.reshape(shape)}


def _fit(
    arrays: Mapping[str, NDArray[Any]],
    contract: Contract,
    constants: Mapping[str, int],
    source: str,
) -> dict[str, NDArray[Any]]:
    """Return data in the shapes and dtypes of the inputs.

    Raises:
        InputError: An array is not what its port takes; the message names the port.
    """
    where, axes = f"The calibration data ({source})", input_axes(contract)
    unknown = [name for name in arrays if name not in axes]
    if unknown:
        names = [*axes, *(port.name for port in contract.data_outputs("sequence"))]
        raise InputError(
            f"{where} hold an array {quote(unknown[0])}, which is no port of the model. "
            f"Ports are {', '.join(map(quote, names))}."
        )
    fitted: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        axis = axes[name]
        if not axis.is_batched(array, where):
            array = axis.with_batch(array)
        fitted[name] = axis.cast(_with_batch(axis, array, constants), where)
    return fitted


def _cut(
    arrays: Mapping[str, NDArray[Any]], contract: Contract, constants: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Return data of whole hops, of at most `MOST_STEPS` steps.

    Raises:
        InputError: An array is not what its port takes; the message names the port.
    """
    axes = input_axes(contract)
    steps = min(_most_steps(contract, constants), _steps(arrays, contract))
    steps = max(contract.hop, steps - steps % contract.hop)
    cut = {name: axes[name].slice_steps(array, 0, steps) for name, array in arrays.items()}
    check = InputCheck(
        contract.data_inputs("sequence"),
        "model",
        contract.lengths,
        constants,
        least=contract.least,
        full_lengths=contract.full_lengths,
    )
    return check.check((), cut)[0]


def _steps(arrays: Mapping[str, NDArray[Any]], contract: Contract) -> int:
    """Return the number of steps of the shortest array; 1 where none has steps."""
    places = {name: axis.sequence for name, axis in input_axes(contract).items()}
    given = [(array, places[name]) for name, array in arrays.items()]
    return min((array.shape[place] for array, place in given if place is not None), default=1)


def _fit_expected(
    arrays: Mapping[str, NDArray[Any]],
    contract: Contract,
    constants: Mapping[str, int],
    source: str,
) -> dict[str, NDArray[Any]]:
    """Return what is expected of outputs with a batch axis, which may be left out as in the data.

    Ids that are expected of scores lack their last axis. What does not fit its output stays as it
    is: the output, whose sizes only a run tells, shows what is wrong.

    Raises:
        InputError: An array does not hold numbers.
    """
    axes = output_axes(contract)
    fitted: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        axis = axes[name]
        if array.dtype.kind not in "biuf":
            axis.cast(array, f"The calibration data ({source})")
        rank = len(axis.port.shape) - _is_of_ids(array, axis)
        if axis.batch is not None and axis.batch < rank:
            if array.ndim == rank - 1:
                array = axis.with_batch(array)
            if array.ndim == rank:
                array = _with_batch(axis, array, constants)
        fitted[name] = array
    return fitted


def _is_of_ids(array: NDArray[Any], axis: PortAxes) -> bool:
    """Return whether what is expected are ids, of an output of scores."""
    return array.dtype.kind in "iu" and np.dtype(axis.port.dtype).kind == "f"


def _cut_expected(
    arrays: Mapping[str, NDArray[Any]], contract: Contract, steps: int
) -> dict[str, NDArray[Any]]:
    """Return what is expected of the steps that are run; all where their number is not known."""
    axes = output_axes(contract)
    cut = dict(arrays)
    for name, array in arrays.items():
        axis = axes[name]
        each = None if axis.flattened else steps_per_hop(axis.port, contract.hop)
        if each is not None and array.ndim > (axis.sequence or 0):
            cut[name] = axis.slice_steps(array, 0, steps // contract.hop * each)
    return cut


def _most_steps(contract: Contract, constants: Mapping[str, int]) -> int:
    """Return the number of steps that are run at most."""
    limits = [MOST_STEPS, contract.most.get(SEQUENCE), constants.get(SEQUENCE)]
    return min(size for size in limits if size is not None)


def _with_batch(axis: PortAxes, array: NDArray[Any], constants: Mapping[str, int]) -> NDArray[Any]:
    """Repeat a single sequence where the model takes a constant number of them."""
    size = constants.get(BATCH)
    if size is None or axis.batch is None or array.shape[axis.batch] != 1:
        return array
    return np.repeat(array, size, axis.batch)
