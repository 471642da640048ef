"""Commands that run one artifact: `edgernn run`, and a project in C."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgernn.contract import BATCH, SEQUENCE, Port
from edgernn.export.artifact_files.example_ports import ExamplePorts
from edgernn.hosts import HOSTS
from edgernn.ports import HOP

__all__ = ["CommandExamples"]

_MOST_NUMBERS, _MOST_PRINTED = 16, 4
_C_DTYPES = ("float32", "float64", "int64", "int32", "bool")


@dataclass(frozen=True)
class CommandExamples:
    """Commands for a shell, in the folder that contains the artifact's.

    Attributes:
        name: The name of the artifact's folder.
        ports: What they feed.
    """

    name: str
    ports: ExamplePorts

    @property
    def run(self) -> list[str]:
        """Commands that run the artifact on a text or on numbers."""
        name, vocabulary = shlex.quote(self.name), self.ports.contract.vocabulary
        if vocabulary and any(map(self.ports.text_input, self.ports.contract.graphs)):
            text = vocabulary.decode(self.ports.text_ids)
            given = f" --text {shlex.quote(text)}" if text.isprintable() else ""
            return [f"edgernn run {name}{given}"]
        whole = f"edgernn run {name}"
        if self._has_batch or not self._is_over_time:
            return [whole]
        rows, sizes = self._rows, [math.prod(shape) for shape in self._shapes()]
        if len(self._inputs) > 1 and 0 < rows * sum(sizes) <= 2 * _MOST_NUMBERS:
            lines = " ".join([shlex.quote(self._json_step)] * rows)
            return [
                f"printf '%s\\n' {lines} > numbers.jsonl",
                f"{whole} --input numbers.jsonl",
            ]
        if len(self._inputs) == 1 and (lines := self._print_lines(sizes, rows)):
            return [f"{lines} > numbers.csv", f"{whole} --input numbers.csv"]
        return [whole]

    @property
    def app(self) -> str:
        """Commands that write, build and run a project in C."""
        embed = f"edgernn embed {shlex.quote(self.name)} --host c -o app"
        return "\n".join([embed, *HOSTS["c"].lines("app"), *self._own_data])

    @property
    def takes(self) -> str:
        """What a line for the program of a project has; empty where it takes none."""
        numbers = zip(self._inputs, self._numbers, strict=True) if self._own_data else ()
        return ", then ".join(f"{count} of `{port.name}`" for port, count in numbers)

    @property
    def _own_data(self) -> list[str]:
        """The command that feeds the program of a project, where it takes the model's dtypes."""
        dtypes = {port.dtype for port in self.ports.contract.graphs[self.ports.kind].inputs}
        if not self._numbers or not dtypes <= {*_C_DTYPES}:
            return []
        run = f"{HOSTS['c'].lines('app')[1]} step"
        lines = self._print_lines(self._numbers, self._rows // self.ports.contract.hop)
        return [f"{lines} | {run}" if lines else f"{run} < numbers.csv"]

    @cached_property
    def _inputs(self) -> list[Port]:
        contract = self.ports.contract
        data = contract.data_inputs(self.ports.kind)
        return [port for port in data if port.name not in contract.lengths]

    @property
    def _has_batch(self) -> bool:
        return self.ports.contract.constants.get(BATCH, 1) > 1

    @property
    def _is_over_time(self) -> bool:
        """Whether an input has an axis of steps, in the step graph one that it left out."""
        return self.ports.kind == "step" or any(SEQUENCE in port.shape for port in self._inputs)

    @property
    def _rows(self) -> int:
        """How many steps an example has: two, as far as the model takes and answers so few."""
        contract = self.ports.contract
        few = self.ports.steps if contract.in_hops else contract.within(SEQUENCE, 2)
        return contract.constants.get(SEQUENCE, few)

    def _shapes(self, of_call: bool = False) -> list[list[int]]:
        """Return the sizes of one step of each input, or of one call; none where one varies."""
        left_out = (BATCH, SEQUENCE) if of_call else (BATCH, SEQUENCE, HOP)
        shapes = [
            [
                size
                for size, axis in zip(port.shape, port.axes, strict=True)
                if axis not in left_out and size not in left_out
            ]
            for port in self._inputs
        ]
        fixed = [[size for size in shape if isinstance(size, int)] for shape in shapes]
        return fixed if fixed == shapes else []

    @property
    def _numbers(self) -> list[int]:
        """How many numbers of each input a call of the program in C takes; empty for none."""
        contract, kind = self.ports.contract, self.ports.kind
        only = contract.constants.get(SEQUENCE, contract.within(SEQUENCE, 1))
        any_division = contract.carry and contract.divisible
        if not any_division or not (kind == "step" or only == contract.hop == 1):
            return []
        return [math.prod(shape) for shape in self._shapes(of_call=True)]

    @property
    def _json_step(self) -> str:
        """One step as a line of .jsonl."""
        values = zip(self._inputs, self._shapes(), strict=True)
        return json.dumps(
            {port.name: np.full(shape, self.ports.filler(port)).tolist() for port, shape in values}
        )

    def _print_lines(self, sizes: list[int], rows: int) -> str:
        """Return a command that prints lines of so many numbers; none where it would be long."""
        filled = zip(self._inputs, sizes, strict=True) if sizes else ()
        row = [self.ports.filler(port) for port, n in filled for _ in range(n)]
        if 0 < len(row) <= _MOST_NUMBERS and rows <= _MOST_PRINTED:
            line = ",".join(map(str, row)) + "\\n"
            return f"printf '{line * rows}'"
        if len({*row}) != 1:
            return ""
        line = f"print(','.join(['{row[0]}'] * {len(row)}))"
        return f'python -c "for _ in range({rows}): {line}"'
