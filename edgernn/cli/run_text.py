"""Run a model on text, through its vocabulary."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgernn.cli.chunk_runner import ChunkRunner
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout, scores_output
from edgernn.cli.data_files.output_writer import FORMATS, open_output
from edgernn.cli.run_options import RunOptions
from edgernn.cli.sequence_end import end_of_sequence
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.regular_files import MEGABYTE, format_size
from edgernn.runtime.port_axes import PortAxes, input_axes, required_axes
from edgernn.vocabulary import Vocabulary

__all__ = ["Choice", "TextInterface", "best", "run_text", "sampler"]

_CHUNK_STEPS = 4096
_MAX_TEXT = 64 * MEGABYTE

Choice = Callable[[NDArray[Any]], int]


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
        self._name, self._axes = _id_port(contract)
        self.scores = scores_output(contract)
        only = contract.constants.get(SEQUENCE, 1)
        self.chunk = max(only, _CHUNK_STEPS - _CHUNK_STEPS % only)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; a line end that closes it is dropped where it has no symbol.

        Raises:
            InputError: The text has no symbol or holds what the vocabulary does not.
        """
        if text.endswith("\n") and "\n" not in self.vocabulary.symbols:
            text = text.removesuffix("\n").removesuffix("\r")
        ids = self.vocabulary.encode(text)
        if not ids:
            kind = "blank" if text else "empty"
            raise InputError(f"The text is {kind}; at least one symbol is needed.")
        return ids

    def chunks(self, ids: list[int], size: int | None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield ids as chunks of at most `size` steps; None for one chunk."""
        size = size or len(ids)
        rank, axis = len(self._axes.port.shape), self._axes.sequence
        for start in range(0, len(ids), size):
            part = np.array(ids[start : start + size], self._axes.port.dtype)
            shape = [part.size if index == axis else 1 for index in range(rank)]
            yield {self._name: part.reshape(shape)}

    def best(self, outputs: Mapping[str, NDArray[Any]]) -> str:
        """Return the symbols with the best scores, one per step."""
        scores = outputs.get(self._require_scores())
        ids: list[int] = [] if scores is None else scores.argmax(-1).ravel().tolist()
        return self.vocabulary.decode(ids)

    def continue_text(
        self, runner: ChunkRunner, prompt: list[int], count: int, choose: Choice
    ) -> Iterator[str]:
        """Run the ids of `prompt`, then `count` times the symbol chosen last; yield each symbol.

        Raises:
            InputError: The model does not score its symbols.
        """
        name = self._require_scores()
        parts = self.chunks(prompt, self.chunk)
        outputs = runner.run(next(parts))
        for part in parts:
            outputs = runner.run(part)
        for _ in range(count):
            scores = outputs[name]
            id_ = choose(scores.reshape(-1, scores.shape[-1])[-1])
            yield self.vocabulary.decode([id_])
            (step,) = self.chunks([id_], 1)
            outputs = runner.run(step)

    def _require_scores(self) -> str:
        if self.scores is None:
            raise InputError(
                f"The model has no output with one score for each of its {len(self.vocabulary)} "
                "symbols, so it cannot answer in text. Leave out --generate to get numbers."
            )
        return self.scores


def run_text(
    contract: Contract, runner: ChunkRunner, options: RunOptions, target: OutputFile | None
) -> None:
    """Run text and write the best symbol per step, or with --generate how the model continues it.

    Args:
        contract: The contract of the model.
        runner: Runs the model.
        options: The text; the number of symbols to generate, and to run at a time.
        target: Where to write: numbers where its suffix is of `FORMATS`, or where the model has no
            scores; None for standard output.

    Raises:
        InputError: The model does not take text, or not this text.
    """
    interface = TextInterface(contract)
    ids = interface.encode(_read_text(options.text or ""))
    separator = interface.vocabulary.separator
    if options.generate is not None:
        choose = best if options.temperature is None else sampler(options.temperature, options.seed)
        pieces = interface.continue_text(runner, ids, options.generate, choose)
        _write_text(pieces, target, separator)
        return
    in_parts = contract.carry and contract.divisible
    size = options.chunk or (interface.chunk if in_parts else None)
    parts = (runner.run(part) for part in interface.chunks(ids, size))
    answers = itertools.chain(parts, end_of_sequence(contract, runner, options))
    suffix = "" if target is None else target.path.suffix.removeprefix(".")
    if suffix == "txt" or (suffix not in FORMATS and interface.scores is not None):
        _write_text(map(interface.best, answers), target, separator)
        return
    with open_output(target, "jsonl", OutputLayout.of(contract, False, len(ids))) as output:
        for answer in answers:
            output.write(answer)


def _read_text(text: str) -> str:
    """Return `text`, or what is on standard input where it is `-`.

    Raises:
        InputError: Standard input is not UTF-8.
    """
    if text != "-":
        return text
    data = sys.stdin.buffer.read(_MAX_TEXT + 1)
    if len(data) > _MAX_TEXT:
        raise InputError(f"Standard input has more than {format_size(_MAX_TEXT)} of text.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8 text: {error}.") from None


def _write_text(pieces: Iterable[str], target: OutputFile | None, separator: str) -> None:
    """Write text piece by piece, each at once, and end the line."""
    separated = _with_separators(pieces, separator)
    if target is None:
        for piece in separated:
            click.echo(piece, nl=False)
        click.echo()
        return
    began, length = time.monotonic(), 0
    with target.open() as opened, opened.text() as stream:
        for piece in separated:
            stream.write(piece)
            length += len(piece)
        stream.write("\n")
    size = f"{length:,} character{'s' * (length != 1)}"
    target.note("wrote", f"{size}, {time.monotonic() - began:.1f} s")


def _with_separators(pieces: Iterable[str], separator: str) -> Iterator[str]:
    """Yield the pieces that are not empty, with a separator before all but the first."""
    for place, piece in enumerate(filter(None, pieces)):
        yield separator * bool(place) + piece


def best(scores: NDArray[Any]) -> int:
    """Return the id with the highest score."""
    return int(scores.argmax())


def sampler(temperature: float, seed: int | None) -> Choice:
    """Return a function that draws an id with probability softmax(scores / temperature).

    Args:
        temperature: Above 0; a lower value stays closer to `best`.
        seed: The seed of the random numbers; None for another one every time.
    """
    generator = np.random.default_rng(seed)

    def choose(scores: NDArray[Any]) -> int:
        logits = scores.astype(np.float64) / temperature
        weights = np.exp(logits - logits.max())
        return int(generator.choice(len(weights), p=weights / weights.sum()))

    return choose


def _id_port(contract: Contract) -> tuple[str, PortAxes]:
    axes = required_axes(input_axes(contract))
    if len(axes) == 1:
        ((name, axis),) = axes.items()
        if np.dtype(axis.port.dtype).kind == "i" and all(size == 1 for size in axis.features):
            return name, axis
    ports = ", ".join(f"`{axis.port}`" for axis in axes.values())
    raise InputError(
        f"--text needs a model with one input of ids; this one takes {ports}. "
        "Give numbers with --input."
    )
