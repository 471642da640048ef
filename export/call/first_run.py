"""The first run of a model on an example call, if need be on another example like it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun
from edgernn.untrusted_text import first_line

__all__ = ["first_run"]

# Most constant batches are 1; windows, norms and strides need long sequences.
_OTHER_SIZES = (1, 40, 640, 16000)


def first_run(reference: ExampleRunner, example: ExampleCall) -> tuple[ForwardRun, ExampleCall]:
    """Run the example, or else the same with smaller ids or with a named axis at another size.

    Returns:
        What the model did, and the example that it ran on.

    Raises:
        InputError: It runs on none of them.
        UnsupportedModelError: It returns no tensor.
    """
    run, example = _run_any(reference, example)
    if not run.results:
        raise UnsupportedModelError(
            f"`{reference.name}` returns no tensor. Return the outputs that the graph is to have."
        )
    return run, example


def _run_any(reference: ExampleRunner, example: ExampleCall) -> tuple[ForwardRun, ExampleCall]:
    try:
        return reference(example), example
    except UnsupportedModelError:
        raise
    except Exception as error:
        others = itertools.chain(_with_smaller_ids(example, error), _at_other_sizes(example))
        for other in others:
            with contextlib.suppress(Exception):
                return reference(other), other
        given = ", ".join(map(str, example.tensors)) or "no tensor"
        raise InputError(
            f"`{reference.name}` fails on {given}: {type(error).__name__}: {error}"
        ) from error


def _at_other_sizes(example: ExampleCall) -> Iterator[ExampleCall]:
    symbols = sorted(example.sizes, key=lambda one: one != BATCH)
    for size, symbol in itertools.product(_OTHER_SIZES, symbols):
        yield example.resized({symbol: size})


def _with_smaller_ids(example: ExampleCall, error: Exception) -> Iterator[ExampleCall]:
    """Yield the example with ever smaller ids in place of those whose range is a guess.

    No embedding shows the range of ids that forward computes from several inputs or looks up in
    another one.
    """
    guessed = {leaf.path: leaf for leaf in example.tensors if leaf.path in example.guessed_ranges}
    largest = max((int(leaf.tensor.max()) for leaf in guessed.values()), default=0)
    listed = " and ".join(f"`{path}`" for path in guessed)
    are = "are" if len(guessed) > 1 else "is"
    options = " ".join(f'--input "{leaf}<N"' for leaf in guessed.values())
    below = (largest + 1) // 2
    while below > 1:
        note = (
            f"{listed} {are} below {below} in all that was compared: forward fails for larger "
            f"numbers ({first_line(error)}). Give the range: {options}."
        )
        tensors = {path: leaf.tensor % below for path, leaf in guessed.items()}
        yield replace(example.with_tensors(tensors), notes=(*example.notes, note))
        below //= 2
