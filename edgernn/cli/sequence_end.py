"""The end of a sequence that runs in hops: its last outputs, and the steps that are left."""

from __future__ import annotations

from collections.abc import Iterator

from edgernn.cli.chunk_runner import Arrays, ChunkRunner
from edgernn.cli.run_options import RunOptions
from edgernn.cli.terminal_notes import note
from edgernn.contract import Contract
from edgernn.runtime.check_inputs import format_steps

__all__ = ["end_of_sequence"]


def end_of_sequence(
    contract: Contract, runner: ChunkRunner, options: RunOptions
) -> Iterator[Arrays]:
    """Yield the outputs that come at the end, and note what a run leaves out.

    With --state-out the sequence does not end here: the steps that fill no hop are in the state.

    Args:
        contract: The contract of the model.
        runner: Has run all steps.
        options: Whether the state is written, or the last hop is filled.
    """
    if not contract.in_hops:
        return
    rest, hop = format_steps(runner.rest), f"a hop of {format_steps(contract.hop)}"
    if options.state_out is not None:
        if runner.rest:
            note(f"rest    the last {rest} do not fill {hop}; they are in {options.state_out}")
        return
    is_left = runner.rest > 0
    missing = contract.hop - runner.rest
    yield runner.end(options.pad_rest)
    if is_left and options.pad_rest:
        note(f"rest    the last {rest} were filled with {missing} zeros up to {hop}")
    elif is_left:
        note(f"rest    the last {rest} do not fill {hop}, and were not run; --pad-rest runs them")
    if contract.missing:
        counts = [f"{format_steps(count)} of `{name}`" for name, count in contract.missing.items()]
        note(f"missing the last {', '.join(counts)}, as they come from padding inside the model")
