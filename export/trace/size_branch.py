"""Where forward branches on the size of an axis: `if x.shape[1] % 2: x = pad(x)`.

Forward runs at several sizes, and the first line that runs at some of them only shows the branch.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.code_lines.execution_log import LogEntry, growing_loops, log_execution
from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.code_lines.source_syntax import condition_kind, enclosing_condition

__all__ = ["SizeBranch", "find_size_branch", "logs_at_sizes"]

_SIZES = range(1, 18)
"""Sizes of an axis at which forward runs."""


@dataclass(frozen=True)
class SizeBranch:
    """A branch of forward on the size of an axis.

    Attributes:
        line: The line with the condition, or the first that runs at some sizes only.
        sizes: The sizes at which the line runs that does not always run.
        tried: The sizes at which forward runs.
    """

    symbol: str
    line: SourceLine
    sizes: tuple[int, ...]
    tried: tuple[int, ...]

    @property
    def is_bound(self) -> bool:
        """Whether one side is taken up to some size and the other one from then on."""
        taken = [size in self.sizes for size in self.tried]
        return sum(a is not b for a, b in itertools.pairwise(taken)) == 1

    @property
    def divisor(self) -> int | None:
        """The number by which the size is divided, where the remainder decides."""
        for divisor in range(2, 9):
            sides = {(size % divisor == 0, size in self.sizes) for size in self.tried}
            if sides in ({(True, True), (False, False)}, {(True, False), (False, True)}):
                return divisor
        return None

    def __str__(self) -> str:
        if self.divisor is None:
            return (
                f"branches on the size of `{self.symbol}` at {self.line}, and a graph computes "
                "the same at every size. Compute the same at all sizes, or give that size as a "
                "number."
            )
        kinds = {2: f"whether `{self.symbol}` is odd or even"}
        what = kinds.get(self.divisor, f"whether `{self.symbol}` is a multiple of {self.divisor}")
        return (
            f"branches on {what} at {self.line}, and a graph computes the same at every size. Do "
            f"without the branch: pad by `-n % {self.divisor}` or crop by `n % {self.divisor}`, "
            "which may be 0."
        )


def find_size_branch(module: nn.Module, example: ExampleCall) -> SizeBranch | None:
    """Return where forward branches on the size of an axis; None where it loops or does not."""
    for symbol in example.sizes:
        logs = logs_at_sizes(module, example, symbol, _SIZES) if symbol != BATCH else {}
        if len(logs) < 3:
            continue
        if growing_loops(logs):
            return None
        done = {
            size: dict.fromkeys((entry.line, entry.function) for entry in log)
            for size, log in logs.items()
        }
        for line, function in dict.fromkeys(itertools.chain(*done.values())):
            sizes = tuple(size for size, steps in done.items() if (line, function) in steps)
            if len(sizes) < len(logs):
                inline = function and condition_kind(line)
                condition = None if inline else enclosing_condition(line)
                return SizeBranch(symbol, condition or line, sizes, tuple(logs))
    return None


def logs_at_sizes(
    module: nn.Module, example: ExampleCall, symbol: str, sizes: Iterable[int]
) -> dict[int, list[LogEntry]]:
    """Return what forward does at sizes of an axis, those left out that it does not take."""
    logs: dict[int, list[LogEntry]] = {}
    for size in sizes:
        resized = example.resized({symbol: size})
        with contextlib.suppress(Exception):
            logs[size] = log_execution(partial(run_forward, module, resized))
    return logs
