"""The sizes that a hand-written step of a recurrence seems to take, judged by its weights.

They are a suggestion for people: products of other sizes may run as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from edgernn.export.call.argument_names import is_state
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward

__all__ = ["guess_step_sizes"]

_GATES = (1, 4, 3, 2)
_TRIED = 32


def guess_step_sizes(module: nn.Module, arguments: Sequence[str]) -> tuple[int, int] | None:
    """Return the input size and hidden size of one step that runs, or None.

    Its states come back in the shape that they went in, the last of what forward returns.
    """
    states = [name for name in arguments if is_state(name)]
    if not states or len(states) == len(arguments):
        return None
    for width, hidden in itertools.islice(dict.fromkeys(_sizes(module)), _TRIED):
        sizes = {name: hidden if name in states else width for name in arguments}
        example = ExampleCall({name: torch.zeros(2, size) for name, size in sizes.items()}, {})
        if _returns_states(module, example, len(states), hidden):
            return width, hidden
    return None


def _sizes(module: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield input and hidden sizes: of one product with both side by side, or of one with each."""
    shapes = [tuple(p.shape) for p in module.parameters() if p.dim() == 2]
    inner = {columns for _, columns in shapes}
    for (rows, columns), gates in itertools.product(shapes, _GATES):
        hidden, rest = divmod(rows, gates)
        if rest or not hidden:
            continue
        if columns > hidden:
            yield columns - hidden, hidden
        if hidden in inner:
            yield columns, hidden


def _returns_states(module: nn.Module, example: ExampleCall, count: int, hidden: int) -> bool:
    try:
        results = list(run_forward(module, example).results.values())
    except Exception:
        return False
    return len(results) >= count and all(one.shape == (2, hidden) for one in results[-count:])
