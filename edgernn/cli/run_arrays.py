"""Run a model on arrays of numbers, chunk by chunk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from edgernn.cli.chunk_runner import Arrays, ChunkRunner
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.data_files.output_writer import open_output
from edgernn.cli.data_files.sequence_reader import ChunkedSequence, open_sequence
from edgernn.cli.forecast import Forecast, check_no_lengths
from edgernn.cli.run_options import RunOptions
from edgernn.cli.sequence_end import end_of_sequence
from edgernn.cli.terminal_notes import steps_bar
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes

__all__ = ["run_arrays"]

_SOUND_STEPS = 65536


def run_arrays(
    contract: Contract, runner: ChunkRunner, options: RunOptions, target: OutputFile | None
) -> ChunkedSequence:
    """Run a sequence and write the outputs, or with --generate how the model continues it.

    Args:
        contract: The contract of the model.
        runner: Runs the model.
        options: The file of the sequence; the number of steps to generate, and to run at a time.
        target: Where to write, or None for standard output.

    Returns:
        The sequence, which was read to its end.

    Raises:
        InputError: The sequence does not fit the model, or its outputs the format.
    """
    forecast = None if options.generate is None else Forecast(contract)
    steps_per_answer = _steps_per_answer(contract)
    with open_sequence(
        options.input or "",
        input_axes(contract),
        options.chunk,
        steps_per_answer,
        options.columns,
        _sound_block(contract),
    ) as sequence:
        if sequence.rate is not None:
            _check_rate(contract, sequence.rate, options.source_name)
        answers = _run_chunks(contract, runner, options, sequence, target)
        if forecast is None or options.generate is None:
            in_chunks = options.chunk is not None or sequence.rate is not None
            steps = sequence.steps if in_chunks else None
            header = bool(sequence.columns) or sequence.rate is not None
            layout = OutputLayout.of(contract, sequence.batched, steps, header)
        else:
            layout = forecast.layout(sequence.batched, options.generate, sequence.columns)
            answers = forecast.run(runner, answers, options.generate)
        layout = replace(layout, rates=_output_rates(contract, sequence.rate))
        with open_output(target, sequence.format, layout) as output:
            for answer in answers:
                output.write(answer)
        return sequence


def _steps_per_answer(contract: Contract) -> int | None:
    """Return the number of steps that are read before they are run; None for all of them."""
    if not contract.carry or not contract.divisible:
        return None
    return contract.hop if contract.step else contract.constants.get(SEQUENCE, contract.hop)


def _check_rate(contract: Contract, rate: int, where: str) -> None:
    """Check that a sound has the sampling rate of the model.

    Raises:
        InputError: It has another.
    """
    expected = contract.sample_rate
    if expected is not None and rate != expected:
        raise InputError(
            f"`{where}` has {rate:,} samples per second; the model takes {expected:,.9g}. Resample "
            f"the file, such as with `ffmpeg -i IN.wav -ar {expected:.9g} OUT.wav`."
        )


def _output_rates(contract: Contract, rate: float | None) -> dict[str, float]:
    """Return output → the number of its steps per second, where that is known."""
    rate = contract.sample_rate if rate is None else rate
    if rate is None:
        return {}
    names = output_axes(contract)
    return {name: rate * contract.steps_per_hop(name) / contract.hop for name in names}


def _sound_block(contract: Contract) -> int | None:
    """Return the number of samples that are run at a time; None for all of them."""
    if not contract.carry or not contract.divisible:
        return None
    only = contract.constants.get(SEQUENCE, 1)
    return max(only, _SOUND_STEPS - _SOUND_STEPS % only)


def _run_chunks(
    contract: Contract,
    runner: ChunkRunner,
    options: RunOptions,
    sequence: ChunkedSequence,
    target: OutputFile | None,
) -> Iterator[Arrays]:
    """Run chunk by chunk, with a bar on standard error; yield the outputs of each."""
    flag = "--chunk" if options.generate is None else "--generate"
    is_joined = options.chunk is not None or options.generate is not None or contract.in_hops
    axes = output_axes(contract)
    with _bar(sequence.steps, "steps", options.chunk is not None, target) as advance:
        for part in sequence.chunks:
            if is_joined and runner.batch_size(part) > 1:
                _check_joinable(axes, flag)
            if options.generate is not None:
                check_no_lengths(contract, part)
            yield runner.run(part)
            advance(runner.step_count(part))
    runner.check_lengths()
    if options.generate is None:
        yield from end_of_sequence(contract, runner, options)


def _bar(
    total: int | None, what: str, wanted: bool, target: OutputFile | None
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """Return a bar on standard error, unless results appear on a terminal meanwhile."""
    if not wanted or (target is None and sys.stdout.isatty()):
        return contextlib.nullcontext(lambda _: None)
    return steps_bar(total, what)


def _check_joinable(axes: Mapping[str, PortAxes], flag: str) -> None:
    for axis in axes.values():
        if axis.flattened:
            raise InputError(
                f"`{axis.port}` counts sequences and steps in one axis, so chunks of several "
                f"sequences cannot be joined. Leave out {flag}, or give one sequence."
            )
