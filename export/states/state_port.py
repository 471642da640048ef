"""One state of a model as a pair of ports, and what is said and refused about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.states.folded_batch import FoldedBatch
from edgernn.option_names import option

__all__ = ["StatePort", "check_state_axes", "pairing_notes"]


@dataclass(frozen=True)
class StatePort:
    """One state of the model and where torch keeps it.

    Attributes:
        name: The contract's name, such as `h`.
        argument: The path of the argument that forward takes it from, or None.
        result: The path in forward's result that holds its next value, or None.
        call: The recurrent call that takes it, or None for a hand-written recurrence.
        last_call: The recurrent call that leaves its next value, likewise.
        index: 0 for h, 1 for c.
        initial: The value that forward starts from with 1 for the batch axis; None for zeros.
        any_value: Whether it may have any value, as h and c of a layer may. What else a model
            remembers, such as a running power, has values that it never takes.
        memory: Whether the argument is memory that forward keeps on the module.
        context: Whether it is what the graphs keep of past steps, where forward takes a whole
            sequence: past inputs of a convolution, a position, a sum. Forward has neither an
            argument nor a result for it, and every sequence starts from `initial`.
        folded: How torch folds several rows of each sequence into one axis, or None. The port and
            `initial` have the batch as an axis of its own.
        limit: Of a context that counts hops: the most that a stream may have, for the tables that
            are looked up by it; None where it has none.
        evidence: Why the result was paired with the argument, if by a guess; None if the user named
            the pair or a recurrent call shows it.
    """

    name: str
    argument: str | None
    result: str | None
    call: int | None
    last_call: int | None
    index: int = 0
    initial: NDArray[Any] | None = None
    any_value: bool = False
    evidence: str | None = None
    memory: bool = False
    context: bool = False
    folded: FoldedBatch | None = None
    limit: int | None = None

    @property
    def input(self) -> str:
        """The name of the input port."""
        return f"{self.name}_in"

    @property
    def output(self) -> str:
        """The name of the output port."""
        return f"{self.name}_out"

    def to_torch(self, value: NDArray[Any]) -> NDArray[Any]:
        """Return a value of the port in the shape that torch has for the state."""
        return value if self.folded is None else self.folded.fold(value)

    def to_port(self, value: NDArray[Any]) -> NDArray[Any]:
        """Return a value in torch's shape in the shape of the port."""
        return value if self.folded is None else self.folded.unfold(value)


def pairing_notes(states: Sequence[StatePort]) -> Iterator[str]:
    """Yield a note on every state that was recognised without a recurrent layer."""
    for state in states:
        if state.evidence is not None:
            yield (
                f"`{state.argument}` is a state whose next value is "
                f"{_next_value(state)}: {state.evidence}. Where that is wrong, name the states: "
                f"{option('states', {'INPUT': 'OUTPUT'})}."
            )


def _next_value(state: StatePort) -> str:
    if state.result == state.argument:
        return "what it holds after the call"
    return f"`{state.result}` of the result" if state.result else "the result"


def check_state_axes(graph: ir.Graph, states: Sequence[StatePort], owner: str = "") -> None:
    """Raise UnsupportedModelError where a state has a dynamic axis besides the batch."""
    names = {state.input for state in states}
    for port in graph.inputs:
        sizes = dict.fromkeys(str(size) for size in port.shape or () if not isinstance(size, int))
        others = [f"`{size}`" for size in sizes if size != BATCH]
        if port.name in names and others:
            raise UnsupportedModelError(
                f"State `{port.name}`{owner} grows with {' and '.join(others)}; of its axes only "
                "the batch may be dynamic. Give the others as numbers, such as "
                f"{option('inputs', ['x:float32[batch,3,64,64]'])}."
            )
