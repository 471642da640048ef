"""The forms of an artifact's graphs, by the rules that were measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port
from edgernn.errors import UnsupportedModelError
from edgernn.export.forms.measured_rules import MOST_BYTES, least_of_scan, most_batch_of_step
from edgernn.export.forms.sequence_scans import sequence_scans
from edgernn.export.forms.step_operators import step_operators
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import Input, recurrent_nodes
from edgernn.export.ir.shapes import shape_of
from edgernn.forms import FORMS_FOLDER, Form, with_unit_axes
from edgernn.json_field import MAX_SIZE

__all__ = ["BuiltForm", "make_forms", "ports_of_form"]

_LOG = logging.getLogger("edgernn.export")


@dataclass(frozen=True)
class BuiltForm:
    """A form and its graph.

    Attributes:
        form: Where it runs.
        model: The graph, without metadata.
        ports: Its ports, those of the portable graph with additional axes of size 1.
    """

    form: Form
    model: ir.Model
    ports: Graph

    def contract(self, whole: Contract) -> Contract:
        """Return the contract of this graph alone, from that of the artifact."""
        return replace(whole, graphs={self.form.graph: self.ports})


def make_forms(
    graphs: Mapping[str, ir.Model], contract: Contract, every: bool = False
) -> list[BuiltForm]:
    """Return the forms that are faster than the portable graphs at some sizes.

    Args:
        graphs: `sequence` and, where there is one, `step` → the portable graph in float32.
        contract: Their contract.
        every: Whether to return them for all sizes, without regard to the rules.
    """
    return [*_steps(graphs, contract, every), *_sequences(graphs["sequence"], contract, every)]


def _steps(graphs: Mapping[str, ir.Model], contract: Contract, every: bool) -> Iterator[BuiltForm]:
    """Yield the step graph through recurrent operators, where it is small enough."""
    sequence = graphs["sequence"]
    is_large = _weight_bytes(sequence) > MOST_BYTES and not every
    if contract.step is None or contract.hop > 1 or is_large:
        return
    nodes = [node for node in recurrent_nodes(sequence.graph) if not (every and node.domain)]
    batches = {node.name: MAX_SIZE if every else _most_batch(node) for node in nodes}
    kept = {name: batch for name, batch in batches.items() if name and batch}
    unfolded = any(not batches[node.name] and _is_embedded(node.inputs[Input.X]) for node in nodes)
    if not kept or unfolded or contract.lengths:
        return
    states = {end for state in contract.states for end in (state.input, state.output)}
    try:
        model = step_operators(sequence, kept, states)
    except UnsupportedModelError as error:
        _LOG.debug("no form of the step graph through operators: %s", error)
        return
    ports = None if model is None else ports_of_form(model, contract.graphs["step"])
    if model is not None and ports is not None:
        file = f"{FORMS_FOLDER}/step-operator.onnx"
        most = {} if every else {BATCH: min(kept.values())}
        yield BuiltForm(Form("step", file, most=most), model, ports)


def _sequences(sequence: ir.Model, contract: Contract, every: bool) -> Iterator[BuiltForm]:
    """Yield the sequence graph with the layers as Scans that are faster so."""
    is_large = _weight_bytes(sequence) > MOST_BYTES and not every
    if contract.in_hops or SEQUENCE in contract.constants or is_large:
        return
    sizes = {node.name: _least_of_scan(node) for node in recurrent_nodes(sequence.graph)}
    scans = {name: least for name, least in sizes.items() if name and least is not None}
    if not scans:
        return
    try:
        model = sequence_scans(sequence, scans)
    except UnsupportedModelError as error:
        _LOG.debug("no form of the sequence graph with Scans: %s", error)
        return
    ports = ports_of_form(model, contract.graphs["sequence"])
    if ports is not None:
        least = {axis: max(one[axis] for one in scans.values()) for axis in (BATCH, SEQUENCE)}
        file = f"{FORMS_FOLDER}/sequence-scan.onnx"
        yield BuiltForm(Form("sequence", file, least={} if every else least), model, ports)


def _least_of_scan(node: ir.Node) -> dict[str, int] | None:
    """Return the least batch and number of steps at which a layer is faster as a Scan."""
    hidden = _hidden_size(node)
    along = shape_of(node.inputs[Input.X]) or (None,)
    if hidden is None or SEQUENCE not in str(along[0]):
        return None
    return least_of_scan(node.op_type, hidden)


def _hidden_size(node: ir.Node) -> int | None:
    """Return the size of a layer's state, or None where the layer is not ONNX's own."""
    shape = shape_of(node.inputs[Input.R])
    hidden = shape[-1] if shape and not node.domain else None
    return hidden if isinstance(hidden, int) else None


def _most_batch(node: ir.Node) -> int:
    """Return the largest batch at which one step of a recurrent node is faster as an operator."""
    hidden = _hidden_size(node)
    if hidden is None:
        return 0
    return most_batch_of_step(node.op_type, hidden, _is_embedded(node.inputs[Input.X]))


def _is_embedded(value: ir.Value | None) -> bool:
    """Return whether a value is looked up in a table."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in ("Transpose", "Squeeze", "Unsqueeze", "Reshape"):
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return node is not None and node.op_type == "Gather" and constant_of(node.inputs[0]) is not None


def ports_of_form(model: ir.Model, portable: Graph) -> Graph | None:
    """Return the ports of a form, or None where they are not those of the portable graph."""
    inputs, outputs = (
        [_port(value, ports) for value in values]
        for values, ports in (
            (model.graph.inputs, portable.inputs),
            (model.graph.outputs, portable.outputs),
        )
    )
    found = [port for port in (*inputs, *outputs) if port is not None]
    if len(found) < len(portable.inputs) + len(portable.outputs):
        return None
    return Graph(tuple(found[: len(inputs)]), tuple(found[len(inputs) :]))


def _port(value: ir.Value, ports: tuple[Port, ...]) -> Port | None:
    port = next((port for port in ports if port.name == value.name), None)
    shape = shape_of(value)
    if port is None or shape is None or None in shape:
        return None
    return with_unit_axes(port, tuple(size for size in shape if size is not None))


def _weight_bytes(model: ir.Model) -> int:
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in weights if tensor is not None)
