"""Run a model on arrays of numbers, chunk by chunk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

from edgernn.cli.chunk_runner import ChunkRunner
from edgernn.cli.output_file import OutputFile
from edgernn.cli.output_layout import OutputLayout
from edgernn.cli.output_writer import open_output
from edgernn.cli.sequence_reader import Chunk, ChunkedSequence, open_sequence
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes

__all__ = ["run_arrays"]


def run_arrays(
    contract: Contract,
    runner: ChunkRunner,
    source: str,
    target: OutputFile | None,
    chunk: int | None,
    columns: str | None = None,
) -> None:
    """Run the sequence in `source` and write the outputs.

    Args:
        contract: The contract of the model.
        runner: Runs the model.
        source: A file, or `-` for standard input.
        target: Where to write, or None for standard output.
        chunk: The number of steps to run at a time, or None for all of them.
        columns: The columns of a .csv that feed the model; None for all of them.

    Raises:
        InputError: The sequence does not fit the model, or its outputs the format.
    """
    axes = output_axes(contract)
    with contextlib.ExitStack() as stack:
        sequence = stack.enter_context(
            open_sequence(source, input_axes(contract), chunk, _steps_per_answer(contract), columns)
        )
        chunks = sequence.chunks
        if chunk is not None and sys.stderr.isatty():
            chunks = _with_progress(sequence, chunk)
        steps = None if chunk is None else sequence.steps
        layout = OutputLayout.of(contract, sequence.batched, steps, header=bool(sequence.columns))
        output = stack.enter_context(open_output(target, sequence.format, layout))
        for part in chunks:
            if chunk is not None and runner.batch_size(part) > 1:
                _check_joinable(axes)
            output.write(runner.run(part))
        runner.finish()


def _steps_per_answer(contract: Contract) -> int | None:
    """Return the number of steps that are read before they are run; None for all of them."""
    if not contract.carry:
        return None
    return 1 if contract.step else contract.constants.get(SEQUENCE, 1)


def _check_joinable(axes: Mapping[str, PortAxes]) -> None:
    for axis in axes.values():
        if axis.flattened:
            raise InputError(
                f"`{axis.port}` counts sequences and steps in one axis, so chunks of several "
                "sequences cannot be joined. Leave out --chunk, or give one sequence."
            )


def _with_progress(sequence: ChunkedSequence, chunk: int) -> Iterator[Chunk]:
    """Yield the chunks, and draw a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=sequence.steps)
        for part in sequence.chunks:
            yield part
            progress.update(task, advance=chunk)
        progress.update(task, completed=sequence.steps or progress.tasks[0].completed)
