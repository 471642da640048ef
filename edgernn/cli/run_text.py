"""Run a model on text, through its vocabulary."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.chunk_runner import ChunkRunner
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.data_files.output_writer import FORMATS, open_output
from edgernn.cli.run_options import RunOptions
from edgernn.cli.sequence_end import end_of_sequence
from edgernn.cli.text_writer import write_text
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.regular_files import MEGABYTE, format_size
from edgernn.runtime.generation.text_ports import encode_text, ids_input, scores_output
from edgernn.runtime.port_axes import PortAxes, input_axes, required_axes
from edgernn.vocabulary import Vocabulary

__all__ = ["MAX_TEXT", "TextInterface", "read_text", "run_text"]

_CHUNK_STEPS = 4096
MAX_TEXT = 64 * MEGABYTE


class TextInterface:
    """The input of a model that takes ids of symbols, and the output with their scores.

    Attributes:
        vocabulary: The symbols.
        scores: The name of the output with one score per symbol, or None where there is none.
        chunk: The number of symbols that are run at a time by default.
    """

    def __init__(self, contract: Contract) -> None:
        assert contract.vocabulary is not None
        self.vocabulary: Vocabulary = contract.vocabulary
        self._axes = _id_port(contract)
        self.scores = scores_output(contract)
        only = contract.constants.get(SEQUENCE, 1)
        self.chunk = max(only, _CHUNK_STEPS - _CHUNK_STEPS % only)

    def chunks(self, ids: list[int], size: int | None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield ids as chunks of at most `size` steps; None for one chunk."""
        size = size or len(ids)
        rank, axis = len(self._axes.port.shape), self._axes.sequence
        for start in range(0, len(ids), size):
            part = np.array(ids[start : start + size], self._axes.port.dtype)
            shape = [part.size if index == axis else 1 for index in range(rank)]
            yield {self._axes.port.name: part.reshape(shape)}

    def best(self, outputs: Mapping[str, NDArray[Any]]) -> str:
        """Return the symbols with the best scores, one per step."""
        scores = outputs.get(self.require_scores())
        ids: list[int] = [] if scores is None else scores.argmax(-1).ravel().tolist()
        return self.vocabulary.decode(ids)

    def require_scores(self) -> str:
        """Return the name of the output with the scores.

        Raises:
            InputError: There is none.
        """
        if self.scores is None:
            raise InputError(
                f"The model has no output with one score for each of its {len(self.vocabulary)} "
                "symbols, so it cannot answer in text. Leave out --generate to get numbers."
            )
        return self.scores


def run_text(
    contract: Contract, runner: ChunkRunner, options: RunOptions, target: OutputFile | None
) -> None:
    """Run a text and write the best symbol per step.

    Args:
        contract: The contract of the model.
        runner: Runs the model.
        options: The text; the number of symbols to run at a time.
        target: Where to write: numbers where its suffix is of `FORMATS`, or where the model has no
            scores; None for standard output.

    Raises:
        InputError: The model does not take text, or not this text.
    """
    interface = TextInterface(contract)
    ids = encode_text(interface.vocabulary, read_text(options.text[0]))
    in_parts = contract.carry and contract.divisible
    size = options.chunk or (interface.chunk if in_parts else None)
    parts = (runner.run(part) for part in interface.chunks(ids, size))
    answers = itertools.chain(parts, end_of_sequence(contract, runner, options))
    suffix = "" if target is None else target.path.suffix.removeprefix(".")
    if suffix == "txt" or (suffix not in FORMATS and interface.scores is not None):
        separator = interface.vocabulary.separator
        write_text(_with_separators(map(interface.best, answers), separator), target)
        return
    with open_output(target, "jsonl", OutputLayout.of(contract, False, len(ids))) as output:
        for answer in answers:
            output.write(answer)


def read_text(text: str) -> str:
    """Return `text`, or what is on standard input where it is `-`.

    Raises:
        InputError: Standard input is not UTF-8.
    """
    if text != "-":
        return text
    data = sys.stdin.buffer.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise InputError(f"Standard input has more than {format_size(MAX_TEXT)} of text.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8 text: {error}.") from None


def _with_separators(pieces: Iterable[str], separator: str) -> Iterator[str]:
    """Yield the pieces that are not empty, with a separator before all but the first."""
    for place, piece in enumerate(filter(None, pieces)):
        yield separator * bool(place) + piece


def _id_port(contract: Contract) -> PortAxes:
    axes = ids_input(contract)
    if axes is None:
        inputs = required_axes(input_axes(contract)).values()
        ports = ", ".join(f"`{axis.port}`" for axis in inputs)
        raise InputError(
            f"--text needs a model with one input of ids; this one takes {ports}. "
            "Give numbers with --input."
        )
    return axes
