"""JavaScript that runs one artifact in Node, and with two other lines in a browser.

It is a module to go on from: `run` and `reset`, `encode` and `decode` where the model has a
vocabulary, and `check`, which replays the golden run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.export.artifact_files import javascript_parts
from edgernn.export.artifact_files.javascript_check import JavascriptCheck
from edgernn.export.artifact_files.javascript_ports import (
    ARRAYS,
    JavascriptPorts,
    key,
    member,
    product,
)

__all__ = ["JavascriptExample"]


@dataclass(frozen=True)
class JavascriptExample:
    """A JavaScript module that runs an artifact.

    Attributes:
        name: The name of the artifact's folder.
        contract: What its graphs promise.
        tolerance: The largest difference from the golden run that passes.
        last: The outputs of the last step alone, of a step graph without a sequence graph.
    """

    name: str
    contract: Contract
    tolerance: float
    last: frozenset[str] = frozenset()

    @property
    def code(self) -> str:
        """The module, for Node."""
        vocabulary, parts = self.contract.vocabulary, [self._opening()]
        if self.ports.has_float16:
            parts.append(javascript_parts.FLOAT16)
        if self.ports.has_learned_states:
            parts.append(javascript_parts.LEARNED)
        if self.ports.counts_hops:
            parts.append(javascript_parts.DEFINED)
        parts += [self._reset(), self._run()]
        if vocabulary:
            words, characters = javascript_parts.ENCODE_WORDS, javascript_parts.ENCODE_CHARACTERS
            parts += [javascript_parts.VOCABULARY, words if vocabulary.separator else characters]
            separator = json.dumps(vocabulary.separator)
            parts.append(javascript_parts.DECODE.replace("SEPARATOR", separator))
        check = JavascriptCheck(self.ports)
        checked = bool(check.sizes)
        if checked:
            parts.append(javascript_parts.REPORT.replace("TOLERANCE", _decimal(self.tolerance)))
        parts.append("\n".join(self._example()))
        return "\n".join([*parts, *([check.code] if checked else [])]).rstrip()

    @cached_property
    def ports(self) -> JavascriptPorts:
        """The ports, as expressions."""
        return JavascriptPorts(self.contract, self.last)

    def _opening(self) -> str:
        contract, kind = self.contract, self.ports.kind
        lines = [
            *javascript_parts.IMPORTS.splitlines(),
            f"const folder = {json.dumps(self.name, ensure_ascii=False)};",
            f"const session = await ort.InferenceSession.create(`${{folder}}/{kind}.onnx`);",
        ]
        if self.ports.has_learned_states or contract.vocabulary:
            lines.append(javascript_parts.CONTRACT)
        for name in self.ports.axes:
            size = contract.within(name, 1) if name == BATCH else self.ports.other_size(name)
            what = "sequences side by side" if name == BATCH else "of any size"
            lines.append(f"let {name} = {size}; // {what}")
        if self.ports.has_learned_states and BATCH not in self.ports.axes:
            lines.append(f"const batch = {contract.constants.get(BATCH, 1)};")
        counter = "let hops; // of the sequence so far"
        return "\n".join([*lines, "let state;", *[counter] * self.ports.counts_hops, ""])

    def _reset(self) -> str:
        batch = BATCH in self.ports.axes
        values = []
        for index, (state, port) in enumerate(
            zip(self.contract.states, self.ports.states, strict=True)
        ):
            data = f"new {ARRAYS[port.dtype][1]}({product(self.ports.factors(port))})"
            if state.initial is not None:
                axis = port.axis(BATCH)
                inner = self.ports.factors(port, 0 if axis is None else axis + 1)
                data = self.ports.bits(port, f"learned({index}, {product(inner)})")
            values.append(f"    {key(port.name)}: {self.ports.tensor(port, data)},")
        return "\n".join(
            [
                "/** Start new sequences, from the initial state. */",
                f"export function reset({f'size = {self.contract.within(BATCH, 1)}' * batch}) {{",
                *["  batch = size;"] * batch,
                "  state = {",
                *values,
                "  };",
                *["  hops = 0;"] * self.ports.counts_hops,
                "}",
                "",
            ]
        )

    def _run(self) -> str:
        contract, step = self.contract, self.ports.kind == "step"
        what = "whole sequences; each of them starts from the initial state"
        if contract.carry:
            hop = f"hop of {contract.hop} steps" if contract.hop > 1 else "step"
            some = "some steps" if contract.hop == 1 else f"whole hops of {contract.hop} steps"
            call = f"one {hop}" if step else some if contract.divisible else "one call"
            what = f"{call} from the state that the last call left"
        lines = [
            f"/** Run {what}.",
            " * Inputs and outputs are flat arrays of numbers, row by row"
            + (
                ", without the steps that are not\n * defined yet. */"
                if self.ports.counts_hops
                else ". */"
            ),
            f"export async function run({', '.join(map(self.ports.variable, self.ports.data))}) {{",
        ]
        if self.ports.counted:
            factors = self.ports.factors(self.ports.counted)
            factors.remove("steps")
            length, others = f"{self.ports.variable(self.ports.counted)}.length", product(factors)
            divided = f" / ({others})" if " " in others else f" / {others}" * (others != "1")
            lines.append(f"  const steps = {length}{divided};")
        lines += self._refusals()
        lines.append("  const outputs = await session.run({")
        for port in self.ports.data:
            data = self.ports.variable(port)
            if port.name in contract.lengths:
                steps = "steps" if self.ports.counted else contract.constants.get(SEQUENCE, 1)
                data += f" ?? Array({product(self.ports.factors(port))}).fill({steps})"
            lines.append(
                f"    {key(port.name)}: {self.ports.tensor(port, self.ports.bits(port, data))},"
            )
        lines += ["    ...state,", "  });"]
        if contract.carry:
            pairs = (f"{key(s.input)}: {member('outputs', s.output)}" for s in contract.states)
            lines.append(f"  state = {{ {', '.join(pairs)} }};")
        results = [f"{key(port.name)}: {self._result(port)}" for port in self.ports.outputs]
        if not self.ports.counts_hops:
            return "\n".join([*lines, f"  return {{ {', '.join(results)} }};", "}", ""])
        lines += ["  const results = {", *(f"    {result}," for result in results), "  };"]
        hops = self.ports.hops_of_call
        advance = "  hops++;" if hops == 1 else f"  hops += {hops};"
        return "\n".join([*lines, advance, "  return results;", "}", ""])

    def _refusals(self) -> list[str]:
        """Return the lines that refuse a chunk of a part of a hop, and one past the last hop."""
        hop, hops = self.contract.hop, self.ports.hops_of_call
        lines = []
        if self.ports.counted and hop > 1:
            error = f"new RangeError(`${{steps}} steps are not whole hops of {hop}`)"
            lines.append(f"  if (steps % {hop}) throw {error};")
        limits = self.contract.limited_states if self.contract.carry else {}
        for name, most in limits.items():
            what = f"{most} {'steps' if hop == 1 else 'hops'}"
            error = f'new RangeError("a sequence has at most {what}; reset() starts a new one")'
            counts = f"{member('state', self.contract.state_ports[name].name)}.data"
            past = f"{counts}.some((count) => Number(count) + {hops} > {most})"
            lines += [f"  if ({past})", f"    throw {error};"]
        return lines

    def _result(self, port: Port) -> str:
        """Return the expression of the numbers of an output that are defined."""
        numbers = self.ports.numbers(port, member("outputs", port.name))
        return self.ports.defined(port, numbers, "hops", self.ports.hops_of_call)

    def _example(self) -> list[str]:
        kind, lines = self.ports.kind, ["reset();"]
        scores = self.ports.scores(kind)
        if not self.ports.text_input(kind):
            arrays = ", ".join(map(self.ports.array, self.ports.data))
            late = self.ports.undefined_hops if self.ports.kind == "step" else 0
            if not late:
                return [*lines, f"console.log(await run({arrays}));"]
            return [
                *lines,
                "let outputs;",
                f"for (let i = 0; i <= {late}; i++) outputs = await run({arrays});",
                f"console.log(outputs); // all of them are defined after the first {late}",
            ]
        lines.append(f"const text = decode({self.ports.text_ids}); // or any text of its symbols")
        if kind == "sequence":
            return [*lines, "console.log(await run(encode(text)));"]
        if scores is None:
            return [*lines, "for (const id of encode(text)) console.log(await run([id]));"]
        best = javascript_parts.BEST.replace("SCORES", member("(await run([id]))", scores.name))
        if scores.name in self.contract.delays:
            best = best.replace("best.push", "if (scores.length) best.push")
        return [*lines, best]


def _decimal(number: float) -> str:
    """Return a number as short as JavaScript may have it: `1e-5`."""
    return re.sub(r"e([+-])0*", r"e\1", f"{number:g}")
