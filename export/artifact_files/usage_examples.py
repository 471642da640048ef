"""Python that runs one artifact, with the names and shapes of its own ports.

Each example feeds one sequence, or the constant number that the graphs take, and runs in the folder
that contains the artifact's.
"""

from __future__ import annotations

import json
import keyword
import math
from dataclasses import dataclass

from edgernn.contract import BATCH, Contract, Port, State
from edgernn.export.artifact_files.example_ports import ExamplePorts, variable
from edgernn.ports import HOP

__all__ = ["UsageExamples"]

_RESERVED = {
    *keyword.kwlist,
    *("edgernn", "json", "learned", "model", "names", "np", "onnxruntime", "outputs", "Path"),
    *("saved", "session", "state", "stream", "symbols", "text", "id_", "print"),
}
"""Words of Python, and names that the examples use."""


@dataclass(frozen=True)
class UsageExamples:
    """Examples of the code that runs an artifact.

    Attributes:
        name: The name of the artifact's folder.
        ports: What they feed.
    """

    name: str
    ports: ExamplePorts

    @property
    def python(self) -> str:
        """Python with edgernn: whole sequences, and a stream if the state can be carried on."""
        contract, ports = self._contract, self.ports
        lines = ["import numpy as np", "", "import edgernn", ""]
        lines.append(f"model = edgernn.load({self._quoted()})")
        if any(map(ports.text_input, contract.graphs)):
            lines.append("symbols = model.contract.vocabulary")
            lines.append(f"text = symbols.decode({ports.text_ids})  # or any text of its symbols")
        if contract.sequence:
            lines += ["", "# Whole sequences, from the initial state."]
            ids = ports.text_input("sequence")
            lines += self._of_text(ids) if ids else self._call("sequence")
        if contract.carry:
            batch = contract.constants.get(BATCH, 1)
            lines += ["", "# One running state."]
            lines.append(f"stream = model.stream({'' if batch == 1 else f'batch={batch}'})")
            if contract.step:
                ids = ports.text_input("step")
                lines += self._by_symbols(ids) if ids else self._call("step")
            lines.append("saved = stream.snapshot()  # to go on later: stream.restore(saved)")
        return "\n".join(lines)

    @property
    def javascript(self) -> str:
        """JavaScript with the module of a project for Node: a stream, or whole sequences."""
        kind, contract = self.ports.kind, self._contract
        data = [port for port in contract.data_inputs(kind) if port.name not in contract.lengths]
        given = ", ".join(f"{json.dumps(port.name)}: {self._values(port)}" for port in data)
        batch = contract.constants.get(BATCH, 1)
        call = "run" if not contract.carry else "step" if kind == "step" else "feed"
        return "\n".join(
            [
                'import * as ort from "onnxruntime-node"; // in a browser: "onnxruntime-web"',
                'import { open } from "./edgernn.mjs";',
                "",
                'const model = await open(ort, "model.edgernn");',
                f"const stream = model.stream({'' if batch == 1 else batch});",
                f"const outputs = await stream.{call}({{ {given} }}); // row by row",
                *(
                    f"console.log({port.name!r}, outputs[{json.dumps(port.name)}]?.data);"
                    for port in contract.data_outputs(kind)
                ),
            ]
        )

    @property
    def onnxruntime(self) -> str:
        """Python with ONNX Runtime alone; the caller feeds the state back."""
        states, kind, learned = (
            self._contract.states,
            self.ports.kind,
            self.ports.has_learned_states,
        )
        lines = ["import json", "from pathlib import Path", ""] if learned else []
        lines += ["import numpy as np", "import onnxruntime", ""]
        lines += [
            f"session = onnxruntime.InferenceSession({self._quoted(f'{kind}.onnx')})",
            "names = [output.name for output in session.get_outputs()]",
        ]
        if learned:
            path = self._quoted("contract.json")
            lines.append(f'learned = json.loads(Path({path}).read_text("utf-8"))')
        lines += ["state = {", *map(self._state, states), "}", ""]
        data = self._contract.data_inputs(kind)
        lines += map(self._array, data)
        feeds = ", ".join(f"{json.dumps(port.name)}: {_variable(port)}" for port in data)
        run = f"outputs = dict(zip(names, session.run(names, {{{feeds}, **state}})))"
        if not self._contract.carry:
            return "\n".join([*lines, run])
        step = "step" if self._contract.hop == 1 else "hop"
        loop = f"for _ in range(3):  # one {step if kind == 'step' else 'chunk'} each"
        pairs = ", ".join(f'"{s.input}": outputs["{s.output}"]' for s in states)
        late = ", ".join(f"{count} of `{name}`" for name, count in self._contract.delays.items())
        note = f"# The first steps of a new sequence are not defined: drop {late}."
        return "\n".join(
            [*lines, *[note] * bool(late), loop, f"    {run}", f"    state = {{{pairs}}}"]
        )

    @property
    def _contract(self) -> Contract:
        return self.ports.contract

    def _call(self, kind: str) -> list[str]:
        """Return the lines that make data for a graph and run it by a function of edgernn."""
        inputs = self._contract.data_inputs(kind)
        arguments = ", ".join(map(_variable, inputs))
        return [*map(self._array, inputs), self._result(kind, arguments)]

    def _of_text(self, port: Port) -> list[str]:
        """Return the lines that run a text as a whole, its ids being those of `port`."""
        scores = self.ports.scores("sequence")
        sizes = ", ".join("-1" if size == "sequence" else "1" for size in port.shape)
        ids = f"np.array(symbols.encode(text), np.{port.dtype}).reshape({sizes})"
        lines = [
            f"{_variable(port)} = {ids}  # {_shape(port)}",
            self._result("sequence", _variable(port)),
        ]
        if scores:
            best = f"{self._named('sequence', scores)}.argmax(-1).ravel()"
            lines.append(f"print(text, symbols.decode({best}))  # the best symbol after each one")
        return lines

    def _by_symbols(self, port: Port) -> list[str]:
        """Return the lines that run a text symbol by symbol, its ids being those of `port`."""
        scores = self.ports.scores("step")
        array = f"np.full({self.ports.sizes(port)}, id_, np.{port.dtype})"
        lines = ["for id_ in symbols.encode(text):", f"    {self._result('step', array)}"]
        if scores:
            best = f"[int({self._named('step', scores)}.argmax())]"
            lines.append(f"print(symbols.decode({best}))  # the best symbol after the last one")
        return lines

    def _result(self, kind: str, arguments: str) -> str:
        """Return the call of a graph by a function of edgernn, with the outputs' names."""
        outputs = self._contract.data_outputs(kind)
        function = "model" if kind == "sequence" else "stream.step"
        late = kind == "step" and any(
            port.name in self._contract.delays and HOP not in port.axes for port in outputs
        )
        none = ", or None before it is defined" if late else ""
        if len(outputs) == 1:
            result = f"{_variable(outputs[0])} = {function}({arguments})"
            return f"{result}  # {_shape(outputs[0])}{none}"
        names = ", ".join(f'"{port.name}"' for port in outputs)
        return f"outputs = {function}({arguments})  # by name: {names}{none}"

    def _named(self, kind: str, output: Port) -> str:
        """Return the expression of one output, after the call."""
        several = len(self._contract.data_outputs(kind)) > 1
        return f"outputs[{json.dumps(output.name)}]" if several else _variable(output)

    def _quoted(self, file: str = "") -> str:
        """Return the path of a file of the artifact as a literal."""
        return json.dumps(f"{self.name}/{file}".rstrip("/"), ensure_ascii=False)

    def _state(self, state: State) -> str:
        port = self._contract.graphs[self.ports.kind].input(state.input)
        if state.initial is None:
            return f'    "{state.input}": np.zeros({self.ports.sizes(port)}, np.{port.dtype}),'
        index = self._contract.states.index(state)
        value = f'np.array(learned["states"][{index}]["initial"], np.{port.dtype})'
        for axis, times in self._repeats(state.initial.shape, port):
            value += f".repeat({times}, {axis})"
        return f'    "{state.input}": {value},'

    def _repeats(self, shape: tuple[int, ...], port: Port) -> list[tuple[int, int]]:
        """Return each axis along which a learned value is repeated, with the number of copies.

        Those are axes of size 1 in the value and of a constant batch in the port.
        """
        pairs = enumerate(zip(shape, self.ports.sizes(port), strict=True))
        return [(axis, size) for axis, (one, size) in pairs if one != size]

    def _values(self, port: Port) -> str:
        """Return the numbers for a port in JavaScript, row by row."""
        value, count = self.ports.filler(port), math.prod(self.ports.sizes(port))
        few = ", ".join([str(value)] * count)
        return f"[{few}]" if count <= 8 else f"new Array({count}).fill({value})"

    def _array(self, port: Port) -> str:
        """Return the line that makes data for `port`; lengths are the number of steps."""
        sizes, value = self.ports.sizes(port), self.ports.filler(port)
        array = f"np.{('zeros', 'ones')[value]}({sizes}, np.{port.dtype})"
        if port.name in self._contract.lengths:
            steps = self._contract.constants.get("sequence", self.ports.steps)
            array = f"np.full({sizes}, {steps}, np.{port.dtype})"
        return f"{_variable(port)} = {array}  # {_shape(port)}"


def _variable(port: Port) -> str:
    return variable(port, _RESERVED)


def _shape(port: Port) -> str:
    sizes = ", ".join(map(str, port.shape))
    return f"({sizes},)" if len(port.shape) == 1 else f"({sizes})"
