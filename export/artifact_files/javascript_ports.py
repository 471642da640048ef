"""The ports of one artifact, as expressions of JavaScript."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property

from edgernn.contract import BATCH, SEQUENCE, Graph, Port
from edgernn.export.artifact_files.example_ports import ExamplePorts, variable
from edgernn.streaming_rules import over_chunks

__all__ = [
    "ARRAYS",
    "JavascriptPorts",
    "axis_variable",
    "golden",
    "key",
    "member",
    "new_tensor",
    "product",
]

ARRAYS = {
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
        "batch contract decode defined encode folder hops idOf learned lengths numbers ort outputs "
        "padding readFile results  session state steps symbols text toBits toNumber unknown  "
        "arguments await break case catch class const continue debugger default delete do else "
        "enum  eval export extends false finally for function if implements import in instanceof "
        "interface  let new null package private protected public return static super switch this "
        "throw true try typeof var void while with yield",
    )
)
"""Names that the code has already, and words of JavaScript."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PRODUCT = re.compile(r"\w+(?:\*\w+)*")


@dataclass(frozen=True)
class JavascriptPorts(ExamplePorts):
    """The ports that an example uses, as expressions of JavaScript.

    Attributes:
        last: The outputs of the last step alone, where only the golden run shows which they are.
    """

    last: frozenset[str] = frozenset()

    @cached_property
    def graph(self) -> Graph:
        """The graph that the example runs."""
        return self.contract.graphs[self.kind]

    @cached_property
    def data(self) -> tuple[Port, ...]:
        """Its inputs that are not states."""
        return self.contract.data_inputs(self.kind)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """Its outputs that are not states."""
        return self.contract.data_outputs(self.kind)

    @cached_property
    def states(self) -> list[Port]:
        """Its inputs that are states, in the order of the contract."""
        return [self.graph.input(state.input) for state in self.contract.states]

    def variable(self, port: Port) -> str:
        """Return the variable that holds the numbers of a port."""
        return variable(port, _RESERVED)

    @cached_property
    def has_float16(self) -> bool:
        """Whether a port of the graph is float16, for which JavaScript may have no array."""
        return any(port.dtype == "float16" for port in (*self.graph.inputs, *self.graph.outputs))

    @cached_property
    def counted(self) -> Port | None:
        """The input by whose length a call counts its steps; None where it takes one number."""
        return next((port for port in self.data if "steps" in self.factors(port)), None)

    @cached_property
    def axes(self) -> list[str]:
        """The other dynamic axes of inputs, the batch first."""
        factors = {f for port in (*self.data, *self.states) for f in self.factors(port)}
        names = (f for f in factors if isinstance(f, str) and f != "steps")
        return sorted(names, key=lambda name: (name != BATCH, name))

    @cached_property
    def steps_of_call(self) -> int | None:
        """How many steps of the golden run one call takes; None for all of them."""
        contract = self.contract
        hop = contract.hop
        only = contract.constants.get(SEQUENCE, contract.within(SEQUENCE, hop))
        any_division = contract.carry and contract.divisible
        if not any_division or (self.counted is not None and only > hop):
            return None
        return hop if self.kind == "step" else only

    @property
    def hops_of_call(self) -> int | str:
        """How many hops `run` takes in a call: a number, or an expression of its steps."""
        hop = self.contract.hop
        if self.kind == "step":
            return 1
        if self.counted is None:
            return self.contract.constants.get(SEQUENCE, hop) // hop
        return "steps" if hop == 1 else f"steps / {hop}"

    @property
    def counts_hops(self) -> bool:
        """Whether `run` must know how many hops a sequence had so far."""
        return self.contract.carry and bool(self.contract.delays)

    def recorded(self, port: Port) -> Port:
        """Return a data port as the golden run has it, with an axis of all steps."""
        whole = self.contract.sequence
        if whole is None:
            return (
                port
                if port.name in self.last
                else over_chunks(port, self.contract.hop, port in self.outputs)
            )
        return next(one for one in (*whole.inputs, *whole.outputs) if one.name == port.name)

    def rows(self, port: Port) -> str:
        """Return how many rows of steps an array of a port has; empty where it has no steps."""
        recorded, constants = self.recorded(port), self.contract.constants
        batch = BATCH if BATCH in self.axes else constants.get(BATCH, 1)
        for index, name in enumerate(recorded.axes):
            if name and SEQUENCE in name:
                factors = [f for axis in self.size_factors(recorded)[:index] for f in axis]
                return product([*factors, *[batch] * name.startswith(f"{BATCH}*")])
        return ""

    def defined(self, port: Port, data: str, before: str, hops: int | str) -> str:
        """Return the expression of an output's numbers without steps that are not defined.

        Args:
            port: The output.
            data: The expression of all its numbers in a call.
            before: The expression of the hops of the sequence before the call.
            hops: The hops of the call, a number or an expression.
        """
        delay, rate = self.contract.delays.get(port.name, 0), self.contract.steps_per_hop(port.name)
        if not delay or not self.contract.carry:
            return data
        rows = self.rows(port)
        if not rows:  # the last step of the call
            last: dict[int | str, str] = {0: f"{before} - 1", 1: before}
            passed, steps = last.get(hops, f"{before} + {hops} - 1"), "1"
        elif isinstance(hops, int):
            passed, steps = product([rate, before]), str(rate * hops)
        else:
            passed, steps = product([rate, before]), product([rate, hops])
            steps = "steps" if hops == f"steps / {rate}" else steps
        return f"defined({data}, {rows or 1}, {steps}, {delay}, {passed})"

    def factors(self, port: Port, start: int = 0) -> list[int | str]:
        """Return the sizes of the axes of a port from `start` on, as factors of their product."""
        return [factor for axis in self.size_factors(port)[start:] for factor in axis]

    def size_factors(self, port: Port) -> list[list[int | str]]:
        """Return the size of each axis of a port, as factors of numbers and variables."""
        sizes = zip(port.shape, self.sizes(port), strict=True)
        return [
            [axis_variable(factor) for factor in size.split("*")]
            if isinstance(size, str) and _PRODUCT.fullmatch(size)
            else [number]
            for size, number in sizes
        ]

    def tensor(self, port: Port, data: str) -> str:
        """Return the expression of a tensor of `port` for one call."""
        sizes = ", ".join(map(product, self.size_factors(port)))
        return new_tensor(port, data, f"[{sizes}]")

    def array(self, port: Port) -> str:
        """Return an array for one call, as `run` takes it."""
        if port.name in self.contract.lengths:
            return "undefined"
        array = "Float32Array" if port.dtype == "float16" else ARRAYS[port.dtype][1]
        one = {BATCH: self.contract.within(BATCH, 1), "steps": self.steps}
        factors = [f if isinstance(f, int) else one.get(f, f) for f in self.factors(port)]
        ones = f".fill({'1n' if array.startswith('Big') else 1})"
        return f"new {array}({product(factors)}){ones * self.filler(port)}"

    def bits(self, port: Port, numbers: str) -> str:
        """Return the expression of an input's data, from that of its numbers."""
        return f"Uint16Array.from({numbers}, toBits)" if port.dtype == "float16" else numbers

    def numbers(self, port: Port, tensor: str) -> str:
        """Return the expression of the numbers in a tensor."""
        return f"numbers({tensor}.data)" if port.dtype == "float16" else f"{tensor}.data"


def axis_variable(name: str) -> int | str:
    """Return the variable that holds the size of an axis."""
    if name.isdecimal():
        return int(name)
    if name in (SEQUENCE, BATCH):
        return "steps" if name == SEQUENCE else name
    return f"{name}_" if name in _RESERVED else name


def key(name: str) -> str:
    """Return a name as the key of an object."""
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def member(of: str, name: str) -> str:
    """Return the expression of the member `name` of an object."""
    return f"{of}.{name}" if _IDENTIFIER.fullmatch(name) else f"{of}[{json.dumps(name)}]"


def golden(port: Port, what: str = "data") -> str:
    """Return the expression of a recorded array: its `data` or `dims`."""
    return f"{member('golden', port.name)}.{what}"


def new_tensor(port: Port, data: str, dims: str) -> str:
    """Return the expression of a tensor for `port`."""
    return f'new ort.Tensor("{port.dtype}", {data}, {dims})'


def product(factors: list[int | str]) -> str:
    """Return the product of factors, its numbers multiplied."""
    number = math.prod(f for f in factors if isinstance(f, int))
    names = [f for f in factors if isinstance(f, str)]
    return " * ".join([*[str(number)] * (number != 1 or not names), *names])
