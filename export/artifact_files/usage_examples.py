"""Code that runs one artifact, in several languages, with the names and shapes of its own ports.

Each example feeds one sequence, or the constant number that the graphs take, and runs in the folder
that contains the artifact's.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Contract, Port, State

__all__ = ["UsageExamples"]

_STEPS = 5
_OTHER_AXIS = 4
_TYPED_ARRAYS = {
    "float16": "Uint16Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int32": "Int32Array",
    "int64": "BigInt64Array",
    "bool": "Uint8Array",
}
# Names that the examples use, and keywords of JavaScript; the variable of an argument of forward
# that is called so ends with an underscore.
_RESERVED = re.compile(
    "edgernn|json|learned|model|names|np|onnxruntime|ort|outputs|Path|readFile|run|saved|session|"
    "state|stream|case|catch|class|const|default|delete|do|enum|export|extends|function|in|"
    "instanceof|let|new|super|switch|this|throw|typeof|var|void"
)


@dataclass(frozen=True)
class UsageExamples:
    """Examples of the code that runs an artifact.

    Attributes:
        name: The name of the artifact's folder.
        contract: What its graphs promise.
    """

    name: str
    contract: Contract

    @property
    def kind(self) -> str:
        """The graph that a host runs: `step` where there is a step graph."""
        return "step" if self.contract.step and self.contract.carry else "sequence"

    @property
    def python(self) -> str:
        """Python with edgernn: whole sequences, and a stream if the state can be carried on."""
        contract = self.contract
        lines = ["import numpy as np", "", "import edgernn", ""]
        lines.append(f"model = edgernn.load({self._quoted()})")
        if contract.sequence:
            lines += ["", "# Whole sequences, from the initial state."]
            lines += self._call("model", "sequence")
        if contract.carry:
            batch = contract.constants.get(BATCH, 1)
            lines += ["", "# One running state."]
            lines.append(f"stream = model.stream({'' if batch == 1 else f'batch={batch}'})")
            lines += self._call("stream.step", "step") if contract.step else []
            lines.append("saved = stream.snapshot()  # to go on later: stream.restore(saved)")
        return "\n".join(lines)

    @property
    def onnxruntime(self) -> str:
        """Python with ONNX Runtime alone; the caller feeds the state back."""
        states, kind, learned = self.contract.states, self.kind, self._has_learned_states()
        lines = ["import json", "from pathlib import Path", ""] if learned else []
        lines += ["import numpy as np", "import onnxruntime", ""]
        lines += [
            f"session = onnxruntime.InferenceSession({self._quoted(f'{kind}.onnx')})",
            "names = [output.name for output in session.get_outputs()]",
        ]
        if learned:
            lines.append(f"learned = json.loads(Path({self._quoted('contract.json')}).read_text())")
        lines += ["state = {", *map(self._numpy_state, states), "}", ""]
        data = self.contract.data_inputs(kind)
        lines += [self._numpy_line(port) for port in data]
        feeds = ", ".join(f'"{port.name}": {_variable(port)}' for port in data)
        run = f"outputs = dict(zip(names, session.run(names, {{{feeds}, **state}})))"
        if not self.contract.carry:
            return "\n".join([*lines, run])
        loop = f"for _ in range(3):  # one {'step' if kind == 'step' else 'chunk'} each"
        pairs = ", ".join(f'"{s.input}": outputs["{s.output}"]' for s in states)
        return "\n".join([*lines, loop, f"    {run}", f"    state = {{{pairs}}}"])

    @property
    def javascript(self) -> str:
        """JavaScript: an ES module for Node, or with the other import for a browser."""
        states, kind, learned = self.contract.states, self.kind, self._has_learned_states()
        data, outputs = self.contract.data_inputs(kind), self.contract.data_outputs(kind)
        lines = ['import { readFile } from "node:fs/promises";'] if learned else []
        lines += [
            'import * as ort from "onnxruntime-node"; // in a browser: onnxruntime-web, "wasm"',
            "",
            f"const session = await ort.InferenceSession.create({self._quoted(f'{kind}.onnx')}, {{",
            '  executionProviders: ["cpu"],',
            "});",
        ]
        if learned:
            path = self._quoted("contract.json")
            lines.append(f'const learned = JSON.parse(await readFile({path}, "utf8"));')
        lines += ["let state = {", *map(self._javascript_state, states), "};", ""]
        names = ", ".join(map(_variable, data))
        lines += [f"export async function run({names}) {{", "  const outputs = await session.run({"]
        lines += [f"    {port.name}: {self._tensor(port, _variable(port))}," for port in data]
        lines += ["    ...state,", "  });"]
        if self.contract.carry:
            pairs = ", ".join(f"{s.input}: outputs.{s.output}" for s in states)
            lines.append(f"  state = {{ {pairs} }};")
        results = ", ".join(f"{port.name}: outputs.{port.name}.data" for port in outputs)
        lines += [f"  return {{ {results} }};", "}", ""]
        lines.append(f"console.log(await run({', '.join(map(self._typed_array, data))}));")
        return "\n".join(lines)

    def _call(self, function: str, kind: str) -> list[str]:
        """Return the lines that make data for a graph and run it by a function of edgernn."""
        inputs, outputs = self.contract.data_inputs(kind), self.contract.data_outputs(kind)
        names = ", ".join(f'"{port.name}"' for port in outputs)
        result, what = "outputs", f"by name: {names}"
        if len(outputs) == 1:
            result, what = _variable(outputs[0]), _shape(outputs[0])
        arguments = ", ".join(map(_variable, inputs))
        return [*map(self._numpy_line, inputs), f"{result} = {function}({arguments})  # {what}"]

    def _quoted(self, file: str = "") -> str:
        """Return the path of a file of the artifact as a literal of both languages."""
        return json.dumps(f"{self.name}/{file}".rstrip("/"), ensure_ascii=False)

    def _has_learned_states(self) -> bool:
        return any(state.initial is not None for state in self.contract.states)

    def _numpy_state(self, state: State) -> str:
        port = self.contract.graphs[self.kind].input(state.input)
        if state.initial is None:
            return f'    "{state.input}": np.zeros({self._sizes(port)}, np.{port.dtype}),'
        index = self.contract.states.index(state)
        value = f'np.array(learned["states"][{index}]["initial"], np.{port.dtype})'
        for axis, times in self._repeats(state.initial.shape, port):
            value += f".repeat({times}, {axis})"
        return f'    "{state.input}": {value},'

    def _javascript_state(self, state: State) -> str:
        port = self.contract.graphs[self.kind].input(state.input)
        if state.initial is None:
            data = self._typed_array(port)
        else:
            index = self.contract.states.index(state)
            value = f"learned.states[{index}].initial"
            for axis, times in self._repeats(state.initial.shape, port):
                value += f".flat({axis}).flatMap((part) => Array({times}).fill(part))"
            data = f"Float32Array.from({value}.flat(Infinity))"
        return f"  {state.input}: {self._tensor(port, data)},"

    def _repeats(self, shape: tuple[int, ...], port: Port) -> list[tuple[int, int]]:
        """Return each axis along which a learned value is repeated, with the number of copies.

        Those are axes of size 1 in the value and of a constant batch in the port.
        """
        pairs = enumerate(zip(shape, self._sizes(port), strict=True))
        return [(axis, size) for axis, (one, size) in pairs if one != size]

    def _numpy_line(self, port: Port) -> str:
        """Return the line that makes data for `port`: zeros for ids and floats."""
        filler = "zeros" if port.limit is not None or port.dtype.startswith("float") else "ones"
        array = f"np.{filler}({self._sizes(port)}, np.{port.dtype})"
        return f"{_variable(port)} = {array}  # {_shape(port)}"

    def _sizes(self, port: Port) -> tuple[int, ...]:
        """Return the shape of `port` for one sequence of five steps, as far as bounds allow."""
        within = self.contract.within
        symbols = {BATCH: within(BATCH, 1), SEQUENCE: within(SEQUENCE, _STEPS)}
        sizes = ((size, evaluate_size(size, symbols)) for size in port.shape)
        return tuple(within(str(size), _OTHER_AXIS) if n is None else n for size, n in sizes)

    def _typed_array(self, port: Port) -> str:
        return f"new {_TYPED_ARRAYS[port.dtype]}({math.prod(self._sizes(port))})"

    def _tensor(self, port: Port, data: str) -> str:
        return f'new ort.Tensor("{port.dtype}", {data}, {list(self._sizes(port))})'


def _variable(port: Port) -> str:
    return f"{port.name}_" if _RESERVED.fullmatch(port.name) else port.name


def _shape(port: Port) -> str:
    sizes = ", ".join(map(str, port.shape))
    return f"({sizes},)" if len(port.shape) == 1 else f"({sizes})"
