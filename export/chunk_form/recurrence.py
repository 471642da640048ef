"""Recurrent layers: along time they carry their own states, as they do in any graph.

Frames that are not defined yet must not change a state. In one step the state is kept:

    h_out = Where(undefined, h_in, h)

In a chunk the frames that are defined are moved to its front, the layer runs to their end, and its
output is moved back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.scans import check_carried, scan
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import Input, direction_of, kind_of
from edgernn.export.lower.sequence_mask import SequenceEnds

__all__ = ["RECURRENCE_RULES"]


def _layer(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[Input.X])
    one = form.started(one, node.outputs[0].name or "layer")
    if one.frames.axis == 1:
        return _beside_time(node, form, one)
    if one.frames.axis != 0:
        raise UnsupportedModelError("its input has time among its features")
    if direction_of(node) != "forward":
        raise UnsupportedModelError(
            "it is bidirectional: its backward direction starts from the last step"
        )
    for index in kind_of(node).initial_states:
        check_carried(node, node.inputs[index])
    one = form.plain(one)
    time = one.frames
    form.builder.repeats_layers |= form.builder.frames_per_hop(time) > 1
    inputs = [
        one.value if index == Input.X else None if value is None else form.no_time(value).value
        for index, value in enumerate(node.inputs)
    ]
    if time.delay == 0:
        new: Sequence[ir.Value] = form.builder.copy(node, inputs)
    elif form.builder.frame_count(time.rate) == 1:
        new = _masked_step(node, form, one, inputs)
    else:
        new = _MaskedChunk(node, form, one, inputs).write()
    finals = (Streamed(value, None, True, time.delay, time.rate) for value in new[1:])
    return [Streamed(new[0], time), *finals]


def _beside_time(node: ir.Node, form: Form, one: Streamed) -> Sequence[Streamed | None]:
    """Write a layer over another axis, which starts anew in each frame: time is in its batch."""
    inputs = [None if value is None else form.streamed(value) for value in node.inputs]
    inputs[Input.X] = one
    for found in inputs[1:]:
        if found is not None and found.time is not None and found.time.axis != 1:
            raise UnsupportedModelError("its states have time in another place than its input")
    new = form.builder.copy(node, [None if found is None else found.value for found in inputs])
    first, *finals = new
    return [
        Streamed(first, one.frames.at(2)),
        *(Streamed(value, one.frames.at(1)) for value in finals),
    ]


def _masked_step(
    node: ir.Node, form: Form, one: Streamed, inputs: Sequence[ir.Value | None]
) -> Sequence[ir.Value]:
    """Write a layer of one frame, which keeps its states where the frame is not defined."""
    builder, time = form.builder, one.frames
    flags = builder.for_rows(builder.undefined(time.rate, time.delay), one.dims[1])
    still = builder.op("Unsqueeze", flags, builder.ints(0), name="still")
    y, *finals = builder.copy(node, inputs)
    kept = [
        builder.op("Where", still, inputs[index], final, name=final.name or "state")
        for index, final in zip(kind_of(node).initial_states, finals, strict=False)
    ]
    return [y, *kept]


class _MaskedChunk:
    """A layer over the defined frames of a chunk, which stand at its end."""

    def __init__(
        self, node: ir.Node, form: Form, one: Streamed, inputs: Sequence[ir.Value | None]
    ) -> None:
        self._node, self._inputs, self._x = node, list(inputs), one.value
        self._builder = builder = form.builder
        time = one.frames
        flags = builder.for_rows(builder.undefined(time.rate, time.delay), one.dims[1])
        count = builder.frame_count(time.rate)
        self._count = builder.ints(count) if isinstance(count, int) else count
        numbers = builder.op("Cast", flags, name="skipped", to=int(ir.DataType.INT64))
        self._skipped = builder.op(
            "ReduceSum", numbers, builder.ints(1), name="skipped", keepdims=0
        )
        self._lengths = builder.op("Sub", self._count, self._skipped, name="defined")
        times = builder.offsets(count)
        self._times = builder.op("Unsqueeze", times, builder.ints(1), name="frame_numbers")

    def write(self) -> Sequence[ir.Value]:
        """Write the layer; return its output and its final states."""
        node, builder = self._node, self._builder
        kind = kind_of(node)
        w = constant_of(node.inputs[Input.W])
        if w is None:
            raise UnsupportedModelError("its weights are not constant")
        last = builder.op("Sub", self._count, builder.ints(1), name="last")
        later = builder.op("Add", self._times, self._skipped, name="frame_numbers")
        front = builder.op("Min", later, last, name="frame_numbers")
        x = self._taken(self._x, front)
        ends = SequenceEnds(_Tape(builder), x, self._lengths, node.outputs[0].name or "layer")  # type: ignore[arg-type]
        y, *finals = ends.run_direction(kind, x, w, self._run, backward=False)
        earlier = builder.op("Sub", self._times, self._skipped, name="frame_numbers")
        back = builder.op("Max", earlier, builder.ints(0), name="frame_numbers")
        y = builder.op("Unsqueeze", self._taken(y, back), builder.ints(1), name="y")
        none = builder.op("Equal", self._lengths, builder.ints(0), name="none_defined")
        none = builder.op("Unsqueeze", none, builder.ints(0, 2), name="none_defined")
        kept = [
            builder.op("Where", none, self._inputs[index], final, name="state")
            for index, final in zip(kind.initial_states, finals, strict=True)
        ]
        return [y, *kept][: len(node.outputs)]

    def _run(self, x: ir.Value, w: NDArray[np.float32]) -> Sequence[ir.Value]:
        inputs = self._inputs
        inputs[Input.X] = x
        inputs[Input.W] = self._builder.constant(w, f"{self._node.name}_W")
        y, *finals = self._builder.copy(self._node, inputs)
        return [self._builder.op("Squeeze", y, self._builder.ints(1), name="y"), *finals]

    def _taken(self, value: ir.Value, frames: ir.Value) -> ir.Value:
        """Return frames of (frames, batch, size) by their numbers, (frames, batch)."""
        builder = self._builder
        index = builder.op("Unsqueeze", frames, builder.ints(2), name="frame_numbers")
        shape = builder.op("Shape", value, name="shape")
        index = builder.op("Expand", index, shape, name="frame_numbers")
        taken = builder.op("GatherElements", value, index, name="frames", axis=0)
        taken.type = value.type
        return taken


class _Tape:
    """The builder, as what writes the ends of sequences calls it."""

    def __init__(self, builder: ChunkBuilder) -> None:
        self._builder = builder

    def op(
        self, op_type: str, inputs: Sequence[ir.Value], attributes: dict[str, Any] | None = None
    ) -> ir.Value:
        """Add a node."""
        return self._builder.op(op_type, *inputs, name="end", **(attributes or {}))

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """Add a constant."""
        return self._builder.constant(tensor.numpy(), tensor.name or "constant")


RECURRENCE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _layer),
    "Scan": scan,
}
