"""The ports of the graph of one chunk: inputs in hops, outputs with their frames and delays."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed
from edgernn.export.ir.shapes import shape_of
from edgernn.export.states.hop_and_delay import Streaming

__all__ = ["ChunkOutputs", "chunk_input"]


def chunk_input(old: ir.Value, hop: int, hops: int | None) -> ir.Value:
    """Return the input of a chunk for one of the sequence graph.

    One of a single step has no axis of steps.
    """
    shape = shape_of(old)
    if shape is None:
        raise UnsupportedModelError(f"the shape of `{old.name}` is not known")
    if hops is not None:
        count = hops * hop
        kept = (dim for dim in shape if dim != SEQUENCE or count > 1)
        shape = tuple(count if dim == SEQUENCE else dim for dim in kept)
    return ir.Value(name=old.name, shape=ir.Shape(shape), type=old.type)


class ChunkOutputs:
    """Writes the outputs of the sequence graph, and notes what hosts must know of them.

    Args:
        form: The graph of one chunk, all nodes written.
        graph: The sequence graph.

    Attributes:
        written: The outputs, in their order.
        delays: Name of an output → how many of its first steps are undefined.
    """

    def __init__(self, form: Form, graph: ir.Graph) -> None:
        self._form = form
        self._builder = form.builder
        self._inputs = list(graph.inputs)
        self.written: list[ir.Value] = []
        self.delays: dict[str, int] = {}
        self._tails: dict[str, int] = {}
        self._inexact = False
        for old in graph.outputs:
            self._write(old)

    def streaming(self) -> Streaming:
        """Return what hosts must know of the graphs that were written."""
        tails = {name: tail for name, tail in self._tails.items() if tail}
        inputs = [old.name or "" for old in self._inputs if SEQUENCE in (shape_of(old) or ())]
        return Streaming(
            self._builder.hop,
            {name: delay for name, delay in self.delays.items() if delay},
            tails,
            dict.fromkeys(inputs, 0.0) if tails and not self._inexact else {},
        )

    def _write(self, old: ir.Value) -> None:
        form, name = self._form, old.name or ""
        one = form.streamed(old)
        shape: list[int | str | None] = list(shape_of(old) or ())
        if one.time is not None:
            one = form.started(one, name)
            shape = [*one.shape_of_frames(0)]
            shape[one.frames.axis] = self._note_frames(name, one)
        elif one.moment and not self._is_state(name):
            self.delays[name] = one.delay
        output = self._builder.op("Identity", one.value, name=f"{name}_result")
        if one.time is not None and shape[one.time.axis] == 1 and self._builder.hops is not None:
            axes = self._builder.ints(one.time.axis)
            output = self._builder.op("Squeeze", output, axes, name=name)
            del shape[one.time.axis]
        output.name = name
        output.type = old.type
        output.shape = ir.Shape(shape)
        self.written.append(output)

    def _note_frames(self, name: str, one: Streamed) -> int | str:
        """Note the delay and tail of an output with time; return the size of its time axis."""
        time = one.frames
        if time.keys is not None:
            raise UnsupportedModelError(f"output `{name}` has two axes of steps")
        if time.rows:
            raise UnsupportedModelError(
                f"output `{name}` has no batch, but depends on the number of steps"
            )
        dim = one.dims[time.axis]
        if dim.batch and time.delay:
            raise UnsupportedModelError(
                f"output `{name}` has batch and time in one axis, and a delay"
            )
        self.delays[name] = time.delay * time.inner
        self._tails[name] = time.tail * time.inner
        self._inexact |= bool(time.tail) and not time.exact_end
        return self._frames_symbol(dim.symbol, self._builder.frames_per_hop(time))

    def _is_state(self, name: str) -> bool:
        """Return whether an output is the next value of an input."""
        inputs = {value.name for value in self._inputs}
        return name.endswith("_out") and f"{name.removesuffix('_out')}_in" in inputs

    def _frames_symbol(self, factor: int | str, frames: int) -> int | str:
        """Return the size of an axis with `frames` per hop, each `factor` elements."""
        if self._builder.hops is not None:
            count = frames * self._builder.hops
            return count * factor if isinstance(factor, int) else f"{count}*{factor}"
        if isinstance(factor, int):
            frames, factor = frames * factor, 1
        hop = self._builder.hop
        size = SEQUENCE if hop == 1 else f"({SEQUENCE}//{hop})"
        if frames == hop:
            size = SEQUENCE
        elif frames != 1:
            size = f"{frames}*{size}"
        else:
            size = size.strip("()")
        return size if factor == 1 else f"{factor}*{size}"
