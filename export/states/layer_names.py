"""The names of layers, which states and nodes of graphs are called after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from edgernn.export.ir.call_nodes import call_nodes, kind_of_call, weights_of
from edgernn.export.ir.operator_kinds import LOOP
from edgernn.export.ir.recurrent_operators import OPERATORS, Input

__all__ = ["name_layers", "name_operator_layers"]


def name_layers(*models: ir.Model) -> None:
    """Name the calls in graphs as `trace` leaves them after the paths of their layers.

    A name is in the metadata `layer` of its node, dots as underscores. Names are unique over the
    graphs of one model: the second `rnn` is `rnn_2`.
    """
    nodes = [node for model in models for node in call_nodes(model.graph)]
    _write_unique([(node, _module_of_call(node).replace(".", "_")) for node in nodes])


def name_operator_layers(nodes: Sequence[ir.Node]) -> None:
    """Name nodes of somebody else's graph after their layers, or after their operators.

    The module of a layer, where one is found, is in the metadata `scope` too.
    """
    names: list[tuple[ir.Node, str]] = []
    for node in nodes:
        scope = re.sub(r"\W+", "_", _module_of_operator(node)).strip("_")
        if scope:
            node.metadata_props["scope"] = scope
        names.append((node, scope or node.op_type.lower()))
    _write_unique(names)


def _write_unique(names: Sequence[tuple[ir.Node, str]]) -> None:
    counts = Counter[str]()
    for node, name in names:
        counts[name] += 1
        node.metadata_props["layer"] = name if counts[name] == 1 else f"{name}_{counts[name]}"


def _module_of_call(node: ir.Node) -> str:
    """Return the module path of the layer that a call belongs to, from its weights' names."""
    if node.op_type == LOOP:
        return LOOP
    for value in weights_of(node):
        name = (value.name if value is not None else None) or ""
        path = name.removeprefix("module.").rpartition(".")[0]
        if name.startswith("module.") and path:
            return path.partition(".parametrizations")[0]
    return kind_of_call(node).function


def _module_of_operator(node: ir.Node) -> str:
    """Return the path of a node's layer, from its own name or from those of its weights.

    The node `/encoder/rnn/LSTM` is of `/encoder/rnn`, the weight `encoder.rnn.weight_ih_l0` of
    `encoder.rnn`; torch's newer exporter lists the modules around a node in its metadata.
    """
    modules = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    if len(modules) > 1:
        return str(modules[-2])
    name = node.name or ""
    if "/" in name.strip("/"):
        return name.strip("/").rpartition("/")[0]
    if name and not _GENERATED.fullmatch(name):
        return name
    for value in node.inputs[Input.W : Input.SEQUENCE_LENS]:
        path = (value.name or "" if value is not None else "").rpartition(".")[0]
        if path:
            return path
    return ""


_OPERATORS = "|".join(name for one in OPERATORS for name in (one, one.lower()))
_GENERATED = re.compile(rf"(node|n\d*|)_?({_OPERATORS})?[_\d]*")
