"""Axes that were to be dynamic, but have a constant size in forward."""

from __future__ import annotations

import contextlib
import re

from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.code_lines.source_line import size_guards
from edgernn.export.code_lines.source_syntax import condition_kind

__all__ = ["explain_fixed_axes"]

_AXIS = re.compile(r"L\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\]")
_EQUAL = re.compile(r"Eq\(\w+, \d+\)")


def explain_fixed_axes(module: nn.Module, example: ExampleCall, error: BaseException) -> str | None:
    """Say which axes forward fixes and on which line; None where torch failed for another reason.

    Args:
        module: The model.
        example: The call that was traced.
        error: torch.export's.
    """
    head = str(error).strip().partition("\n")[0]
    if not head.startswith("Constraints violated"):
        return None
    axes = dict.fromkeys((int(leaf), int(axis)) for leaf, axis in _AXIS.findall(head))
    if not axes:
        return None
    leaves = example.tensors
    listed = " and ".join(
        f"axis {axis} of `{leaves[index].path}` ({leaves[index].shape[axis]})"
        for index, axis in axes
    )
    symbols = {str(leaves[index].shape[axis]) for index, axis in axes}
    options = _with_numbers(module, example, symbols).options()
    where, helps = _where(error)
    return f"forward fixes {listed}{where}. {helps}ive it as a number, such as {options}."


def _with_numbers(module: nn.Module, example: ExampleCall, symbols: set[str]) -> ExampleCall:
    """Return the example with these axes as constants: one sequence if forward takes one."""
    sizes = {symbol: example.sizes[symbol] for symbol in symbols}
    if BATCH in sizes:
        single = example.with_constants({**sizes, BATCH: 1})
        with contextlib.suppress(Exception):
            run_forward(module, single)
            return single
    return example.with_constants(sizes)


def _where(error: BaseException) -> tuple[str, str]:
    """Say on which line of the model, and begin the sentence with what helps."""
    found = [(guard, line) for guard, line in size_guards(error) if line is not None]
    equal = [line for guard, line in found if _EQUAL.fullmatch(guard)]
    lines = equal or [line for _, line in found]
    if not lines:
        return " while it is traced: it branches on that size, or loops over it", "G"
    line = lines[-1]
    if line.code.startswith(("for ", "while ")) or " for " in line.code:
        return f" by a loop over it at {line}", "G"
    if condition_kind(line):
        return f" by a branch on its size at {line}", "G"
    by = "Compute with Python's operators (`n ** 0.5` is the root of a size) or torch, or g"
    return f" by making a number of it at {line}", by
