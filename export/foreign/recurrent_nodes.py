"""Recurrent nodes of files: what they have, and which of them are refused."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.ir.dataflow import depends_on_data, input_dependencies, reordering_sources
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import (
    Input,
    activations_of,
    directions_of,
    input_of,
    is_recurrent,
    kind_of,
    recurrent_nodes,
)
from edgernn.option_names import option

__all__ = [
    "check_bodies",
    "check_nodes",
    "check_weights",
    "name_finals",
    "recurrent_nodes_inside",
    "sequence_lens_inputs",
    "title",
]


def recurrent_nodes_inside(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the recurrent nodes in the bodies of a node, at any depth."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from filter(is_recurrent, attribute.as_graph().all_nodes())


def name_finals(graph: ir.Graph) -> None:
    """Give the recurrent nodes of `graph` all inputs and outputs that they may have, in place."""
    for node in recurrent_nodes(graph):
        kind = kind_of(node)
        node.resize_inputs(max(len(node.inputs), 1 + kind.initial_states[-1]))
        node.resize_outputs(1 + len(kind.states))
        for state, value in zip(kind.states, node.outputs[1:], strict=True):
            value.name = value.name or f"{node_label(node)}_left_out_{state}"


def sequence_lens_inputs(graph: ir.Graph) -> tuple[list[str], list[str]]:
    """Return the inputs of `graph` that hold lengths of sequences, and those that determine them.

    Returns:
        The names of the inputs that are `sequence_lens` of recurrent nodes as they are, and of the
        inputs that such lengths are computed from.
    """
    held: list[str] = []
    computed: list[str] = []
    for node in recurrent_nodes(graph):
        lengths = input_of(node, Input.SEQUENCE_LENS)
        sources = reordering_sources(lengths)
        if lengths is None or not depends_on_data(lengths):
            continue
        if all(source.is_graph_input() for source in sources):
            held += [source.name or "" for source in sources]
        else:
            computed += [source.name or "" for source in input_dependencies(lengths)]
    return list(dict.fromkeys(held)), list(dict.fromkeys(computed))


def title(node: ir.Node) -> str:
    """Return the name of a node in messages."""
    return f"{node.op_type} `{node_label(node)}`"


def check_nodes(model: ir.Model, file: str, known: bool = False) -> None:
    """Refuse nodes that have no canonical form, by name.

    Nodes in the branches of an If are not looked at: one of the branches never runs. Where the
    states are `known`, a Scan may have some of them.

    Raises:
        UnsupportedModelError: There is such a node.
    """
    for node in model.graph:
        if known and node.op_type == "Scan":
            continue
        for what, remedy in _refusals(node):
            raise UnsupportedModelError(f"{title(node)} in {file} {what}. {remedy}")


def check_bodies(model: ir.Model, file: str) -> None:
    """Refuse recurrent nodes in branches that the input chooses from call to call.

    Raises:
        UnsupportedModelError: There is one.
    """
    for node in model.graph:
        for inner in recurrent_nodes_inside(node):
            raise UnsupportedModelError(
                f"{title(inner)} in {file} stands inside the body of {title(node)}, which is "
                "chosen anew at every call, so that its state cannot become a port. Export the "
                "model with the layer outside of it."
            )


def check_weights(model: ir.Model, file: str) -> None:
    """Refuse recurrent nodes with weights that are quantized or computed from the inputs.

    Raises:
        UnsupportedModelError: W, R or B of a node is not a constant.
    """
    for node in recurrent_nodes(model.graph):
        for place in (Input.W, Input.R, Input.B):
            value, letter = input_of(node, place), place.name
            source = None if value is None else value.producer()
            if source is not None and source.op_type == "DequantizeLinear":
                raise UnsupportedModelError(
                    f"{title(node)} in {file} is quantized: its weights {letter} come out of "
                    "DequantizeLinear. Export the float32 model that it was made from."
                )
            if value is not None and constant_of(value) is None:
                raise UnsupportedModelError(
                    f"{title(node)} in {file} has weights {letter} that the graph computes from "
                    "its inputs; constants were expected. A layer whose weights change from call "
                    "to call has no step graph."
                )


def _refusals(node: ir.Node) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a node, and what to do."""
    if node.op_type == "DynamicQuantizeLSTM":
        yield "is quantized", "Export the float32 model that it was made from."
    if node.domain in ("", "ai.onnx") and node.op_type in ("Loop", "Scan"):
        yield (
            "is a recurrence written as a body of nodes, which cannot be taken apart into steps",
            "Export the model with an LSTM, GRU or RNN node, or export one step of it and name "
            f"its states: {option('states', {'IN': 'OUT'})}.",
        )
    if not is_recurrent(node):
        return
    if "clip" in node.attributes:
        yield (
            f"has clip={node.attributes['clip'].as_float():g}, which several runtimes ignore",
            "Export the model without clipping.",
        )
    if node.attributes.get_int("input_forget", 0):
        yield (
            "has input_forget=1, which couples two gates and which several runtimes ignore",
            "Export the model with both gates.",
        )
    names = node.attributes.get_strings("activations", ())
    lower = [name.lower() for name in names]
    half = lower[: len(lower) // len(directions_of(node))]
    known = [[name.lower() for name in one] for one in activations_of(node.op_type)]
    if names and (half not in known or lower not in (half, half * 2)):
        yield (
            f"has the activations {', '.join(names)}; "
            f"{' or '.join(', '.join(one) for one in known)} was expected",
            "Train or export the model with the default activations.",
        )
    peepholes = input_of(node, Input.P)
    constant = constant_of(peepholes)
    if peepholes is not None and (constant is None or constant.any()):
        yield (
            "has peepholes (input P), which several runtimes ignore",
            "Train or export the model without them.",
        )
