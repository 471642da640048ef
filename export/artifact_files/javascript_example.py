"""JavaScript that runs one artifact in Node, and with two other lines in a browser.

It is a module to go on from: `run` and `reset`, `encode` and `decode` where the model has a
vocabulary, and `check`, which replays the golden run.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property

from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port
from edgernn.export.artifact_files import javascript_parts
from edgernn.export.artifact_files.example_ports import ExamplePorts, variable

__all__ = ["JavascriptExample"]

_ARRAYS = {
    "float32": ("<f4", "Float32Array"),
    "float16": ("<f2", "Uint16Array"),
    "float64": ("<f8", "Float64Array"),
    "int64": ("<i8", "BigInt64Array"),
    "int32": ("<i4", "Int32Array"),
    "int16": ("<i2", "Int16Array"),
    "int8": ("|i1", "Int8Array"),
    "uint64": ("<u8", "BigUint64Array"),
    "uint32": ("<u4", "Uint32Array"),
    "uint16": ("<u2", "Uint16Array"),
    "uint8": ("|u1", "Uint8Array"),
    "bool": ("|b1", "Uint8Array"),
}
"""Name of a dtype → its name in .npy files, and the JavaScript array that holds it."""

_RESERVED = frozenset(
    re.findall(
        r"\w+",
        "batch contract decode encode folder idOf learned lengths numbers ort outputs padding "
        "readFile  session state steps symbols text toBits toNumber unknown  arguments await "
        "break case catch class const continue debugger default delete do else enum  eval export "
        "extends false finally for function if implements import in instanceof interface  let new "
        "null package private protected public return static super switch this throw true try "
        "typeof var void while with yield",
    )
)
"""Names that the code has already, and words of JavaScript."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PRODUCT = re.compile(r"\w+(?:\*\w+)*")


@dataclass(frozen=True)
class JavascriptExample:
    """A JavaScript module that runs an artifact.

    Attributes:
        name: The name of the artifact's folder.
        ports: What it feeds.
        tolerance: The largest difference from the golden run that passes.
    """

    name: str
    ports: ExamplePorts
    tolerance: float

    @property
    def code(self) -> str:
        """The module, for Node."""
        vocabulary, parts = self._contract.vocabulary, [self._opening()]
        if self._has_float16:
            parts.append(javascript_parts.FLOAT16)
        if self.ports.has_learned_states:
            parts.append(javascript_parts.LEARNED)
        parts += [self._reset(), self._run()]
        if vocabulary:
            words, characters = javascript_parts.ENCODE_WORDS, javascript_parts.ENCODE_CHARACTERS
            parts += [javascript_parts.VOCABULARY, words if vocabulary.separator else characters]
            separator = json.dumps(vocabulary.separator)
            parts.append(javascript_parts.DECODE.replace("SEPARATOR", separator))
        checked = bool(self._recorded_sizes)
        if checked:
            parts.append(javascript_parts.REPORT.replace("TOLERANCE", _decimal(self.tolerance)))
        parts.append("\n".join(self._example()))
        return "\n".join([*parts, *[self._check()] * checked]).rstrip()

    # --- what there is ---

    @cached_property
    def _contract(self) -> Contract:
        return self.ports.contract

    @cached_property
    def _graph(self) -> Graph:
        return self._contract.graphs[self.ports.kind]

    @cached_property
    def _data(self) -> tuple[Port, ...]:
        return self._contract.data_inputs(self.ports.kind)

    @cached_property
    def _outputs(self) -> tuple[Port, ...]:
        return self._contract.data_outputs(self.ports.kind)

    @cached_property
    def _states(self) -> list[Port]:
        return [self._graph.input(state.input) for state in self._contract.states]

    @cached_property
    def _has_float16(self) -> bool:
        return any(port.dtype == "float16" for port in (*self._graph.inputs, *self._graph.outputs))

    @cached_property
    def _counted(self) -> Port | None:
        """The input by whose length a call counts its steps; None where it takes one number."""
        return next((port for port in self._data if "steps" in self._factors(port)), None)

    @cached_property
    def _axes(self) -> list[str]:
        """The other dynamic axes of inputs, the batch first."""
        factors = {f for port in (*self._data, *self._states) for f in self._factors(port)}
        names = (f for f in factors if isinstance(f, str) and f != "steps")
        return sorted(names, key=lambda name: (name != BATCH, name))

    @cached_property
    def _steps_of_call(self) -> int | None:
        """How many steps of the golden run one call takes; None for all of them."""
        contract = self._contract
        only = contract.constants.get(SEQUENCE, contract.within(SEQUENCE, 1))
        if not contract.carry or (self._counted is not None and only > 1):
            return None
        return 1 if self.ports.kind == "step" else only

    # --- parts of the code ---

    def _opening(self) -> str:
        contract, kind = self._contract, self.ports.kind
        lines = [
            *javascript_parts.IMPORTS.splitlines(),
            f"const folder = {json.dumps(self.name, ensure_ascii=False)};",
            f"const session = await ort.InferenceSession.create(`${{folder}}/{kind}.onnx`);",
        ]
        if self.ports.has_learned_states or contract.vocabulary:
            lines.append(javascript_parts.CONTRACT)
        for name in self._axes:
            size = contract.within(name, 1) if name == BATCH else self.ports.other_size(name)
            what = "sequences side by side" if name == BATCH else "of any size"
            lines.append(f"let {name} = {size}; // {what}")
        if self.ports.has_learned_states and BATCH not in self._axes:
            lines.append(f"const batch = {contract.constants.get(BATCH, 1)};")
        return "\n".join([*lines, "let state;", ""])

    def _reset(self) -> str:
        batch = BATCH in self._axes
        values = []
        for index, (state, port) in enumerate(
            zip(self._contract.states, self._states, strict=True)
        ):
            data = f"new {_ARRAYS[port.dtype][1]}({_product(self._factors(port))})"
            if state.initial is not None:
                axis = port.axis(BATCH)
                inner = self._factors(port, 0 if axis is None else axis + 1)
                data = self._bits(port, f"learned({index}, {_product(inner)})")
            values.append(f"    {_key(port.name)}: {self._tensor(port, data)},")
        return "\n".join(
            [
                "/** Start new sequences, from the initial state. */",
                f"export function reset({f'size = {self._contract.within(BATCH, 1)}' * batch}) {{",
                *["  batch = size;"] * batch,
                "  state = {",
                *values,
                "  };",
                "}",
                "",
            ]
        )

    def _run(self) -> str:
        contract, step = self._contract, self.ports.kind == "step"
        what = "whole sequences; each of them starts from the initial state"
        if contract.carry:
            what = f"{'one step' if step else 'some steps'} from the state that the last call left"
        lines = [
            f"/** Run {what}.",
            " * Inputs and outputs are flat arrays of numbers, row by row. */",
            f"export async function run({', '.join(map(_variable, self._data))}) {{",
        ]
        if self._counted:
            factors = self._factors(self._counted)
            factors.remove("steps")
            length, others = f"{_variable(self._counted)}.length", _product(factors)
            divided = f" / ({others})" if " " in others else f" / {others}" * (others != "1")
            lines.append(f"  const steps = {length}{divided};")
        lines.append("  const outputs = await session.run({")
        for port in self._data:
            data = _variable(port)
            if port.name in contract.lengths:
                steps = "steps" if self._counted else contract.constants.get(SEQUENCE, 1)
                data += f" ?? Array({_product(self._factors(port))}).fill({steps})"
            lines.append(f"    {_key(port.name)}: {self._tensor(port, self._bits(port, data))},")
        lines += ["    ...state,", "  });"]
        if contract.carry:
            pairs = (f"{_key(s.input)}: {_member('outputs', s.output)}" for s in contract.states)
            lines.append(f"  state = {{ {', '.join(pairs)} }};")
        results = (
            f"{_key(port.name)}: {self._numbers(port, _member('outputs', port.name))}"
            for port in self._outputs
        )
        return "\n".join([*lines, f"  return {{ {', '.join(results)} }};", "}", ""])

    def _check(self) -> str:
        contract = self._contract
        states = [
            (state, self._graph.output(state.output)) for state in contract.states if contract.carry
        ]
        ports = [*self._data, *self._outputs, *self._states, *(port for _, port in states)]
        starts = (
            f"  {_key(port.name)}: "
            f"{_new_tensor(port, self._bits(port, _golden(port)), _golden(port, 'dims'))},"
            for port in self._states
        )
        lines = [
            *(f"{axis} = {self._recorded_sizes[axis]};" for axis in self._axes),
            "state = {",
            *starts,
            "};",
            *self._replay(),
        ]
        for state, port in states:
            got = self._numbers(port, _member("state", state.input))
            lines.append(f"compare({got}, {_golden(port)});")
        arrays = sorted({_ARRAYS[port.dtype] for port in ports})
        return (
            javascript_parts.CHECK.replace("ARRAYS", ", ".join(f'"{k}": {v}' for k, v in arrays))
            .replace("DATA", "data: numbers(data)" if self._has_float16 else "data")
            .replace("PORTS", ", ".join(json.dumps(port.name) for port in ports))
            .replace("REPLAY", "\n".join(f"  {line}" for line in lines))
        )

    def _replay(self) -> list[str]:
        """Return the lines that run the recorded inputs and compare the outputs."""
        size = self._steps_of_call
        if size is None:
            arguments = ", ".join(map(_golden, self._data))
            compared = map(self._compared, self._outputs)
            return [f"const outputs = await run({arguments});", *compared]
        parts = {
            port.name: f"part({json.dumps(port.name)}, {rows}, call)"
            for port in (*self._data, *self._outputs)
            if (rows := self._rows(port))
        }
        parts |= dict.fromkeys(self._contract.lengths, "undefined")
        arguments = ", ".join(parts.get(port.name, _golden(port)) for port in self._data)
        each = [port for port in self._outputs if port.name in parts]
        last = [port for port in self._outputs if port.name not in parts]
        return [
            f"const calls = {self._recorded_sizes[SEQUENCE]}{f' / {size}' * (size > 1)};",
            *javascript_parts.PART.splitlines(),
            "let outputs;",
            "for (let call = 0; call < calls; call++) {",
            f"  outputs = await run({arguments});",
            *(f"  compare({_member('outputs', p.name)}, {parts[p.name]});" for p in each),
            "}",
            *map(self._compared, last),
        ]

    def _compared(self, port: Port) -> str:
        return f"compare({_member('outputs', port.name)}, {_golden(port)});"

    def _example(self) -> list[str]:
        kind, lines = self.ports.kind, ["reset();"]
        scores = self.ports.scores(kind)
        if not self.ports.text_input(kind):
            arrays = ", ".join(map(self._array, self._data))
            return [*lines, f"console.log(await run({arrays}));"]
        lines.append(f"const text = decode({self.ports.text_ids}); // or any text of its symbols")
        if kind == "sequence":
            return [*lines, "console.log(await run(encode(text)));"]
        if scores is None:
            return [*lines, "for (const id of encode(text)) console.log(await run([id]));"]
        lines.append(
            javascript_parts.BEST.replace("SCORES", _member("(await run([id]))", scores.name))
        )
        return lines

    # --- expressions ---

    def _factors(self, port: Port, start: int = 0) -> list[int | str]:
        """Return the sizes of the axes of a port from `start` on, as factors of their product."""
        return [factor for axis in self._size_factors(port)[start:] for factor in axis]

    def _size_factors(self, port: Port) -> list[list[int | str]]:
        sizes = zip(port.shape, self.ports.sizes(port), strict=True)
        return [
            [_axis(factor) for factor in size.split("*")]
            if isinstance(size, str) and _PRODUCT.fullmatch(size)
            else [number]
            for size, number in sizes
        ]

    def _tensor(self, port: Port, data: str) -> str:
        sizes = ", ".join(map(_product, self._size_factors(port)))
        return _new_tensor(port, data, f"[{sizes}]")

    def _array(self, port: Port) -> str:
        """Return an array for one call, as `run` takes it."""
        if port.name in self._contract.lengths:
            return "undefined"
        array = "Float32Array" if port.dtype == "float16" else _ARRAYS[port.dtype][1]
        one = {BATCH: self._contract.within(BATCH, 1), "steps": self.ports.steps}
        factors = [f if isinstance(f, int) else one.get(f, f) for f in self._factors(port)]
        ones = f".fill({'1n' if array.startswith('Big') else 1})"
        return f"new {array}({_product(factors)}){ones * self.ports.filler(port)}"

    def _bits(self, port: Port, numbers: str) -> str:
        return f"Uint16Array.from({numbers}, toBits)" if port.dtype == "float16" else numbers

    def _numbers(self, port: Port, tensor: str) -> str:
        return f"numbers({tensor}.data)" if port.dtype == "float16" else f"{tensor}.data"

    # --- the golden run ---

    @cached_property
    def _recorded_sizes(self) -> dict[str, str]:
        """Name of an axis → its size in the golden run; empty where one cannot be read."""
        found = {
            SEQUENCE if name == SEQUENCE else str(_axis(name)): f"{_golden(port, 'dims')}[{index}]"
            for port in (*self._states, *map(self._recorded, self._data))
            for index, name in enumerate(port.axes)
            if name
        }
        return found if {*self._axes, SEQUENCE} <= found.keys() else {}

    def _recorded(self, port: Port) -> Port:
        """Return the port of whole sequences, in whose shape its array is recorded."""
        whole = self._contract.sequence
        if whole is None:
            return port.with_steps()
        return next(one for one in (*whole.inputs, *whole.outputs) if one.name == port.name)

    def _rows(self, port: Port) -> str:
        """Return how many rows of steps a recorded array has; empty where it has no steps."""
        recorded = self._recorded(port)
        for index, name in enumerate(recorded.axes):
            if name and SEQUENCE in name:
                factors = [f for axis in self._size_factors(recorded)[:index] for f in axis]
                return _product([*factors, *[BATCH] * name.startswith(f"{BATCH}*")])
        return ""


def _axis(name: str) -> int | str:
    """Return the variable that holds the size of an axis."""
    if name.isdecimal():
        return int(name)
    if name in (SEQUENCE, BATCH):
        return "steps" if name == SEQUENCE else name
    return f"{name}_" if name in _RESERVED else name


def _variable(port: Port) -> str:
    return variable(port, _RESERVED)


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _member(of: str, name: str) -> str:
    return f"{of}.{name}" if _IDENTIFIER.fullmatch(name) else f"{of}[{json.dumps(name)}]"


def _golden(port: Port, what: str = "data") -> str:
    return f"{_member('golden', port.name)}.{what}"


def _new_tensor(port: Port, data: str, dims: str) -> str:
    return f'new ort.Tensor("{port.dtype}", {data}, {dims})'


def _product(factors: list[int | str]) -> str:
    """Return the product of factors, its numbers multiplied."""
    number = math.prod(f for f in factors if isinstance(f, int))
    names = [f for f in factors if isinstance(f, str)]
    return " * ".join([*[str(number)] * (number != 1 or not names), *names])


def _decimal(number: float) -> str:
    """Return a number as short as JavaScript may have it: `1e-5`."""
    return re.sub(r"e([+-])0*", r"e\1", f"{number:g}")
