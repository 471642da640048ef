"""A run in chunks, each from the final state of the one before, compared with a whole run.

whole      x[0:9] → y[0:9]
chunks     x[0:4] → y[0:4], state → x[4:9] → y[4:9]     compared as they come
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import SEQUENCE, Contract, Port
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_function import GraphFunction, batch_of, feature_ports
from edgernn.export.proof.reference import RunResult
from edgernn.join_chunks import join_chunks

__all__ = ["ChunkedComparison"]

_BLOCK = 64
"""The least number of steps that are joined and compared together."""


@dataclass(frozen=True)
class ChunkedComparison:
    """How a run is divided into chunks.

    Attributes:
        contract: A contract with a sequence graph, whose ports the data has.
        lengths: The number of steps of each chunk.
        stepwise: Whether the chunks are single steps without the sequence axis.
        length_ports: Names of the inputs that hold lengths; each chunk is as long as it is.
    """

    contract: Contract
    lengths: Sequence[int]
    stepwise: bool = False
    length_ports: Collection[str] = ()

    def compare(
        self, run: GraphFunction, data: Arrays, states: Arrays, expected: RunResult
    ) -> Comparison:
        """Run the chunks and compare blocks of them, without a second copy of all outputs."""
        comparison = Comparison(feature_ports(self.contract))
        batch = batch_of(self.contract, data)
        ports = [p for p in self.contract.data_outputs("sequence") if p.name in expected.outputs]
        axes = {port.name: axis for port in ports if (axis := port.axis(SEQUENCE)) is not None}
        merged = [port.name for port in ports if port.name not in axes and _is_merged(port)]
        block: list[Arrays] = []
        merged_chunks: list[Arrays] = []
        start = 0
        last = RunResult({}, states)
        for end, last in self._run_chunks(run, data, states):
            block.append({name: last.outputs[name] for name in axes})
            merged_chunks.append({name: last.outputs[name] for name in merged})
            if end - start >= _BLOCK or end == sum(self.lengths):
                span = range(start, end)
                part = {
                    name: expected.outputs[name].take(span, axis) for name, axis in axes.items()
                }
                comparison.add(self._join(block, batch), part)
                block, start = [], end
        others = {name: array for name, array in expected.outputs.items() if name not in axes}
        comparison.add({**last.outputs, **self._join(merged_chunks, batch)}, others)
        comparison.add(last.states, expected.states)
        return comparison

    def _run_chunks(
        self, run: GraphFunction, data: Arrays, states: Arrays
    ) -> Iterator[tuple[int, RunResult]]:
        """Yield the result of each chunk, with the step at which it ends."""
        axes = {port.name: port.axis(SEQUENCE) for port in self.contract.data_inputs("sequence")}
        start = 0
        for length in self.lengths:
            span = start if self.stepwise else range(start, start + length)
            chunk = {
                name: array if (axis := axes[name]) is None else array.take(span, axis)
                for name, array in data.items()
            }
            chunk |= {name: np.full_like(data[name], length) for name in self.length_ports}
            result = run(chunk, states)
            states = result.states
            start += length
            yield start, result

    def _join(self, chunks: Sequence[Arrays], batch: int) -> Arrays:
        """Return the outputs that the chunks have, joined."""
        ports = self.contract.data_outputs("sequence")
        return {
            port.name: join_chunks(port, [c[port.name] for c in chunks], batch, self.stepwise)
            for port in ports
            if port.name in chunks[0]
        }


def _is_merged(port: Port) -> bool:
    """Return whether an axis of an output counts its steps together with something else."""
    return any(SEQUENCE in (name or "") for name in port.axes)
