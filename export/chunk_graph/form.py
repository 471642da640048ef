"""A sequence graph while it is written for one chunk: what rules ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder
from edgernn.export.chunk_graph.concrete_sizes import ConcreteSizes
from edgernn.export.chunk_graph.size_builder import SizeFactors
from edgernn.export.chunk_graph.time_axis import Dim, Frames, Size, Streamed
from edgernn.export.ir.node_builder import constant_of

__all__ = ["Form", "ReadsStepsError"]


class ReadsStepsError(UnsupportedModelError):
    """When a number is needed that follows from the number of steps of the whole sequence."""


class Form:
    """What has been written so far, and what is known of the old graph.

    Args:
        builder: The new graph.
        sizes: The old graph's values at several sizes.

    Attributes:
        written: What each value of the old graph is in the new one.
        refused: Why a value could not be written: raised where another node needs its numbers,
            not where it needs their shape alone.
    """

    def __init__(self, builder: ChunkBuilder, sizes: ConcreteSizes) -> None:
        self.builder = builder
        self.sizes = sizes
        self.written: dict[ir.Value, Streamed | Size] = {}
        self.refused: dict[ir.Value, UnsupportedModelError] = {}

    # What is known of the old graph's values

    def of(self, old: ir.Value | None) -> Streamed | Size:
        """Return what a value is in the new graph.

        Raises:
            UnsupportedModelError: It could not be written.
        """
        assert old is not None
        if old in self.refused:
            raise self.refused[old]
        if old not in self.written:
            array = constant_of(old)
            if array is None:
                raise UnsupportedModelError(f"`{old.name}` is not known")
            value = self.builder.constant(array, old.name or "constant")
            value.type, value.shape = old.type, old.shape
            self.written[old] = Streamed(value)
        return self.written[old]

    def streamed(self, old: ir.Value | None) -> Streamed:
        """Return what stands for a value; a size is written as one.

        Raises:
            UnsupportedModelError: It is a size that depends on the number of steps.
        """
        found = self.of(old)
        return found if isinstance(found, Streamed) else Streamed(self._written_size(old))

    def constant(self, old: ir.Value | None) -> NDArray[Any] | None:
        """Return a value that is the same in every call, whatever its sizes."""
        array = constant_of(old)
        if array is not None or old is None:
            return array
        if isinstance(self.written.get(old), Size):
            arrays = self.sizes.numbers(old.name or "")
            if arrays and all(np.array_equal(arrays[0], other) for other in arrays[1:]):
                return arrays[0]
        return None

    def numbers(self, old: ir.Value | None) -> tuple[NDArray[Any], ...] | None:
        """Return the numbers of a constant or a size in each run, or None for data."""
        array = constant_of(old)
        if array is not None:
            return (array,) * len(self.sizes.runs)
        if old is not None and isinstance(self.of(old), Size):
            return self.sizes.numbers(old.name or "")
        return None

    def counted(self, old: ir.Value | None) -> tuple[NDArray[Any], ...] | None:
        """Return numbers that follow from sizes alone, as indices do, in each run, or None."""
        array = constant_of(old)
        if array is not None or old is None:
            return None if array is None else (array,) * len(self.sizes.runs)
        return self.sizes.fixed_numbers(old.name or "")

    def shapes(self, old: ir.Value | None) -> tuple[tuple[int, ...], ...]:
        """Return the shape of a value of the old graph in each run."""
        assert old is not None
        array = constant_of(old)
        if array is not None:
            return (array.shape,) * len(self.sizes.runs)
        return self.sizes.shapes(old.name or "")

    def rank(self, old: ir.Value | None) -> int:
        """Return the number of axes of a value."""
        return len(self.shapes(old)[0])

    def dims(self, old: ir.Value | None, time: Frames | None) -> tuple[Dim, ...]:
        """Return the sizes of a value, without frames, in terms of the batch.

        Raises:
            UnsupportedModelError: A size depends on the number of steps in another way.
        """
        found = []
        for axis, sizes in enumerate(zip(*self.shapes(old), strict=True)):
            if time is not None and axis == time.axis:
                lengths = [time.length(run.sizes.steps) for run in self.sizes.runs]
                rests = [Fraction(a) / b if b else 0 for a, b in zip(sizes, lengths, strict=True)]
                if any(Fraction(one).denominator != 1 for one in rests):
                    raise self.lost(old)
                sizes = tuple(int(one) for one in rests)
            if time is not None and time.keys is not None and axis == time.keys.axis:
                sizes = (1,) * len(sizes)
            found.append(self._dim(old, sizes))
        return tuple(found)

    def vector(self, dims: Sequence[Dim], time: Frames | None) -> list[SizeFactors]:
        """Return sizes as the builder takes them, with the frames of one call."""
        return [
            (
                dim.factor,
                dim.batch or (time is not None and index == time.axis and time.rows),
                time.rate if time is not None and index == time.axis else None,
            )
            for index, dim in enumerate(dims)
        ]

    @staticmethod
    def lost(old: ir.Value | None) -> UnsupportedModelError:
        """Return the refusal of a value whose time was lost."""
        name = "" if old is None else f" of `{old.name}`"
        return UnsupportedModelError(f"the steps{name} could not be followed")

    def _dim(self, old: ir.Value | None, sizes: Sequence[int]) -> Dim:
        if len(set(sizes)) == 1:
            return Dim(sizes[0])
        factor = self.sizes.is_batch(sizes)
        if factor:
            return Dim(factor, True, within=1 if factor == 1 else 0)
        raise self.lost(old)

    def _written_size(self, old: ir.Value | None) -> ir.Value:
        assert old is not None
        arrays = self.sizes.numbers(old.name or "")
        if arrays is None or len({array.shape for array in arrays}) != 1:
            raise self._reads_steps(old)
        if all(np.array_equal(arrays[0], other) for other in arrays[1:]):
            value = self.builder.constant(arrays[0], old.name or "size")
            value.type = old.type
            return value
        if arrays[0].ndim > 1 or any((array != array.round()).any() for array in arrays):
            raise self._reads_steps(old)
        try:
            columns = zip(*(array.ravel().tolist() for array in arrays), strict=True)
            dims = [self._dim(old, [int(size) for size in column]) for column in columns]
        except UnsupportedModelError as error:
            raise self._reads_steps(old) from error
        vector = self.builder.size_vector(self.vector(dims, None))
        if arrays[0].ndim == 0:
            vector = self.builder.op("Squeeze", vector, self.builder.ints(0), name="size")
        if old.dtype not in (None, ir.DataType.INT64):
            assert old.dtype is not None
            vector = self.builder.op("Cast", vector, name="size", to=int(old.dtype))
        return vector

    @staticmethod
    def _reads_steps(old: ir.Value) -> ReadsStepsError:
        return ReadsStepsError(
            f"forward computes with the number of steps (`{old.name}`), which a stream does not "
            "know before its end"
        )

    # What is written

    def plain(self, one: Streamed) -> Streamed:
        """Return a value whose time axis holds frames alone, for one with more in each frame.

        Raises:
            UnsupportedModelError: The axis holds the batch or outer axes besides.
        """
        more = one.frames.inner
        dims = list(one.dims)
        dim = dims[one.frames.axis]
        if one.frames.rows or dim.batch or dim.factor != more:
            raise UnsupportedModelError("time and another axis are one axis")
        dims[one.frames.axis] = Dim(1)
        time = one.frames
        return replace(one, dims=tuple(dims)).with_time(
            inner=1, rate=time.rate * more, delay=time.delay * more, tail=time.tail * more
        )

    def delayed(self, one: Streamed, frames: int, name: str) -> Streamed:
        """Return a value `frames` later, which keeps that many frames as a state."""
        if frames == 0:
            return one
        if one.frames.rows:
            raise UnsupportedModelError("a number of steps meets a value that comes later")
        if not one.holds_frames_alone:
            raise UnsupportedModelError("values that meet come at different times")
        time = one.frames
        whole = self.builder.extended(one, frames, name)
        value = self.builder.slice(whole, time.axis, 0, -frames)
        later = time.delay + frames
        before = time.before if later < 0 else None
        if before is not None and before.ndim and before.shape[time.axis] > 1:
            # those that are delayed into the stream are the last ones
            before = before.take(range(before.shape[time.axis] - frames), time.axis)
        return one.with_value(value, delay=later, tail=time.tail + frames, before=before)

    def started(self, one: Streamed, name: str) -> Streamed:
        """Return a value whose stream has no frames before its start, and none after its end."""
        if one.time is None:
            return one
        return self.delayed(one, max(0, -one.time.delay, -one.time.tail), name)

    def defined(self, one: Streamed, fill: float) -> Streamed:
        """Return a value whose undefined frames are a number; its delay stays."""
        if one.frames.delay <= 0:
            return one
        return self.builder.masked(one, np.asarray(fill))

    def no_time(self, old: ir.Value | None) -> Streamed:
        """Return a value that has no time.

        Raises:
            UnsupportedModelError: It has.
        """
        one = self.streamed(old)
        if one.time is not None:
            raise UnsupportedModelError(f"`{'' if old is None else old.name}` changes over time")
        return one
