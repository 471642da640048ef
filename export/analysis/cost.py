"""The cost of one time step of one sequence: products, bytes of weights and of state.

Every symbolic or unknown axis counts as 1. Where the batch or the sequence of a file is constant,
the cost of a call is divided by the steps of its longest recurrent node. A step graph, and a graph
with a dynamic axis of steps, run one step as it is: their recurrent nodes may run along other axes.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, ShapeInferencePass

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.ir.recurrent_operators import LSTM, OPERATORS, Input
from edgernn.report import Cost

__all__ = ["PARAMETERS", "RECURRENT_KINDS", "cost_of", "count_elements", "hidden_size"]

PARAMETERS = "edgernn.parameters"
"""The metadata with the number of parameters of the model that a graph was made from."""

RECURRENT_KINDS = {**OPERATORS, "DynamicQuantizeLSTM": LSTM}
"""The recurrent operators, before and after quantization by ONNX Runtime, each with its kind."""

_STEPS = tuple(1 << power for power in range(15))
"""Numbers of steps that are tried where a graph needs more than one."""

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
    one_step = _runs_one_step(model)
    sequence = _least_steps(model)
    model = _at_size_one(model, sequence)
    batch = _constant_batch(model)
    steps = batch * sequence if one_step else max([batch, *map(_steps, model.graph)])
    parameters: dict[ir.Value, int] = {}
    read: dict[ir.Value, int] = {}
    for node, place, value, tensor in _weights(model):
        parameters[value] = max(_parameters(node, place, tensor), parameters.get(value, 0))
        read[value] = max(_bytes_read(node, place, tensor, steps), read.get(value, 0))
    return Cost(
        parameters=int(known) if known.isdecimal() else sum(parameters.values()),
        multiply_adds=_multiply_adds(model.graph) // steps,
        weight_bytes=sum(read.values()),
        state_bytes=_state_bytes(model) // batch,
    )


def _runs_one_step(model: ir.Model) -> bool:
    """Return whether a graph runs one step where its dynamic axes have one entry."""
    sizes = (str(size) for value in model.graph.inputs for size in value.shape or ())
    return model.metadata_props.get("edgernn.graph") == "step" or SEQUENCE in sizes


def _constant_batch(model: ir.Model) -> int:
    """Return the number that the contract calls the batch, 1 where there is none."""
    for value in model.graph.inputs:
        axes = model.metadata_props.get(f"edgernn.axes.{value.name}", "").split(",")
        if BATCH in axes and value.shape is not None:
            return count_elements(value, slice(axes.index(BATCH), axes.index(BATCH) + 1))
    return 1


def _least_steps(model: ir.Model) -> int:
    """Return the number of steps, 1 or a few, at which no slice is one of an empty value.

    At such a slice, onnx's shape inference ends the process.
    """
    sliced = [node.inputs[0] for node in model.graph if node.op_type == "Slice"]
    shapes = [value.shape for value in sliced if value is not None and value.shape is not None]
    sizes = {str(size) for shape in shapes for size in shape if not isinstance(size, int)}
    for steps in _STEPS:
        found = (evaluate_size(size, {BATCH: 1, SEQUENCE: steps}) for size in sizes)
        if all(size is None or size > 0 for size in found):
            return steps
    return 1


def _at_size_one(model: ir.Model, sequence: int) -> ir.Model:
    """Return a copy without functions and with 1 for every symbol, its shapes inferred.

    `sequence` has that number of steps.
    """
    model = model.clone()
    InlinePass()(model)
    for graph in model.graphs():
        for value in graph.inputs:
            if value.shape is not None:
                value.shape = ir.Shape([_size(size, sequence) for size in value.shape])
        for node in graph:
            for value in node.outputs:
                if value.shape is not None and not value.shape.is_static():
                    value.shape = None
    with _unlogged(ShapeInferencePass.__module__):
        ShapeInferencePass(check_type=False, strict_mode=False)(model)
    return model


def _size(size: int | ir.SymbolicDim, sequence: int) -> int:
    """Return a size where every symbol is 1, or the sequence has several steps."""
    if isinstance(size, int):
        return size
    return (sequence > 1 and evaluate_size(str(size), {SEQUENCE: sequence})) or 1


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


def _multiply_adds(graph: ir.Graph) -> int:
    """Return the multiply-adds of one call of `graph`, bodies of Scan and Loop included."""
    return sum(map(_node_count, graph))


def _steps(node: ir.Node) -> int:
    """Return the steps that a recurrent node or Scan runs in one call, of all sequences; else 1."""
    if node.op_type in RECURRENT_KINDS:
        return count_elements(node.inputs[Input.X], slice(0, 2))
    if node.op_type == "Scan":
        return _length(node) * count_elements(node.inputs[0], slice(0, -1))
    return 1


def hidden_size(node: ir.Node) -> int:
    """Return the hidden size of a recurrent node, from its recurrent weights if it names none."""
    of_weights = count_elements(node.inputs[Input.R], slice(-1, None))
    return node.attributes.get_int("hidden_size", of_weights)


def count_elements(value: ir.Value | None, axes: slice = slice(None)) -> int:
    """Return the number of elements of `value` along `axes`."""
    return math.prod(_sizes(value)[axes])


def _sizes(value: ir.Value | None) -> list[int]:
    if value is None:
        return []
    constant = ir.convenience.get_const_tensor(value)
    shape = value.shape if constant is None else constant.shape
    return [max(1, size) if isinstance(size, int) else 1 for size in shape or ()]


def _node_count(node: ir.Node) -> int:
    bodies = [_multiply_adds(attribute.as_graph()) for attribute in _graphs(node)]
    if node.op_type == "If":
        return max(bodies)
    if bodies:
        return sum(bodies) * (_length(node) if node.op_type == "Scan" else 1)
    count = _PRODUCTS.get(node.op_type)
    return count(node) if count else 0


def _graphs(node: ir.Node) -> list[ir.Attr]:
    return [a for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _length(scan: ir.Node) -> int:
    """Return the length of the axis that `scan` goes along."""
    count = scan.attributes.get_int("num_scan_inputs", 1)
    axis = (*scan.attributes.get_ints("scan_input_axes", ()), 0)[0]
    sizes = _sizes(scan.inputs[-count])
    return sizes[axis] if sizes else 1


def _layer(node: ir.Node) -> int:
    weights = sum(count_elements(node.inputs[place]) for place in (Input.W, Input.R))
    return _steps(node) * weights


def _matrix(node: ir.Node, place: int = 1) -> int:
    """Return the count of a product with the matrix at input `place`, (inner, columns)."""
    left, right = node.inputs[0], node.inputs[place]
    sizes = _sizes(right)
    if len(sizes) <= 2:
        return count_elements(right) * max(1, count_elements(left) // (sizes or [1])[0])
    return count_elements(node.outputs[0]) * sizes[-2]


def _gemm(node: ir.Node) -> int:
    inner = -2 if node.attributes.get_int("transA", 0) else -1
    rows = count_elements(node.inputs[0]) // (_sizes(node.inputs[0]) or [1, 1])[inner]
    return rows * count_elements(node.inputs[1])


def _blocks(node: ir.Node) -> int:
    inner, columns = (node.attributes[name].as_int() for name in ("K", "N"))
    return max(1, count_elements(node.inputs[0]) // inner) * inner * columns


def _convolution(node: ir.Node, place: int = 1) -> int:
    """Return the count of a convolution with the kernels at input `place`."""
    return _positions(node.outputs[0]) * count_elements(node.inputs[place])


def _positions(image: ir.Value | None) -> int:
    return count_elements(image) // (_sizes(image) or [1, 1])[1]


def _einsum(node: ir.Node) -> int:
    terms = node.attributes.get_string("equation", "").split("->")[0].replace(" ", "").split(",")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        sizes |= zip(term, _sizes(value), strict=False)
    return math.prod(sizes.values())


_PRODUCTS: Mapping[str, Callable[[ir.Node], int]] = {
    **dict.fromkeys(RECURRENT_KINDS, _layer),
    "Gemm": _gemm,
    **dict.fromkeys(("MatMul", "FusedMatMul", "MatMulInteger"), _matrix),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _matrix),
    "QLinearMatMul": partial(_matrix, place=3),
    "MatMulNBits": _blocks,
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger"), _convolution),
    "QLinearConv": partial(_convolution, place=3),
    "ConvTranspose": lambda node: _positions(node.inputs[0]) * count_elements(node.inputs[1]),
    "Einsum": _einsum,
}
