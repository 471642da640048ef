"""The graph of one chunk while it is written: nodes, sizes, contexts, masks and the position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.time_axis import Dim, Frames, Streamed
from edgernn.export.ir.node_builder import NodeBuilder

__all__ = ["END", "ChunkBuilder", "Context", "ContextState", "NeedsHop", "SizeFactors"]

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


@dataclass(frozen=True)
class ContextState:
    """A state that the pass adds: a context, the position, a sum.

    Attributes:
        name: Its ports are `NAME_in` and `NAME_out`.
        initial: What it is before the first step, with 1 for the batch; None for zeros.
        limit: Of the position: the hops that a stream may have, for the tables that are looked up
            by it; None where there is no such table.
    """

    name: str
    initial: NDArray[Any] | None
    limit: int | None = None


@dataclass(frozen=True)
class Context:
    """The last frames of a value, kept as a state.

    Attributes:
        state: The input of the state.
        value: The value.
        whole: The value with the context in front.
        axis: Its time axis.
        size: The frames of the context.
        known: How many of its last frames are read before others come; what stands in those before
            does not matter.
    """

    state: ir.Value
    value: ir.Value
    whole: ir.Value
    axis: int
    size: int
    known: int


class ChunkBuilder:
    """Writes one chunk.

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
        self.states: list[ContextState] = []
        self.contexts: list[Context] = []
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
        new = self.nodes.op_multi_out(op_type, *inputs, names=unique, **attributes)  # type: ignore[arg-type]
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

    # States

    def add_state(
        self,
        name: str,
        shape: Sequence[int | str],
        dtype: ir.DataType,
        initial: NDArray[Any] | None,
    ) -> ir.Value:
        """Add an input for a state; `set_next` gives it its output."""
        name = self._state_name(name)
        port = ir.Value(name=f"{name}_in", shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.graph.inputs.append(port)
        if initial is not None and not np.any(initial):
            initial = None
        self.states.append(ContextState(name, initial))
        return port

    def set_next(self, state: ir.Value, value: ir.Value) -> None:
        """Make a value the next one of a state."""
        assert state.name is not None
        output = self.op("Identity", value, name="next")
        output.name = state.name.removesuffix("_in") + "_out"
        output.type, output.shape = state.type, state.shape
        self.graph.outputs.append(output)

    def _state_name(self, name: str) -> str:
        found, number = name, 1
        while {f"{found}_in", f"{found}_out"} & self._names:
            number += 1
            found = f"{name}_{number}"
        self._names |= {f"{found}_in", f"{found}_out"}
        return found

    # Slices

    def slice(self, value: ir.Value, axis: int, start: int, end: int | ir.Value = END) -> ir.Value:
        """Return a part of a value along one axis."""
        last = self.ints(end) if isinstance(end, int) else end
        return self.op(
            "Slice", value, self.ints(start), last, self.ints(axis), name=f"{value.name}_part"
        )

    # The position

    def position(self) -> ir.Value:
        """Return (batch,) int64: the hops before this call, of each sequence."""
        if "position" not in self._cache:
            shape = (BATCH if self._batch is not None else 1,)
            state = self.add_state("position", shape, ir.DataType.INT64, None)
            self.set_next(state, self.op("Add", state, self.hop_count(), name="position_next"))
            self._cache["position"] = state
        found: ir.Value = self._cache["position"]
        return found

    def limit_position(self, hops: int) -> None:
        """Limit the hops that a stream may have."""
        name = (self.position().name or "").removesuffix("_in")
        for index, state in enumerate(self.states):
            if state.name == name:
                limit = hops if state.limit is None else min(hops, state.limit)
                self.states[index] = replace(state, limit=limit)

    def frame_index(self, rate: Fraction, delay: int = 0) -> ir.Value:
        """Return (batch, frames) int64: which frame of the model's own each one is."""
        if ("index", rate, delay) in self._cache:
            found: ir.Value = self._cache["index", rate, delay]
            return found
        first, frames = self.position(), self.whole(rate)
        if frames > 1:
            first = self.op("Mul", first, self.ints(frames), name="frame")
        if delay:
            first = self.op("Sub", first, self.ints(delay), name="frame")
        first = self.op("Unsqueeze", first, self.ints(1), name="frame")
        count = self.frame_count(rate)
        if count != 1:
            first = self.op("Add", first, self.offsets(count), name="frames")
        self._cache["index", rate, delay] = first
        return first

    def offsets(self, count: int | ir.Value) -> ir.Value:
        """Return (frames,) int64, which count from 0."""
        if isinstance(count, int):
            return self.constant(np.arange(count), "offsets")
        if ("offsets", count) not in self._cache:
            scalar = self.op("Squeeze", count, self.ints(0), name="frames_count")
            zero, one = (self.constant(np.array(n, np.int64), "int") for n in (0, 1))
            self._cache["offsets", count] = self.op("Range", zero, scalar, one, name="offsets")
        found: ir.Value = self._cache["offsets", count]
        return found

    def undefined(self, rate: Fraction, delay: int) -> ir.Value:
        """Return (batch, frames) bool: which frames come before the model's own first one."""
        key = ("undefined", rate, delay)
        if key not in self._cache:
            index = self.frame_index(rate)
            self._cache[key] = self.op("Less", index, self.ints(delay), name="undefined")
        found: ir.Value = self._cache[key]
        return found

    # Contexts

    def extended(self, one: Streamed, size: int, name: str) -> ir.Value:
        """Return a value with its last `size` frames before this chunk in front, kept as a state.

        Args:
            one: A value whose time axis holds frames alone.
            size: At least 1.
            name: What the state is called, besides `_context`.
        """
        time = one.frames
        known = max(-time.delay, 0)
        if known and np.isnan(np.asarray(time.before, np.float64)).any():
            raise UnsupportedModelError(
                "its first steps are the last ones of the sequence, as `torch.roll` puts them"
            )
        fill = np.asarray(time.before) if known and np.any(time.before) else None
        key = ("context", one.value, size, known, None if fill is None else fill.tobytes())
        if key not in self._cache:
            dims = one.shape_of_frames(size)
            assert one.value.dtype is not None
            initial = initial_frames(fill, dims, time.axis, known)
            state = self.add_state(f"{name}_context", dims, one.value.dtype, initial)
            whole = self.op("Concat", state, one.value, name=f"{name}_window", axis=time.axis)
            whole.type = one.value.type
            self.set_next(state, self.slice(whole, time.axis, -size))
            self._cache[key] = whole
            self.contexts.append(Context(state, one.value, whole, time.axis, size, known))
        found: ir.Value = self._cache[key]
        return found

    def masked(self, one: Streamed, fill: NDArray[Any]) -> Streamed:
        """Return a value whose undefined frames are `fill`, which broadcasts to it."""
        time = one.frames
        assert one.value.dtype is not None
        mask = self.placed(self.undefined(time.rate, time.delay), one)
        number = self.constant(np.asarray(fill, one.value.dtype.numpy()), "fill")
        return one.with_value(
            self.op("Where", mask, number, one.value, name=f"{one.value.name}_defined")
        )

    def placed(self, flags: ir.Value, one: Streamed) -> ir.Value:
        """Return (batch, frames) with its axes where a value has them, 1 for the others.

        Raises:
            UnsupportedModelError: The value has no batch axis, or no axis of frames alone.
        """
        batch, axis, rank = one.batch_axis, one.frames.axis, len(one.dims)
        if batch < 0 or not one.holds_frames_alone:
            raise UnsupportedModelError("its first frames are not defined, and it has no batch")
        key = ("placed", flags, batch, axis, rank, one.dims[batch])
        if key not in self._cache:
            value = self.for_rows(flags, one.dims[batch])
            if batch > axis:
                value = self.op("Transpose", value, name="flags", perm=[1, 0])
            others = [index for index in range(rank) if index not in (batch, axis)]
            if others:
                value = self.op("Unsqueeze", value, self.ints(*others), name="flags")
            self._cache[key] = value
        found: ir.Value = self._cache[key]
        return found

    def for_rows(self, flags: ir.Value, dim: Dim) -> ir.Value:
        """Return (batch, frames) for each element of an axis that counts the batch.

        Raises:
            UnsupportedModelError: Which sequence its elements are of is not known.
        """
        if dim.factor == 1:
            return flags
        if not dim.within:
            raise UnsupportedModelError("its batch and another axis could not be told apart")
        key = ("rows", flags, dim)
        if key not in self._cache:
            spread = self.op("Unsqueeze", flags, self.ints(0, 2), name="flags")
            sizes = self.ints(dim.factor // dim.within, 1, dim.within, 1)
            spread = self.op("Expand", spread, sizes, name="flags")
            frames = self.op("Shape", flags, name="flags_size", start=1, end=2)
            shape = self.op("Concat", self.ints(-1), frames, name="flags_size", axis=0)
            self._cache[key] = self.op("Reshape", spread, shape, name="flags")
        found: ir.Value = self._cache[key]
        return found


_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice")
"""What is written once for the same inputs, so that contexts of the results are shared."""


def _key(
    op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    """Return what equal moves have in common; None for other nodes."""
    if op_type not in _MOVES:
        return None
    options = sorted((name, str(value)) for name, value in attributes.items())
    return ("move", op_type, *inputs, *options)


def initial_frames(
    fill: NDArray[Any] | None, dims: Sequence[int | str], axis: int, known: int
) -> NDArray[Any] | None:
    """Return a context before the first step, with 1 for the batch; None for zeros.

    Its last `known` frames are `fill`, which may be one frame for all; those before are not read.
    """
    if fill is None or not np.any(fill):
        return None
    shape = tuple(1 if isinstance(size, str) else size for size in dims)
    if fill.ndim == 0 or fill.shape[axis] == 1:
        return np.array(np.broadcast_to(fill, shape))
    initial = np.zeros(shape, fill.dtype)
    place: list[slice] = [slice(None)] * len(shape)
    size = min(known, shape[axis])
    place[axis] = slice(shape[axis] - size, None)
    last: list[slice] = [slice(None)] * len(shape)
    last[axis] = slice(fill.shape[axis] - size, None)
    initial[tuple(place)] = fill[tuple(last)]
    return initial
