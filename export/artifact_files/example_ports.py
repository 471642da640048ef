"""What the examples of a model card feed to the graphs of one artifact."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Contract, Port

__all__ = ["ExamplePorts", "variable"]

_STEPS = 5
_OTHER_AXIS = 4
_MARKER = re.compile(r"<.+>|\[.+\]")


@dataclass(frozen=True)
class ExamplePorts:
    """The ports that an example uses, and the sizes of what it feeds them.

    Attributes:
        contract: What the graphs promise.
    """

    contract: Contract

    @property
    def kind(self) -> str:
        """The graph that a host runs: `step` where there is a step graph."""
        return "step" if self.contract.step and self.contract.carry else "sequence"

    @property
    def has_learned_states(self) -> bool:
        """Whether a state starts from learned values."""
        return any(state.initial is not None for state in self.contract.states)

    @property
    def steps(self) -> int:
        """How many steps a call of the sequence graph is given where it takes any number.

        In hops they are as many as give some defined steps of every output.
        """
        contract = self.contract
        return contract.within(SEQUENCE, contract.hop * (self.undefined_hops + _STEPS))

    @property
    def undefined_hops(self) -> int:
        """How many first hops of a new sequence give an output with undefined steps."""
        contract = self.contract
        hops = (
            -(-count // contract.steps_per_hop(name)) for name, count in contract.delays.items()
        )
        return max(hops, default=0)

    def sizes(self, port: Port) -> tuple[int, ...]:
        """Return the shape of `port` for one sequence of five steps, as far as bounds allow."""
        symbols = {BATCH: self.contract.within(BATCH, 1), SEQUENCE: self.steps}
        sizes = ((size, evaluate_size(size, symbols)) for size in port.shape)
        return tuple(self.other_size(str(size)) if n is None else n for size, n in sizes)

    def filler(self, port: Port) -> int:
        """Return what fills the input of an example: 1 for masks and counts, 0 for others."""
        given = port.origin is not None and port.limit is None
        return int(given and not port.dtype.startswith("float"))

    def text_input(self, kind: str) -> Port | None:
        """Return the only data input of graph `kind`, where it takes the ids of any text."""
        contract = self.contract
        data = [port for port in contract.data_inputs(kind) if port.name not in contract.lengths]
        if contract.vocabulary is None or len(data) != 1 or np.dtype(data[0].dtype).kind != "i":
            return None
        of_any_length = kind == "step" or SEQUENCE in data[0].shape
        one_each = self._features(data[0]) == 1 and contract.constants.get(BATCH, 1) == 1
        return data[0] if of_any_length and one_each else None

    def scores(self, kind: str) -> Port | None:
        """Return the only output of graph `kind` with a score for each symbol of each step."""
        symbols = len(self.contract.vocabulary or ())
        found = [
            port
            for port in self.contract.data_outputs(kind)
            if np.dtype(port.dtype).kind == "f"
            and port.shape[-1:] == (symbols,)
            and (SEQUENCE in port.shape or kind == "step")
            and self._features(port) == symbols
        ]
        return found[0] if len(found) == 1 else None

    def other_size(self, axis: str) -> int:
        """Return a size for a dynamic axis that is neither the batch nor the steps."""
        return self.contract.within(axis, _OTHER_AXIS)

    @cached_property
    def text_ids(self) -> list[int]:
        """The ids of a short text: the first printable symbols, without such as `<pad>`."""
        vocabulary = self.contract.vocabulary
        if vocabulary is None:
            return []
        special = (vocabulary.unknown, vocabulary.padding)
        ordinary = [id_ for id_ in range(len(vocabulary)) if id_ not in special]
        shown = [id_ for id_ in ordinary if vocabulary.symbols[id_].isprintable()]
        plain = [id_ for id_ in shown if not _MARKER.fullmatch(vocabulary.symbols[id_])]
        return (plain or shown or ordinary)[: self.steps]

    def _features(self, port: Port) -> int:
        """Return how many elements one step of the smallest batch has; 0 where that varies."""
        symbols = {BATCH: 1, SEQUENCE: 1}
        return math.prod(evaluate_size(size, symbols) or 0 for size in port.shape)


def variable(port: Port, reserved: Collection[str]) -> str:
    """Return a variable of Python called like `port` that is none of `reserved`."""
    name = re.sub(r"\W", "_", port.name)
    if name[:1].isdecimal():
        name = f"_{name}"
    return f"{name}_" if name in reserved else name
