"""The graph of one chunk while it is written: states, the position, contexts and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.size_builder import SizeBuilder
from edgernn.export.chunk_graph.time_axis import Dim, Streamed

__all__ = ["ChunkBuilder", "Context", "ContextState"]


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


class ChunkBuilder(SizeBuilder):
    """Writes one chunk; its arguments are those of `SizeBuilder`.

    Attributes:
        states: The states that were added.
        contexts: Those of them that are contexts.
        repeats_layers: Whether a layer runs several frames in one hop.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.states: list[ContextState] = []
        self.contexts: list[Context] = []
        self.repeats_layers = False

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
