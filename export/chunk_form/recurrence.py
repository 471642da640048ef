"""Recurrent layers and loops: along time they carry their own states, as they do in any graph.

Frames that are not defined yet must not change a state. In one step the state is kept; in a chunk
the frames are moved to its front, the layer runs to the end of those that are defined, and its
output is moved back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed
from edgernn.export.ir.recurrent_operators import Input, direction_of

__all__ = ["RECURRENCE_RULES"]


def _layer(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old = node.inputs[Input.X]
    one = settle(form, old)
    time = one.time
    assert time is not None
    if time.axis == 1:
        return _beside_time(node, form, one, time)
    if time.axis != 0:
        raise UnsupportedModelError("its input has time among its features")
    if direction_of(node) != "forward":
        raise UnsupportedModelError(
            "it is bidirectional: its backward direction starts from the last step"
        )
    one = form.plain(form.started(one, node.outputs[0].name or "layer"))
    time = one.time
    assert time is not None
    if time.delay:
        raise UnsupportedModelError("its first steps are not defined yet")
    inputs = [
        one.value if index == Input.X else None if value is None else form.no_time(value).value
        for index, value in enumerate(node.inputs)
    ]
    new = form.builder.copy(node, inputs)
    final = Streamed(new[0], None, True, time.delay, time.rate)
    return [Streamed(new[0], time), *(replace(final, value=value) for value in new[1:])]


def _beside_time(
    node: ir.Node, form: Form, one: Streamed, time: Frames
) -> Sequence[Streamed | None]:
    """Write a layer over another axis, which starts anew in each frame: time is in its batch."""
    one = form.started(one, node.outputs[0].name or "layer")
    assert one.time is not None
    time = one.time
    inputs = [None if value is None else form.streamed(value) for value in node.inputs]
    inputs[0] = one
    for found in inputs[1:]:
        if found is not None and found.time is not None and found.time.axis != 1:
            raise UnsupportedModelError("its states have time in another place than its input")
    new = form.builder.copy(node, [None if found is None else found.value for found in inputs])
    return [
        Streamed(new[0], time.at(2)),
        *(Streamed(value, time.at(1)) for value in new[1:]),
    ]


def _scan(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    raise UnsupportedModelError("a Scan has no chunk form yet")


_ = per_frame
RECURRENCE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _layer),
    "Scan": _scan,
}
