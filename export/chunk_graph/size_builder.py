"""Nodes and sizes of the graph of one chunk: how many hops, frames and sequences a call has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.chunk_graph.time_axis import Frames
from edgernn.export.ir.node_builder import NodeBuilder

__all__ = ["END", "NeedsHop", "SizeBuilder", "SizeFactors"]

SizeFactors = tuple[int, bool, Fraction | None]
"""A size: a factor, whether it counts the batch besides, and the rate of the frames that it counts,
or None."""

END = np.iinfo(np.int64).max
"""The end of a slice that goes up to the last element."""


class NeedsHop(Exception):
    """A frame needs more steps than one hop has: the pass starts again with a longer one."""

    def __init__(self, hop: int) -> None:
        super().__init__(hop)
        self.hop = hop


class SizeBuilder:
    """Adds nodes, constants and sizes to the graph of one chunk.

    Args:
        graph: The graph that nodes are added to; it has its inputs.
        hop: The steps of the input that make one hop.
        hops: The hops of one call; None for any number.
        source: A data input with time, and its time axis: what the number of hops is read from.
        batch: An input with the batch, and its axis.
    """

    def __init__(
        self,
        graph: ir.Graph,
        hop: int,
        hops: int | None,
        source: tuple[ir.Value, int],
        batch: tuple[ir.Value, int] | None,
    ) -> None:
        self.graph = graph
        self.hop = hop
        self.hops = hops
        self._source = source
        self._batch = batch
        self.nodes = NodeBuilder(graph)
        self._names: set[str] = {value.name or "" for value in graph.inputs}
        self._cache: dict[Any, Any] = {}

    # Nodes and constants

    def op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        """Add a node with one output."""
        return self.ops(op_type, *inputs, names=(name,), **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, names: Sequence[str], **attributes: Any
    ) -> Sequence[ir.Value]:
        """Add a node with an output for each name; names are made unique."""
        key = _key(op_type, inputs, attributes) if len(names) == 1 else None
        if key in self._cache:
            return [self._cache[key]]
        unique = [self.unique(name) for name in names]
        new = self.nodes.op_multi_out(op_type, *inputs, names=unique, **attributes)
        if key is not None:
            self._cache[key] = new[0]
        return new

    def copy(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], **attributes: Any
    ) -> list[ir.Value]:
        """Add a node like another one, with other inputs and some other attributes."""
        kept = {one.name: one for one in node.attributes.values() if one.name not in attributes}
        given = {k: v for k, v in attributes.items() if v is not None}
        attrs = [*kept.values(), *ir.convenience.convert_attributes(given)]
        key = None if node.domain else _key(node.op_type, inputs, {a.name: a.value for a in attrs})
        if key in self._cache:
            return [self._cache[key]]
        outputs = [ir.Value(name=self.unique(old.name) if old.name else "") for old in node.outputs]
        new = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            attrs,
            outputs=outputs,
            name=node.name,
            metadata_props=dict(node.metadata_props),
        )
        self.graph.append(new)
        if key is not None:
            self._cache[key] = outputs[0]
        return outputs

    def unique(self, name: str) -> str:
        """Return a name that no value has."""
        found, number = name, 1
        while found in self._names:
            found, number = f"{name}_{number}", number + 1
        self._names.add(found)
        return found

    def constant(self, array: NDArray[Any], name: str) -> ir.Value:
        """Return a constant; equal integers are shared."""
        array = np.asarray(array)
        if array.dtype != np.int64 or array.size > 8:
            return self.nodes.constant(self.unique(name), array)
        key = ("constant", array.shape, array.tobytes())
        if key not in self._cache:
            self._cache[key] = self.nodes.constant(self.unique("int"), array)
        found: ir.Value = self._cache[key]
        return found

    def ints(self, *numbers: int) -> ir.Value:
        """Return a constant vector of int64."""
        return self.constant(np.array(numbers, np.int64), "ints")

    def floats(self, *numbers: float) -> ir.Value:
        """Return a constant vector of float32."""
        return self.constant(np.array(numbers, np.float32), "floats")

    # Sizes

    def frames_per_hop(self, time: Frames) -> int:
        """Return how many frames one hop gives.

        Raises:
            NeedsHop: It is no whole number.
        """
        return self.whole(time.rate)

    def whole(self, rate: Fraction) -> int:
        """Return how many frames one hop gives at a rate."""
        frames = rate * self.hop
        if frames.denominator != 1:
            raise NeedsHop(self.hop * frames.denominator)
        return int(frames)

    def hop_count(self) -> ir.Value:
        """Return (1,) int64: the hops of this call."""
        if "hops" not in self._cache:
            value, axis = self._source
            if self.hops is not None:
                count = self.ints(self.hops)
            else:
                count = self.op("Shape", value, name="chunk_steps", start=axis, end=axis + 1)
                if self.hop > 1:
                    count = self.op("Div", count, self.ints(self.hop), name="chunk_hops")
            self._cache["hops"] = count
        found: ir.Value = self._cache["hops"]
        return found

    def frame_count(self, rate: Fraction) -> int | ir.Value:
        """Return how many frames of a rate this call gives: a number, or (1,) int64."""
        frames = self.whole(rate)
        if self.hops is not None:
            return self.hops * frames
        if ("frames", frames) not in self._cache:
            count = self.hop_count()
            if frames > 1:
                count = self.op("Mul", count, self.ints(frames), name="chunk_frames")
            self._cache["frames", frames] = count
        found: ir.Value = self._cache["frames", frames]
        return found

    def batch_size(self) -> ir.Value:
        """Return (1,) int64: the sequences of this call."""
        if "batch" not in self._cache:
            if self._batch is None:
                self._cache["batch"] = self.ints(1)
            else:
                value, axis = self._batch
                size = self.op("Shape", value, name="chunk_batch", start=axis, end=axis + 1)
                self._cache["batch"] = size
        found: ir.Value = self._cache["batch"]
        return found

    def size_vector(self, dims: Sequence[SizeFactors]) -> ir.Value:
        """Return a shape as int64.

        Args:
            dims: Each a factor, whether it counts the batch besides, and the rate of the frames
                that it counts, or None.
        """
        numbers: list[int | ir.Value] = []
        for factor, batch, rate in dims:
            size: int | ir.Value = factor
            if rate is not None:
                size = self._product(self.frame_count(rate), size)
            if batch:
                size = self._product(self.batch_size(), size)
            numbers.append(size)
        if all(isinstance(size, int) for size in numbers):
            return self.ints(*(size for size in numbers if isinstance(size, int)))
        parts = [self.ints(size) if isinstance(size, int) else size for size in numbers]
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, name="shape", axis=0)

    def reshaped(self, value: ir.Value, dims: Sequence[SizeFactors], name: str) -> ir.Value:
        """Return a value in another shape, given as for `size_vector`."""
        open_ones = [
            index
            for index, (_, batch, rate) in enumerate(dims)
            if batch or (rate is not None and self.hops is None)
        ]
        if len(open_ones) > 1:
            return self.op("Reshape", value, self.size_vector(dims), name=name)
        sizes = [
            -1
            if index in open_ones
            else factor * (1 if rate is None else self.whole(rate) * (self.hops or 1))
            for index, (factor, _, rate) in enumerate(dims)
        ]
        return self.op("Reshape", value, self.ints(*sizes), name=name)

    def _product(self, size: int | ir.Value, factor: int | ir.Value) -> int | ir.Value:
        if isinstance(size, int) and isinstance(factor, int):
            return size * factor
        if factor == 1 or size == 1:
            return size if factor == 1 else factor
        first, second = (self.ints(one) if isinstance(one, int) else one for one in (size, factor))
        key = ("product", first, second)
        if key not in self._cache:
            self._cache[key] = self.op("Mul", first, second, name="size")
        found: ir.Value = self._cache[key]
        return found

    # Slices

    def slice(self, value: ir.Value, axis: int, start: int, end: int | ir.Value = END) -> ir.Value:
        """Return a part of a value along one axis."""
        last = self.ints(end) if isinstance(end, int) else end
        return self.op(
            "Slice", value, self.ints(start), last, self.ints(axis), name=f"{value.name}_part"
        )


def _key(
    op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    """Return what equal moves have in common; None for other nodes."""
    if op_type not in _MOVES:
        return None
    options = sorted((name, str(value)) for name, value in attributes.items())
    return ("move", op_type, *inputs, *options)


_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice")
"""What is written once for the same inputs, so that contexts of the results are shared."""
