"""Scans along time: they carry their own states from frame to frame.

A chunk of several frames keeps the Scan. Where a call has few, its body is written once for each.
Frames that are not defined yet keep the states as they are: in the body, where a flag says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed
from edgernn.export.ir.dataflow import input_dependencies

__all__ = ["check_carried", "scan"]

_MOST = 128
"""Frames of one hop that are written out; more make a graph that is slow to load."""


def scan(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a Scan along time."""
    return _Scan(node, form).write()


def check_carried(node: ir.Node, initial: ir.Value | None) -> None:
    """Refuse an initial state that no input of the graph brings from the chunk before."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    states = {f"{(value.name or '').removesuffix('_out')}_in" for value in graph.outputs}
    names = {value.name for value in input_dependencies(initial)} if initial is not None else set()
    if not names & states:
        raise UnsupportedModelError("it starts anew at every call, not from where it was")


class _Scan:
    def __init__(self, node: ir.Node, form: Form) -> None:
        self._node, self._form, self._builder = node, form, form.builder
        inputs = [form.streamed(value) for value in node.inputs]
        self._body = node.attributes["body"].as_graph()
        scans = node.attributes["num_scan_inputs"].as_int()
        self._states, xs = inputs[: len(inputs) - scans], inputs[len(inputs) - scans :]
        outputs = len(node.outputs) - len(self._states)
        self._axes = self._attribute("scan_input_axes", scans)
        self._output_axes = self._attribute("scan_output_axes", outputs)
        directions = (
            *self._attribute("scan_input_directions", scans),
            *self._attribute("scan_output_directions", outputs),
        )
        for value in node.inputs[: len(self._states)]:
            check_carried(node, value)
        if any(one.time is not None for one in self._states):
            raise UnsupportedModelError("its states change over time")
        if any(directions):
            raise UnsupportedModelError("it runs from the last step to the first")
        self._xs = self._at_one_delay(xs)
        self._time = self._xs[0].frames
        form.builder.repeats_layers |= form.builder.frames_per_hop(self._time) > 1

    def _attribute(self, name: str, count: int) -> list[int]:
        return list(self._node.attributes.get_ints(name, [0] * count))

    def _at_one_delay(self, xs: Sequence[Streamed]) -> list[Streamed]:
        for one, axis in zip(xs, self._axes, strict=True):
            if one.time is None:
                raise UnsupportedModelError("one of its inputs has other steps than the sequence")
            if one.time.axis != axis % len(one.dims):
                raise UnsupportedModelError("it runs along another axis than time")
        xs = [self._form.plain(one) for one in xs]
        delay = max(0, *(one.frames.delay for one in xs))
        name = self._node.outputs[0].name or "scan"
        return [self._form.delayed(one, delay - one.frames.delay, name) for one in xs]

    def write(self) -> Sequence[Streamed | None]:
        """Return the final states and the results of all frames."""
        count = self._builder.frame_count(self._time.rate)
        if isinstance(count, int):
            if count > _MOST:
                raise UnsupportedModelError(f"it runs {count} frames within one hop")
            finals, results = self._unrolled(count)
        else:
            finals, results = self._scanned()
        time = self._time
        return [
            *(Streamed(value, None, True, time.delay, time.rate) for value in finals),
            *(
                Streamed(value, time.at(axis))
                for value, axis in zip(results, self._output_axes, strict=True)
            ),
        ]

    def _flags(self) -> ir.Value:
        """Return (frames, batch): which frames are not defined yet."""
        builder = self._builder
        flags = builder.undefined(self._time.rate, self._time.delay)
        return builder.op("Transpose", flags, name="still", perm=[1, 0])

    def _scanned(self) -> tuple[list[ir.Value], list[ir.Value]]:
        body = self._copied_body()
        xs = [one.value for one in self._xs]
        axes = list(self._axes)
        if self._time.delay:
            flags = self._flags()
            flag = ir.Value(
                name=self._builder.unique("still"), type=ir.TensorType(ir.DataType.BOOL)
            )
            body.inputs.append(flag)
            self._keep_states(body, flag)
            xs.append(flags)
            axes.append(0)
        states = [one.value for one in self._states]
        new = self._builder.copy(
            self._node,
            [*states, *xs],
            body=body,
            num_scan_inputs=len(xs),
            scan_input_axes=axes,
            scan_input_directions=[0] * len(xs),
        )
        return new[: len(states)], new[len(states) :]

    def _keep_states(self, body: ir.Graph, flag: ir.Value) -> None:
        """Keep the states of a body as they were where `flag` (batch,) is true."""
        for index, one in enumerate(self._states):
            shaped = _Inside(self._builder, body).placed(flag, one)
            node = ir.node("Where", [shaped, body.inputs[index], body.outputs[index]])
            node.outputs[0].name = self._builder.unique("state")
            body.append(node)
            body.outputs[index] = node.outputs[0]

    def _unrolled(self, count: int) -> tuple[list[ir.Value], list[ir.Value]]:
        builder = self._builder
        states = [one.value for one in self._states]
        results: list[list[ir.Value]] = []
        flags = self._flags() if self._time.delay else None
        for frame in range(count):
            xs = []
            for one, axis in zip(self._xs, self._axes, strict=True):
                value = one.value
                if count > 1:
                    value = builder.slice(value, axis, frame, frame + 1)
                xs.append(builder.op("Squeeze", value, builder.ints(axis), name="frame"))
            outputs = self._inlined([*states, *xs])
            after = outputs[: len(states)]
            if flags is not None:
                part = builder.slice(flags, 0, frame, frame + 1) if count > 1 else flags
                flag = builder.op("Squeeze", part, builder.ints(0), name="still")
                after = [
                    builder.op("Where", self._placed(flag, one), before, value, name="state")
                    for one, before, value in zip(self._states, states, after, strict=True)
                ]
            states = after
            results.append(
                [
                    builder.op("Unsqueeze", value, builder.ints(axis), name="frame")
                    for value, axis in zip(outputs[len(states) :], self._output_axes, strict=True)
                ]
            )
        joined = [
            parts[0] if count == 1 else builder.op("Concat", *parts, name="frames", axis=axis)
            for parts, axis in zip(zip(*results, strict=True), self._output_axes, strict=True)
        ]
        return states, joined

    def _placed(self, flag: ir.Value, one: Streamed) -> ir.Value:
        """Return (batch,) as a state has its batch, 1 for its other axes."""
        builder = self._builder
        axis = _batch_axis(one)
        column = builder.op("Unsqueeze", flag, builder.ints(1), name="still")
        rows = builder.for_rows(column, one.dims[axis])
        shape = [1] * len(one.dims)
        shape[axis] = -1
        return builder.op("Reshape", rows, builder.ints(*shape), name="still")

    def _copied_body(self) -> ir.Graph:
        """Return a copy of the body that reads values of the new graph where it read the old."""
        body = self._body.clone(allow_outer_scope_values=True)
        own = {*body.inputs, *body.initializers.values()}
        own |= {value for node in body.all_nodes() for value in node.outputs}
        for node in body.all_nodes():
            for index, value in enumerate(node.inputs):
                if value is not None and value not in own:
                    node.replace_input_with(index, self._form.no_time(value).value)
        return body

    def _inlined(self, inputs: Sequence[ir.Value]) -> list[ir.Value]:
        """Add the nodes of the body to the graph; return its outputs."""
        body, builder = self._copied_body(), self._builder
        for port, value in zip(tuple(body.inputs), inputs, strict=True):
            ir.convenience.replace_all_uses_with(port, value, replace_graph_outputs=True)
        outputs, nodes = list(body.outputs), list(body)
        body.outputs.clear()
        body.remove(nodes)
        for name, initializer in list(body.initializers.items()):
            del body.initializers[name]
            initializer.name = builder.unique(name)
            builder.graph.register_initializer(initializer)
        for node in nodes:
            node.name = builder.unique(node.name or node.op_type)
            for value in node.outputs:
                if value.name:
                    value.name = builder.unique(value.name)
            builder.graph.append(node)
        return outputs


class _Inside:
    """Writes flags inside a body."""

    def __init__(self, builder: object, body: ir.Graph) -> None:
        self._builder, self._body = builder, body

    def placed(self, flag: ir.Value, one: Streamed) -> ir.Value:
        """Return (batch,) as a state has its batch."""
        axis = _batch_axis(one)
        if one.dims[axis].factor != 1:
            raise UnsupportedModelError("its batch and another axis are one axis")
        shape = [1] * len(one.dims)
        shape[axis] = -1
        size = ir.node("Constant", [], {"value_ints": shape})
        node = ir.node("Reshape", [flag, size.outputs[0]])
        self._body.insert_before(self._body[0], [size, node])
        return node.outputs[0]


def _batch_axis(one: Streamed) -> int:
    axis = next((index for index, dim in enumerate(one.dims) if dim.batch), -1)
    if axis < 0:
        raise UnsupportedModelError("its first frames are not defined, and a state has no batch")
    return axis
