"""The calls of a model's graphs that run a chunk of any number of steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.runtime.check_inputs import format_steps
from edgernn.runtime.port_axes import input_axes, output_axes

__all__ = ["ChunkCalls", "GraphCall"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GraphCall:
    """One call of a graph.

    Attributes:
        kind: `sequence` or `step`.
        start: The first of its steps.
        stop: The step after its last.
    """

    kind: str
    start: int
    stop: int


class ChunkCalls:
    """The division of chunks into calls, for one model.

    A sequence graph that takes any number of steps runs a chunk in one call. One that takes a
    constant number of steps runs as many full calls as fit, and the step graph runs the rest. One
    that takes up to a number of steps runs a longer chunk in calls of nearly equal size. A chunk of
    a model for which a call is a chunk is one call. Every call takes whole hops.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._inputs = input_axes(contract)
        self._outputs = output_axes(contract)
        self.size = contract.constants.get(SEQUENCE) if contract.sequence else None

    def calls(self, steps: int) -> list[GraphCall]:
        """Return the calls that run `steps` steps, which are whole hops, in order.

        Raises:
            InputError: Steps remain after the last full call, and there is no step graph.
        """
        hop = self._contract.hop
        if self._contract.sequence is None:
            return [GraphCall("step", t, t + hop) for t in range(0, steps, hop)]
        most = self._contract.most.get(SEQUENCE)
        if self.size is None and most is not None and self._contract.divisible:
            hops = steps // hop
            count = -(-hops // max(most // hop, 1))
            ends = [hops * place // count * hop for place in range(count + 1)]
            return [GraphCall("sequence", *pair) for pair in itertools.pairwise(ends)]
        size = self.size or steps
        in_full_calls = steps - steps % size
        if in_full_calls < steps and self._contract.step is None:
            raise InputError(
                f"The chunk has {format_steps(steps)}, but the sequence graph takes {size} at a "
                f"time, and there is no step graph for the rest. Feed a multiple of {size} steps, "
                f"or export the model without a constant `{SEQUENCE}`."
            )
        blocks = [
            GraphCall("sequence", start, start + size) for start in range(0, in_full_calls, size)
        ]
        return blocks + [GraphCall("step", t, t + hop) for t in range(in_full_calls, steps, hop)]

    def check_lengths(self, arrays: Arrays, steps: int) -> None:
        """Check that no sequence ends within a chunk that is run in several calls.

        Raises:
            InputError: One does.
        """
        size = self.size or self._contract.most.get(SEQUENCE)
        for name in self._contract.lengths:
            if name in arrays and (arrays[name] != steps).any():
                raise InputError(
                    f"`{name}` ends sequences within a chunk of {format_steps(steps)}, which is "
                    f"run in parts of {size}. Feed {size} steps at a time."
                )

    def inputs(self, arrays: Arrays, call: GraphCall) -> dict[str, NDArray[Any]]:
        """Return the part of a chunk's inputs that a call takes."""
        ports = {port.name: port for port in self._contract.data_inputs(call.kind)}
        part: dict[str, NDArray[Any]] = {}
        for name in ports.keys() & arrays.keys():
            axis = self._inputs[name]
            array = axis.slice_steps(arrays[name], call.start, call.stop)
            array = axis.to_step(array) if call.kind == "step" else array
            part[name] = np.ascontiguousarray(array).reshape(array.shape)
        for name in self._contract.lengths:
            if name in part:
                part[name] = np.full_like(part[name], call.stop - call.start)
        return part

    def join(
        self, calls: Sequence[GraphCall], outputs: Sequence[Arrays], batch: int
    ) -> dict[str, NDArray[Any]]:
        """Join the outputs of the calls to those of the chunk."""
        parts = [
            {name: self._outputs[name].from_step(array) for name, array in one.items()}
            if call.kind == "step"
            else one
            for call, one in zip(calls, outputs, strict=True)
        ]
        return {
            name: axis.join_chunks([part[name] for part in parts], batch)
            for name, axis in self._outputs.items()
        }
