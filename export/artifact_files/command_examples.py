"""Commands that run one artifact: `edgernn run`, and the programs of `examples/c`."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from functools import cached_property

from edgernn.contract import BATCH, SEQUENCE, Port
from edgernn.export.artifact_files.example_ports import ExamplePorts

__all__ = ["CommandExamples"]

_MOST_NUMBERS = 16
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
        """Commands that run the artifact on a text or on numbers, where these are short."""
        name, vocabulary = shlex.quote(self.name), self.ports.contract.vocabulary
        if vocabulary and any(map(self.ports.text_input, self.ports.contract.graphs)):
            text = shlex.quote(vocabulary.decode(self.ports.text_ids))
            return [f"edgernn run {name} --text {text}"]
        if len(self._inputs) != 1 or not self._lines or self._has_batch:
            return [f"edgernn run {name}"]
        return [
            f"printf '{self._lines}' > numbers.csv",
            f"edgernn run {name} --input numbers.csv",
        ]

    @property
    def c(self) -> str:
        """The section on C, in Markdown."""
        library, name = "build/c/libonnxruntime.so", shlex.quote(self.name)
        commands = ["examples/c/build", f"build/c/golden {library} {name}"]
        text = "`golden` replays the golden run."
        dtypes = {port.dtype for port in self.ports.contract.graphs[self.ports.kind].inputs}
        if not dtypes <= {*_C_DTYPES}:
            other = ", ".join(sorted(dtypes - {*_C_DTYPES}))
            return f"The programs in `examples/c` of edgernn take no {other}, which this model has."
        if self._numbers:
            takes = ", then ".join(
                f"{count} of `{port.name}`"
                for port, count in zip(self._inputs, self._numbers, strict=True)
            )
            text += f" `step` runs your own data, a line being one step: {takes}."
            step = f"build/c/step {library} {name}"
            commands.append(
                f"printf '{self._lines}' | {step}" if self._lines else f"{step} < numbers.csv"
            )
        text += " `examples/c/README.md` describes both." if self._numbers else ""
        text += " In a clone of edgernn, with this folder in it:"
        return f"{text}\n\n```sh\n" + "\n".join(commands) + "\n```"

    @cached_property
    def _inputs(self) -> list[Port]:
        contract = self.ports.contract
        data = contract.data_inputs(self.ports.kind)
        return [port for port in data if port.name not in contract.lengths]

    @property
    def _has_batch(self) -> bool:
        return self.ports.contract.constants.get(BATCH, 1) > 1

    @cached_property
    def _numbers(self) -> list[int]:
        """How many numbers of each input a step has; empty where no program takes single steps."""
        contract, kind = self.ports.contract, self.ports.kind
        only = contract.constants.get(SEQUENCE, contract.within(SEQUENCE, 1))
        any_division = contract.carry and contract.divisible
        if not any_division or (kind == "sequence" and only > 1):
            return []
        sizes = [
            [size for size in port.shape if size not in (BATCH, SEQUENCE)] for port in self._inputs
        ]
        if any(isinstance(size, str) for shape in sizes for size in shape):
            return []
        return [math.prod(size for size in shape if isinstance(size, int)) for shape in sizes]

    @cached_property
    def _lines(self) -> str:
        """Two steps, as printf takes them; empty where they are long."""
        if not 0 < sum(self._numbers) <= _MOST_NUMBERS:
            return ""
        filled = zip(self._inputs, self._numbers, strict=True)
        line = ",".join(str(self.ports.filler(port)) for port, n in filled for _ in range(n))
        return f"{line}\\n" * 2
