"""The cost of one time step of one sequence: products, bytes of weights and of state.

Every symbolic axis counts as 1. Where the batch or the sequence of a file is constant, the cost of
a call is divided by the steps of its longest recurrent node.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, ShapeInferencePass

from edgernn.contract import BATCH
from edgernn.export.analysis.multiply_adds import (
    RECURRENT_KINDS,
    count_elements,
    count_multiply_adds,
    hidden_size,
    steps_of,
)
from edgernn.export.ir.recurrent_operators import Input
from edgernn.report import Cost

__all__ = ["PARAMETERS", "cost_of"]

PARAMETERS = "edgernn.parameters"
"""The metadata with the number of parameters of the model that a graph was made from."""

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

_NO_PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "ConvInteger": (2, 3),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "DynamicQuantizeMatMul": (2, 3),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "MatMulNBits": (2, 3, 4),
    "GatherBlockQuantized": (2, 3),
}
"""Inputs that are statistics, scales or zero points: they are read, but they are not trained."""


def cost_of(model: ir.Model) -> Cost:
    """Return the size of `model`, and the cost of one step of one sequence.

    1. Multiply-adds are those of matrix products and convolutions, not of elementwise operators.
    2. A weight is read whole, but of a table only the rows that are looked up. A weight that
       several nodes share is read once.
    3. Parameters are weights, counted as torch counts them: without the zero bias of `bias=False`,
       scales, zero points, statistics, scalars and initial states. The number in the metadata, if
       there is one, takes precedence.
    """
    known = model.metadata_props.get(PARAMETERS, "")
    model = _at_size_one(model)
    batch = _constant_batch(model)
    steps = max([batch, *map(steps_of, model.graph)])
    parameters: dict[ir.Value, int] = {}
    read: dict[ir.Value, int] = {}
    for node, place, value, tensor in _weights(model):
        parameters[value] = max(_parameters(node, place, tensor), parameters.get(value, 0))
        read[value] = max(_bytes_read(node, place, tensor, steps), read.get(value, 0))
    return Cost(
        parameters=int(known) if known.isdecimal() else sum(parameters.values()),
        multiply_adds=count_multiply_adds(model.graph) // steps,
        weight_bytes=sum(read.values()),
        state_bytes=_state_bytes(model) // batch,
    )


def _constant_batch(model: ir.Model) -> int:
    """Return the number that the contract calls the batch, 1 where there is none."""
    for value in model.graph.inputs:
        axes = model.metadata_props.get(f"edgernn.axes.{value.name}", "").split(",")
        if BATCH in axes and value.shape is not None:
            return count_elements(value, slice(axes.index(BATCH), axes.index(BATCH) + 1))
    return 1


def _at_size_one(model: ir.Model) -> ir.Model:
    """Return a copy without functions and with 1 for every symbol, its shapes inferred."""
    model = model.clone()
    InlinePass()(model)
    for graph in model.graphs():
        for value in graph.inputs:
            if value.shape is not None:
                value.shape = ir.Shape([s if isinstance(s, int) else 1 for s in value.shape])
        for node in graph:
            for value in node.outputs:
                if value.shape is not None and not value.shape.is_static():
                    value.shape = None
    with _unlogged(ShapeInferencePass.__module__):
        ShapeInferencePass(check_type=False, strict_mode=False)(model)
    return model


@contextlib.contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """Keep a logger quiet: a shape that cannot be inferred, from a foreign operator, is no news."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _weights(model: ir.Model) -> Iterator[tuple[ir.Node, int, ir.Value, ir.TensorProtocol]]:
    """Yield every input of a node that is a weight: node, index, value and tensor."""
    for node in model.graph.all_nodes():
        kind = RECURRENT_KINDS.get(node.op_type)
        states = kind.initial_states if kind else ()
        for place, value in enumerate(node.inputs):
            tensor = None if value is None or place in states else _weight_tensor(value)
            if value is not None and tensor is not None:
                yield node, place, value, tensor


def _weight_tensor(value: ir.Value) -> ir.TensorProtocol | None:
    """Return the constant tensor of `value` if that is a weight, else None."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or not len(tensor.shape):
        return None
    if not value.is_initializer() and tensor.size == 1:
        return None
    is_weight = tensor.dtype in _FLOATS or tensor.dtype.bitwidth <= 8
    return tensor if is_weight and tensor.dtype != ir.DataType.BOOL else None


def _bytes_read(node: ir.Node, place: int, tensor: ir.TensorProtocol, steps: int) -> int:
    if node.op_type not in ("Gather", "GatherBlockQuantized") or place == 1:
        return tensor.nbytes
    axis = node.attributes.get_int("axis" if place == 0 else "quantize_axis", 0)
    rows = tensor.shape.numpy()[axis]
    looked_up = max(1, count_elements(node.inputs[1]) // steps)
    return tensor.nbytes * min(looked_up, rows) // rows


def _parameters(node: ir.Node, place: int, tensor: ir.TensorProtocol) -> int:
    if place in _NO_PARAMETERS.get(node.op_type, ()):
        return 0
    if node.op_type in RECURRENT_KINDS and place == Input.B and not tensor.numpy().any():
        return 0
    if node.op_type == "MatMulNBits" and place == 1:
        return node.attributes["K"].as_int() * node.attributes["N"].as_int()
    return tensor.size


def _state_bytes(model: ir.Model) -> int:
    """Return the bytes of the ports that the contract calls states, else of what nodes carry."""
    pairs = model.metadata_props.get("edgernn.states")
    if pairs is not None:
        names = {pair.split(":")[0] for pair in pairs.split(",")}
        return sum(map(_bytes, (value for value in model.graph.inputs if value.name in names)))
    return sum(map(_carried_bytes, model.graph.all_nodes()))


def _carried_bytes(node: ir.Node) -> int:
    if node.op_type in RECURRENT_KINDS:
        numbers = count_elements(node.inputs[Input.W], slice(0, 1)) * hidden_size(node)
        return numbers * _itemsize(node.inputs[Input.X]) * len(RECURRENT_KINDS[node.op_type].states)
    if node.op_type == "Scan":
        states = node.inputs[: -node.attributes.get_int("num_scan_inputs", 1)]
        return sum(map(_bytes, states))
    return 0


def _bytes(value: ir.Value | None) -> int:
    return count_elements(value) * _itemsize(value)


def _itemsize(value: ir.Value | None) -> int:
    return 4 if value is None or value.dtype is None else int(value.dtype.itemsize)
