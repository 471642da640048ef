"""A sequence graph written anew, node by node, for one chunk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.all_rules import rule_of
from edgernn.export.chunk_form.chunk_ports import ChunkOutputs, chunk_input
from edgernn.export.chunk_form.merged_batch import with_sequences
from edgernn.export.chunk_graph.attention_band import time_axes
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder
from edgernn.export.chunk_graph.concrete_sizes import ConcreteSizes
from edgernn.export.chunk_graph.form import Form, ReadsStepsError
from edgernn.export.chunk_graph.shared_contexts import share_contexts
from edgernn.export.chunk_graph.time_axis import Frames, Size, Streamed
from edgernn.export.ir.shapes import shape_of

__all__ = ["ChunkWriter"]


class ChunkWriter:
    """Writes a sequence graph for one chunk.

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
        inputs = {old: chunk_input(old, hop, hops) for old in self._old.inputs}
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
        self._write()

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

    def _write(self) -> None:
        for node in self._old:
            try:
                self._write_node(node)
            except UnsupportedModelError as error:
                self._refuse(node, error)
        self.outputs = ChunkOutputs(self._form, self._old)
        added = list(self.model.graph.outputs)
        self.model.graph.outputs[:] = [*self.outputs.written, *added]
        share_contexts(self.builder)
        self._remove_unused_states()
        self.model.graph.sort()
        passes.RemoveUnusedNodesPass()(self.model)
        passes.NameFixPass()(self.model)

    def _refuse(self, node: ir.Node, error: UnsupportedModelError) -> None:
        """Keep why a node cannot be written for whoever needs its numbers.

        A mask of all steps is beside the point where what it masks cannot be written.
        """
        refused = self._form.refused
        if isinstance(error, ReadsStepsError):
            error = next((refused[value] for value in node.inputs if value in refused), error)
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

    def _remove_unused_states(self) -> None:
        """Remove the added states that no result depends on, as that of a number nobody reads."""
        graph = self.model.graph
        added = {f"{state.name}_in": state for state in self.builder.states}
        outputs = {value.name or "": value for value in graph.outputs}
        used: set[ir.Value] = set()
        waiting = list(self.outputs.written)
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
