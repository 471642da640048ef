"""A run in parts, each from the state that the last one left, compared piece by piece."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import SEQUENCE, Contract, Port
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_runs import Arrays, Run, batch_of, features_of
from edgernn.join_chunks import join_chunks

__all__ = ["Chunks"]

_PIECE = 64
"""How many steps are compared at once."""


@dataclass(frozen=True)
class Chunks:
    """How sequences are cut.

    Attributes:
        contract: A contract with a sequence graph, whose ports the data has.
        lengths: The number of steps of each part.
        stepwise: Whether a run takes single steps without the sequence axis.
        length_ports: Names of the inputs that hold lengths; each part is as long as it is.
    """

    contract: Contract
    lengths: Sequence[int]
    stepwise: bool = False
    length_ports: Collection[str] = ()

    def compare(
        self, run: Run, data: Arrays, states: Arrays, expected: tuple[Arrays, Arrays]
    ) -> Comparison:
        """Run every part and compare it at once, so that no second copy of all outputs is kept.

        Args:
            run: What to run.
            data: Data by port name.
            states: The states to start from, by name.
            expected: Outputs and final states of the whole run.
        """
        comparison = Comparison(features_of(self.contract))
        batch, left = batch_of(self.contract, data), [Arrays(), states]
        ports = [
            port for port in self.contract.data_outputs("sequence") if port.name in expected[0]
        ]
        along = {port.name: axis for port in ports if (axis := port.axis(SEQUENCE)) is not None}
        flat = [port.name for port in ports if port.name not in along and _grows(port)]
        piece: list[Arrays] = []
        kept: list[Arrays] = []
        start = 0
        for end, *left in self._runs(run, data, states):
            piece.append({name: left[0][name] for name in along})
            kept.append({name: left[0][name] for name in flat})
            if end - start >= _PIECE or end == sum(self.lengths):
                wanted = {
                    name: expected[0][name].take(range(start, end), axis)
                    for name, axis in along.items()
                }
                comparison.add(self._join(piece, batch), wanted)
                piece, start = [], end
        outputs, finals = left
        comparison.add({**outputs, **self._join(kept, batch)}, _without(expected[0], along))
        comparison.add(finals, expected[1])
        return comparison

    def _runs(self, run: Run, data: Arrays, states: Arrays) -> Iterator[tuple[int, Arrays, Arrays]]:
        """Yield for each part the step at which it ends, its outputs and the states it leaves."""
        axes = {port.name: port.axis(SEQUENCE) for port in self.contract.data_inputs("sequence")}
        place = 0
        for length in self.lengths:
            span = place if self.stepwise else range(place, place + length)
            part = {
                name: array if (axis := axes[name]) is None else array.take(span, axis)
                for name, array in data.items()
            }
            for name in self.length_ports:
                part[name] = np.full_like(data[name], length)
            outputs, states = run(part, states)
            place += length
            yield place, outputs, states

    def _join(self, parts: Sequence[Arrays], batch: int) -> Arrays:
        ports = self.contract.data_outputs("sequence")
        return {
            port.name: join_chunks(port, [part[port.name] for part in parts], batch, self.stepwise)
            for port in ports
            if port.name in parts[0]
        }


def _grows(port: Port) -> bool:
    """Return whether an output has an axis that counts its steps together with something else."""
    return any(SEQUENCE in (name or "") for name in port.axes)


def _without(arrays: Arrays, names: Collection[str]) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}
