"""What the outputs of a run are: their axes, and the names of their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgernn.contract import Contract
from edgernn.runtime.generation.text_ports import scores_output
from edgernn.runtime.port_axes import PortAxes, output_axes

__all__ = ["OutputLayout"]


@dataclass(frozen=True)
class OutputLayout:
    """What the outputs of a run are.

    Attributes:
        axes: The data outputs of the model.
        batched: Whether to keep a batch axis of size 1.
        steps: Output → at most how many steps are to come, if known: a .npy or .npz then grows on
            disk.
        scores: The output that has one score for each symbol; None where there is none.
        symbols: The symbols of the model's vocabulary.
        header: Whether rows on standard output have names above them, as a file always has.
        names: Output → the names of its features, where they have names of their own.
        rates: Output → the number of its steps per second, where that is known.
    """

    axes: Mapping[str, PortAxes]
    batched: bool
    steps: Mapping[str, int] | None = None
    scores: str | None = None
    symbols: Sequence[str] = ()
    header: bool = False
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, contract: Contract, batched: bool, steps: int | None = None, header: bool = False
    ) -> OutputLayout:
        """Return the layout of all outputs of a model.

        Args:
            contract: The contract of the model.
            batched: Whether to keep a batch axis of size 1.
            steps: The number of steps of the input to come; None if unknown.
            header: Whether rows on standard output have names above them.
        """
        symbols = contract.vocabulary.symbols if contract.vocabulary else ()
        most = None if steps is None else _most_steps(contract, steps)
        return cls(output_axes(contract), batched, most, scores_output(contract), symbols, header)

    def column_names(self, port: str, count: int) -> list[str]:
        """Return the names of the features of an output: `output_0`, or `output[a]` of a score."""
        if len(names := self.names.get(port, ())) == count:
            return list(names)
        name = f"output_{port}" if port[:1].isdigit() else port  # no name reads as a number
        if port == self.scores and len(self.symbols) == count:
            return [f"{name}[{_printable(symbol)}]" for symbol in self.symbols]
        return [name] if count == 1 else [f"{name}_{index}" for index in range(count)]


def _most_steps(contract: Contract, steps: int) -> dict[str, int]:
    """Return output → at most how many of its steps come for so many steps of the input."""
    hops = -(-steps // contract.hop) + (1 if contract.in_hops else 0)  # a rest of the state
    return {
        name: contract.steps_per_hop(name) * hops + contract.tails.get(name, 0)
        for name in output_axes(contract)
    }


def _printable(symbol: str) -> str:
    return symbol if symbol.isprintable() else ascii(symbol)[1:-1]
