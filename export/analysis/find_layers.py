"""The layers of a graph, from the nodes that have weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeGuard

import onnx_ir as ir

from edgernn.export.analysis.cost import RECURRENT_KINDS, hidden_size
from edgernn.export.analysis.graph_patterns import all_nodes
from edgernn.export.ir.call_nodes import is_cell, kind_of_call, weights_of
from edgernn.export.ir.operator_kinds import LOOP, TORCH
from edgernn.export.ir.recurrent_operators import FUNCTIONS, Input, direction_of
from edgernn.export.ir.shapes import shape_of
from edgernn.layer import Layer

__all__ = ["layers_of"]

_OF_A_STACK = re.compile(r"(?P<stem>.+)_l\d+")


def layers_of(model: ir.Model, loops: Mapping[int, ir.Model] | None = None) -> tuple[Layer, ...]:
    """Return the layers of `model` in the order of its nodes; those in loops are among them.

    A layer that runs several times is listed once, if its name is known.

    Args:
        model: A finished graph, or one with the recurrent calls of a trace.
        loops: One iteration of each loop of a trace, by the index of the loop among its calls.
    """
    layers = enumerate(_join_stacks(_found(model, loops or {})))
    return tuple({(layer, layer.name or index): layer for index, layer in layers}.values())


def _found(model: ir.Model, loops: Mapping[int, ir.Model]) -> Iterator[Layer]:
    for node in all_nodes(model):
        if node.domain != TORCH:
            layer = _LAYERS[node.op_type](node) if node.op_type in _LAYERS else None
        elif node.op_type == LOOP:
            yield from _found(loops[node.attributes["call"].as_int()], loops)
            continue
        else:
            layer = _call(node) if node.op_type in FUNCTIONS else None
        if layer is not None:
            yield layer


def _join_stacks(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers, with those that one module of torch stacks as one: `lstm_l0`, `lstm_l1`."""
    joined: list[Layer] = []
    for layer in layers:
        stack = _OF_A_STACK.fullmatch(layer.name) if layer.kind in RECURRENT_KINDS else None
        layer = replace(layer, name=stack["stem"]) if stack else layer
        below = joined[-1] if joined else layer
        if stack and joined and (below.kind, below.name) == (layer.kind, layer.name):
            joined[-1] = replace(below, num_layers=below.num_layers + 1)
        else:
            joined.append(layer)
    return joined


def _call(node: ir.Node) -> Layer | None:
    """Return the layer or cell that a call of torch's runs."""
    input_size, output_size = (
        (shape_of(weights) or (None, None))[1] for weights in weights_of(node)[:2]
    )
    if not isinstance(input_size, int) or not isinstance(output_size, int):
        return None
    return Layer(
        kind=kind_of_call(node).operator + ("Cell" if is_cell(node) else ""),
        name=_module_of(node),
        input_size=input_size,
        output_size=output_size,
        num_layers=node.attributes["num_layers"].as_int(),
        bidirectional=bool(node.attributes["bidirectional"].as_int()),
    )


def _recurrent(node: ir.Node) -> Layer | None:
    kind = RECURRENT_KINDS[node.op_type].operator
    weights = _sizes(node, Input.W)
    if weights is None or len(weights) != 3:
        return None
    width = weights[1 if node.op_type == "DynamicQuantizeLSTM" else 2]
    both = direction_of(node) == "bidirectional"
    name = node.name or ""
    name = "" if name.startswith("node_") else name
    return Layer(kind, name, width, hidden_size(node), bidirectional=both)


def _embedding(node: ir.Node) -> Layer | None:
    sizes = _sizes(node, 0)
    if sizes is None or len(sizes) != 2 or node.attributes.get_int("axis", 0) != 0:
        return None
    return Layer("Embedding", _module_of(node), sizes[0], sizes[1])


def _product(node: ir.Node) -> Layer | None:
    sizes = _sizes(node, 1)
    if sizes is None or len(sizes) != 2:
        return None
    inputs, outputs = sizes[::-1] if node.attributes.get_int("transB", 0) else sizes
    return Layer("Linear", _module_of(node), inputs, outputs)


def _convolution(node: ir.Node) -> Layer | None:
    sizes = _sizes(node, 1)
    if sizes is None or len(sizes) < 3:
        return None
    groups, (first, second, *kernel) = node.attributes.get_int("group", 1), sizes
    backward = node.op_type == "ConvTranspose"
    kind = f"{node.op_type}{len(kernel)}d"
    widths = (first, second * groups) if backward else (second * groups, first)
    return Layer(kind, _module_of(node), *widths, kernel_size=tuple(kernel))


def _norm(node: ir.Node) -> Layer | None:
    sizes = _sizes(node, 1)
    if sizes is None or len(sizes) != 1:
        return None
    kind = node.op_type.replace("Normalization", "Norm")
    return Layer(kind, _module_of(node), sizes[0], sizes[0])


_LAYERS: Mapping[str, Callable[[ir.Node], Layer | None]] = {
    **dict.fromkeys(RECURRENT_KINDS, _recurrent),
    "Gather": _embedding,
    **dict.fromkeys(
        (
            "MatMul",
            "Gemm",
            "FusedMatMul",
            "MatMulInteger",
            "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul",
        ),
        _product,
    ),
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "LayerNormalization": _norm,
    "BatchNormalization": _norm,
    "InstanceNormalization": _norm,
    "GroupNormalization": _norm,
}


def _sizes(node: ir.Node, place: int) -> tuple[int, ...] | None:
    """Return the sizes of the constant weights at input `place`, or None where there are none."""
    value = node.inputs[place] if place < len(node.inputs) else None
    producer = None if value is None else value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        value = producer.inputs[0]
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype not in _WEIGHTS:
        return None
    return tuple(tensor.shape.numpy())


_WEIGHTS = (
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.INT8,
    ir.DataType.UINT8,
)


def _module_of(node: ir.Node) -> str:
    """Return the path of the module that a node's weights belong to; empty where no name tells.

    Torch's exporter transposes the weights of a product and gives them a name of its own. Its bias
    then tells, which is added to the product.
    """
    bias = [
        value for add, _ in node.outputs[0].uses() if add.op_type == "Add" for value in add.inputs
    ]
    names = [value.name or "" for value in (*node.inputs, *bias) if _is_weight(value)]
    paths = (name.removeprefix("module.").rpartition(".")[0] for name in names if "." in name)
    return next(paths, "").partition(".parametrizations")[0]


def _is_weight(value: ir.Value | None) -> TypeGuard[ir.Value]:
    return value is not None and value.is_initializer()
