"""A sequence graph as one that runs chunk by chunk: every memory between steps becomes a state.

sequence graph    x (batch, sequence, 4) → Pad 2 in front → Conv of 3 → GRU → y
chunk form        x (batch, sequence, 4), conv_context_in (batch, 4, 2) → Concat → Conv of 3 → GRU
                  → y; the last 2 frames → conv_context_out

The graph is written anew, node by node, once for any number of hops and once for one. For each
value it is known where its time is (`time_axis`); a rule for each operator says what it does to
time (`rules`). What has no rule, or cannot be written, is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.all_rules import mixes_time, rule_of
from edgernn.export.chunk_form.merged_batch import with_sequences
from edgernn.export.chunk_graph.attention_band import time_axes
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder, NeedsHop
from edgernn.export.chunk_graph.concrete_sizes import ConcreteSizes
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.shared_contexts import share_contexts
from edgernn.export.chunk_graph.time_axis import Frames, Size, Streamed
from edgernn.export.ir.shapes import shape_of
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort
from edgernn.export.step.at_one_step import gemm_form
from edgernn.export.step.unroll_layers import unroll_layers

__all__ = ["ChunkForm", "chunk_form"]

_LONGEST_HOP = 1 << 14


@dataclass(frozen=True)
class ChunkForm:
    """The graphs of a model that remembers more than the states of its layers.

    Attributes:
        sequence: The sequence graph, for any number of hops.
        step: The step graph, of one hop: an axis of as many frames where there are several, none
            where there is one.
        contexts: The states that were added, in the order of their ports.
        streaming: The hop, and the delays and tails of the outputs.
    """

    sequence: ir.Model
    step: ir.Model
    contexts: tuple[StatePort, ...]
    streaming: Streaming


def chunk_form(model: ir.Model, multiple: int = 1) -> ChunkForm | None:
    """Return the chunk form of a sequence graph; None where only its layers have a memory.

    Args:
        model: A sequence graph whose ports are named, in operators that ONNX Runtime has; it is
            not changed.
        multiple: What numbers of steps it takes: multiples of it.

    Raises:
        UnsupportedModelError: An operator mixes steps in a way that has no chunk form; the text
            names it and says why.
    """
    if multiple == 1 and not any(mixes_time(node) for node in model.graph):
        return None
    model = model.clone()
    passes.NameFixPass()(model)
    hop = multiple
    while True:
        try:
            sizes = ConcreteSizes(model, hop)
            chunk = _Writer(model, sizes, hop, None)
            chunk.write()
            if hop == 1 and not chunk.builder.states and not any(chunk.delays.values()):
                return None
            step = _Writer(model, sizes, hop, 1)
            step.write()
            break
        except NeedsHop as longer:
            hop = longer.hop
            if hop > _LONGEST_HOP:
                raise UnsupportedModelError(
                    f"one frame takes {hop} steps of the input, more than {_LONGEST_HOP}"
                ) from longer
    if [one.name for one in chunk.builder.states] != [one.name for one in step.builder.states]:
        raise UnsupportedModelError("its chunks and its single steps differ in their states")
    unroll_layers(step.model, chunk.model)
    return ChunkForm(
        sequence=chunk.model,
        step=gemm_form(step.model),
        contexts=tuple(
            StatePort(
                state.name,
                argument=None,
                result=None,
                call=None,
                last_call=None,
                initial=state.initial,
                context=True,
                limit=state.limit,
            )
            for state in chunk.builder.states
        ),
        streaming=chunk.streaming(),
    )


class _Writer:
    """Writes one form of a model.

    Args:
        model: The sequence graph.
        sizes: Its values at several sizes.
        hop: Steps of the input in one hop.
        hops: The hops of one call; None for any number.
    """

    def __init__(self, model: ir.Model, sizes: ConcreteSizes, hop: int, hops: int | None) -> None:
        self._old = model.graph
        graph = ir.Graph(
            [], [], nodes=[], opset_imports=dict(model.graph.opset_imports), name=model.graph.name
        )
        self.model = ir.Model(
            graph,
            ir_version=model.ir_version,
            producer_name=model.producer_name,
            producer_version=model.producer_version,
            functions=list(model.functions.values()),
        )
        self.model.metadata_props.update(model.metadata_props)
        inputs = {old: self._input(old, hop, hops) for old in self._old.inputs}
        graph.inputs.extend(inputs.values())
        self.builder = ChunkBuilder(
            graph, hop, hops, self._axis(inputs, SEQUENCE), self._batch(inputs)
        )
        self._form = Form(self.builder, sizes)
        for old, new in inputs.items():
            shape = shape_of(old) or ()
            time = Frames(shape.index(SEQUENCE)) if SEQUENCE in shape else None
            if time is not None and hops is not None and hops * hop == 1:
                axes = self.builder.ints(time.axis)
                new = self.builder.op("Unsqueeze", new, axes, name=f"{old.name}_step")
                new.type = old.type
            dims = self._form.dims(old, time)
            self._form.written[old] = Streamed(new, time, dims=dims)
        self._results: list[ir.Value] = []
        self.delays: dict[str, int] = {}
        self.tails: dict[str, int] = {}
        self._inexact = False

    def streaming(self) -> Streaming:
        """Return what hosts must know of the graphs that were written."""
        tails = {name: tail for name, tail in self.tails.items() if tail}
        inputs = [old.name or "" for old in self._old.inputs if SEQUENCE in (shape_of(old) or ())]
        return Streaming(
            self.builder.hop,
            {name: delay for name, delay in self.delays.items() if delay},
            tails,
            dict.fromkeys(inputs, 0.0) if tails and not self._inexact else {},
        )

    @staticmethod
    def _input(old: ir.Value, hop: int, hops: int | None) -> ir.Value:
        shape = shape_of(old)
        if shape is None:
            raise UnsupportedModelError(f"the shape of `{old.name}` is not known")
        if hops is not None:
            count = hops * hop
            kept = (dim for dim in shape if dim != SEQUENCE or count > 1)
            shape = tuple(count if dim == SEQUENCE else dim for dim in kept)
        return ir.Value(name=old.name, shape=ir.Shape(shape), type=old.type)

    @staticmethod
    def _axis(inputs: Mapping[ir.Value, ir.Value], symbol: str) -> tuple[ir.Value, int]:
        for old, new in inputs.items():
            shape = shape_of(old) or ()
            if symbol in shape:
                return new, shape.index(symbol)
        raise UnsupportedModelError(f"no input has an axis `{symbol}`")

    def _batch(self, inputs: Mapping[ir.Value, ir.Value]) -> tuple[ir.Value, int] | None:
        try:
            return self._axis(inputs, BATCH)
        except UnsupportedModelError:
            return None

    def write(self) -> None:
        """Write every node and output."""
        for node in self._old:
            try:
                self._write_node(node)
            except UnsupportedModelError as error:
                self._refuse(node, error)
        for old in self._old.outputs:
            self._write_output(old)
        self._reorder_outputs()
        share_contexts(self.builder)
        self._remove_unused_states()
        self.model.graph.sort()
        passes.RemoveUnusedNodesPass()(self.model)
        passes.NameFixPass()(self.model)

    def _refuse(self, node: ir.Node, error: UnsupportedModelError) -> None:
        """Keep why a node cannot be written for whoever needs its numbers."""
        refused = self._form.refused
        if error not in refused.values():
            reason = error
            error = UnsupportedModelError(f"{_subject(node)}: {reason}")
            error.__cause__ = reason
        refused.update(dict.fromkeys(node.outputs, error))

    def _write_node(self, node: ir.Node) -> None:
        form = self._form
        given = [value for value in node.inputs if value is not None]
        found = [None if value in form.refused else form.of(value) for value in given]
        if _is_size(node, found) or self._is_mask(node):
            for value in node.outputs:
                form.written[value] = Size(value.name or "")
            return
        results = rule_of(node, found)(node, form)
        for old, new in zip(node.outputs, results, strict=True):
            if new is not None and (old.uses() or old.is_graph_output()):
                new.value.type = new.value.type or old.type
                dims = form.dims(old, new.time)
                form.written[old] = replace(new, dims=with_sequences(node, form, new.time, dims))

    def _is_mask(self, node: ir.Node) -> bool:
        """Return whether a node computes with the number of steps alone, for every two of them."""
        form = self._form
        outputs = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        return all(
            form.sizes.is_fixed(value.name or "") and len(time_axes(form, value)) == 2
            for value in outputs
        )

    def _write_output(self, old: ir.Value) -> None:
        form, name = self._form, old.name or ""
        one = form.streamed(old)
        shape: list[int | str | None] = list(shape_of(old) or ())
        if one.time is not None:
            one = form.started(one, name)
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
            shape = [*one.shape_of_frames(0)]
            shape[time.axis] = self._frames_symbol(dim.symbol, self.builder.frames_per_hop(time))
            self.delays[name] = time.delay * time.inner
            self.tails[name] = time.tail * time.inner
            self._inexact |= bool(time.tail) and not time.exact_end
        elif one.moment and not self._is_state(name):
            self.delays[name] = one.delay
        output = self.builder.op("Identity", one.value, name=f"{name}_result")
        if one.time is not None and shape[one.time.axis] == 1 and self.builder.hops is not None:
            output = self.builder.op("Squeeze", output, self.builder.ints(one.time.axis), name=name)
            del shape[one.time.axis]
        output.name = name
        output.type = old.type
        output.shape = ir.Shape(shape)
        self._results.append(output)

    def _is_state(self, name: str) -> bool:
        """Return whether an output is the next value of an input."""
        inputs = {value.name for value in self._old.inputs}
        return name.endswith("_out") and f"{name.removesuffix('_out')}_in" in inputs

    def _frames_symbol(self, factor: int | str, frames: int) -> int | str:
        """Return the size of an axis with `frames` per hop, each `factor` elements."""
        if self.builder.hops is not None:
            count = frames * self.builder.hops
            return count * factor if isinstance(factor, int) else f"{count}*{factor}"
        if isinstance(factor, int):
            frames, factor = frames * factor, 1
        hop = self.builder.hop
        size = SEQUENCE if hop == 1 else f"({SEQUENCE}//{hop})"
        if frames == hop:
            size = SEQUENCE
        elif frames != 1:
            size = f"{frames}*{size}"
        else:
            size = size.strip("()")
        return size if factor == 1 else f"{factor}*{size}"

    def _reorder_outputs(self) -> None:
        """Put the outputs of the old graph first, then those of the states that were added."""
        graph = self.model.graph
        added = list(graph.outputs)
        graph.outputs[:] = [*self._results, *added]

    def _remove_unused_states(self) -> None:
        """Remove the added states that no result depends on, as that of a number nobody reads."""
        graph = self.model.graph
        added = {f"{state.name}_in": state for state in self.builder.states}
        outputs = {value.name or "": value for value in graph.outputs}
        used: set[ir.Value] = set()
        waiting = list(self._results)
        while waiting:
            value = waiting.pop()
            if value in used:
                continue
            used.add(value)
            node = value.producer()
            if node is not None:
                waiting.extend(one for one in node.inputs if one is not None)
            elif value.name in added:
                waiting.append(outputs[added[value.name or ""].name + "_out"])
        unused = [state for name, state in added.items() if name not in {v.name for v in used}]
        for state in unused:
            graph.outputs.remove(outputs[f"{state.name}_out"])
            graph.inputs[:] = [one for one in graph.inputs if one.name != f"{state.name}_in"]
            self.builder.states.remove(state)


def _is_size(node: ir.Node, inputs: list[Streamed | Size | None]) -> bool:
    """Return whether a node computes with shapes alone; None is an input that was refused."""
    if (node.domain, node.op_type) in (("", "Shape"), ("", "Size")):
        return True
    return (
        any(isinstance(one, Size) for one in inputs)
        and all(isinstance(one, Size) or (one and one.value.is_initializer()) for one in inputs)
        and node.op_type not in ("Range", "ConstantOfShape", "Expand", "Gather", "Slice")
    ) or (node.op_type in ("Gather", "Slice") and bool(inputs) and isinstance(inputs[0], Size))


def _subject(node: ir.Node) -> str:
    """Return what refusals call a node: its module, or its own name, and its operator."""
    scopes = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    path = scopes[-2].partition("module.")[2] or "forward" if len(scopes) > 1 else node.name
    return f"`{path}` ({node.op_type})"
