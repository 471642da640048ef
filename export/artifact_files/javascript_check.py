"""The part of the JavaScript in a model card that replays the golden run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from edgernn.contract import SEQUENCE, Port
from edgernn.export.artifact_files import javascript_parts
from edgernn.export.artifact_files.javascript_ports import (
    ARRAYS,
    JavascriptPorts,
    axis_variable,
    golden,
    key,
    member,
    new_tensor,
)

__all__ = ["JavascriptCheck"]


@dataclass(frozen=True)
class JavascriptCheck:
    """The functions that read the golden run, replay it and compare the outputs.

    Attributes:
        ports: The ports of the example.
    """

    ports: JavascriptPorts

    @property
    def code(self) -> str:
        """The functions; there are none where `sizes` is empty."""
        contract = self.ports.contract
        states = [
            (state, self.ports.graph.output(state.output))
            for state in contract.states
            if contract.carry
        ]
        ports = [
            *self.ports.data,
            *self.ports.outputs,
            *self.ports.states,
            *(port for _, port in states),
        ]
        starts = (
            f"  {key(port.name)}: "
            f"{new_tensor(port, self.ports.bits(port, golden(port)), golden(port, 'dims'))},"
            for port in self.ports.states
        )
        lines = [
            *(f"{axis} = {self.sizes[axis]};" for axis in self.ports.axes),
            "state = {",
            *starts,
            "};",
            *["hops = 0;"] * self.ports.counts_hops,
            *self._replay(),
        ]
        for state, port in states:
            got = self.ports.numbers(port, member("state", state.input))
            lines.append(f"compare({got}, {golden(port)});")
        arrays = sorted({ARRAYS[port.dtype] for port in ports})
        return (
            javascript_parts.CHECK.replace("ARRAYS", ", ".join(f'"{k}": {v}' for k, v in arrays))
            .replace("DATA", "data: numbers(data)" if self.ports.has_float16 else "data")
            .replace("PORTS", ", ".join(json.dumps(port.name) for port in ports))
            .replace("REPLAY", "\n".join(f"  {line}" for line in lines))
        )

    def _replay(self) -> list[str]:
        """Return the lines that run the recorded inputs and compare the outputs."""
        size, hop = self.ports.steps_of_call, self.ports.contract.hop
        if size is None:
            arguments = ", ".join(map(golden, self.ports.data))
            all_hops = f"{self.sizes[SEQUENCE]}{f' / {hop}' * (hop > 1)}"
            compared = (
                self._compared(port, golden(port), "0", all_hops) for port in self.ports.outputs
            )
            return [f"const outputs = await run({arguments});", *compared]
        parts = {
            port.name: f"part({json.dumps(port.name)}, {rows}, call)"
            for port in (*self.ports.data, *self.ports.outputs)
            if (rows := self.ports.rows(port))
        }
        parts |= dict.fromkeys(self.ports.contract.lengths, "undefined")
        arguments = ", ".join(parts.get(port.name, golden(port)) for port in self.ports.data)
        each = [port for port in self.ports.outputs if port.name in parts]
        last = [port for port in self.ports.outputs if port.name not in parts]
        hops = size // hop
        before = "call" if hops == 1 else f"{hops} * call"
        return [
            f"const calls = {self.sizes[SEQUENCE]}{f' / {size}' * (size > 1)};",
            *javascript_parts.PART.splitlines(),
            "let outputs;",
            "for (let call = 0; call < calls; call++) {",
            f"  outputs = await run({arguments});",
            *(f"  {self._compared(p, parts[p.name], before, hops)}" for p in each),
            "}",
            *(self._compared(p, golden(p), before.replace("call", "calls"), 0) for p in last),
        ]

    def _compared(self, port: Port, wanted: str, before: str, hops: int | str) -> str:
        """Return the line that compares an output with what is wanted, from its delay on."""
        wanted = self.ports.defined(port, wanted, before, hops)
        return f"compare({member('outputs', port.name)}, {wanted});"

    @cached_property
    def sizes(self) -> dict[str, str]:
        """Name of an axis → its size in the golden run; empty where one cannot be read."""
        found = {
            SEQUENCE
            if name == SEQUENCE
            else str(axis_variable(name)): f"{golden(port, 'dims')}[{index}]"
            for port in (*self.ports.states, *map(self.ports.recorded, self.ports.data))
            for index, name in enumerate(port.axes)
            if name
        }
        return found if {*self.ports.axes, SEQUENCE} <= found.keys() else {}
