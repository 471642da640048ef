"""Weights in int4, in blocks: products by MatMulNBits, an operator of ONNX Runtime's own.

step graph        h → Gemm(R, s)    becomes    h → MatMulNBits(R int4, bias) → Add(s)
sequence graph    LSTM(R)           becomes    LSTM((integers of R int4 - zeros) · scales)
tables            Gather(E)         becomes    GatherBlockQuantized(E int8)

Both graphs have the same integers. ONNX Runtime computes the weights of a layer that stays an
operator once, when it loads the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import State
from edgernn.export.ir.dataflow import ancestors
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, producer_of
from edgernn.export.ir.recurrent_operators import Input, input_of, is_recurrent
from edgernn.export.passes.port_values import replace_node
from edgernn.export.quantize.block_nodes import look_up, multiply, unpack
from edgernn.export.quantize.block_weights import BlockFormat, BlockWeights
from edgernn.export.quantize.choose_formats import DEFAULT, choose_formats
from edgernn.export.quantize.constant_products import ConstantProduct, constant_product, weights_key
from edgernn.export.quantize.layer_forms import still_column, write_scans
from edgernn.export.quantize.round_weights import (
    Matrix,
    bias_correction,
    round_nearest,
    round_weights,
)

__all__ = ["LEAST_INPUTS", "Moments", "quantizable_products", "to_int4"]

Moments = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Name of weights → the mean and the covariance of what they are multiplied by."""

LEAST_INPUTS = 16
"""The inputs of the smallest block; a product of fewer stays float32."""

_RATIO = 6.0
"""How many times smaller the weights of a step become, where that is possible."""

_TABLE = BlockFormat(8, 32)
"""The format of tables: a row is read alone, so that no other weight makes up for its error."""

_DOMAIN = "com.microsoft"


def quantizable_products(model: ir.Model) -> Iterator[ConstantProduct]:
    """Yield the products of a graph, and of the bodies in it, that int4 writes in blocks."""
    for node in model.graph.all_nodes():
        product = constant_product(node)
        if product is not None and len(product.weights) >= LEAST_INPUTS:
            yield product


def to_int4(models: Mapping[str, ir.Model], states: Collection[State], moments: Moments) -> None:
    """Write the weights of products, layers and tables in blocks of integers, in place.

    Args:
        models: `sequence` and, where there is one, `step` → the graph in float32.
        states: Their states.
        moments: What the products of the step graph, else of the sequence graph, multiply.
    """
    first = models.get("step") or models["sequence"]
    ends = {state.output for state in states}
    outputs = [value for value in first.graph.outputs if value.name in ends]
    in_states = set().union(*map(ancestors, outputs))
    matrices = {
        weights_key(one.weights.T): _matrix(one, moments, one.node.outputs[0] in in_states)
        for one in quantizable_products(first)
    }
    if "step" not in models:
        matrices |= {weights_key(w): Matrix.of_unknown_inputs(w) for w in _layer_weights(first)}
    formats = choose_formats(matrices, _most_bytes(first))
    writer = _Writer({key: _Rounded.of(one, formats[key]) for key, one in matrices.items()})
    for model in models.values():
        write_scans(model)
        writer.write(model)


class _Rounded:
    """A matrix, as it was and rounded.

    Attributes:
        exact: (outputs, inputs).
        weights: The same, rounded.
        correction: What the rounding takes from the bias, (outputs,).
    """

    def __init__(self, matrix: Matrix, weights: BlockWeights) -> None:
        self.exact = matrix.weights
        self.weights = weights
        self.correction = bias_correction(matrix, weights)

    @classmethod
    def of(cls, matrix: Matrix, form: BlockFormat) -> _Rounded:
        """Round a matrix."""
        return cls(matrix, round_weights(matrix, form))


class _Writer:
    """Writes the weights of graphs in blocks; equal weights are rounded once."""

    def __init__(self, rounded: dict[bytes, _Rounded]) -> None:
        self._rounded = rounded

    def write(self, model: ir.Model) -> None:
        """Write all weights of a graph, in place."""
        for product in list(quantizable_products(model)):
            self._write_product(product)
        for node in list(model.graph.all_nodes()):
            if is_recurrent(node):
                self._write_layer(node)
            elif node.op_type == "Gather" and not node.domain:
                _write_table(node)
        if any(node.domain == _DOMAIN for node in model.graph.all_nodes()):
            model.graph.opset_imports[_DOMAIN] = 1

    def _of(self, weights: NDArray[np.float32]) -> _Rounded:
        """Return weights (outputs, inputs), rounded."""
        key = weights_key(weights)
        if key not in self._rounded:
            self._rounded[key] = _Rounded.of(Matrix.of_unknown_inputs(weights), DEFAULT)
        return self._rounded[key]

    def _write_product(self, product: ConstantProduct) -> None:
        node, rounded = product.node, self._of(np.ascontiguousarray(product.weights.T))
        graph, summand = node.graph, product.summand
        assert isinstance(graph, ir.Graph)
        builder = NodeBuilder(graph, node, f"{node.outputs[0].name}_")
        bias, constant = rounded.correction, constant_of(summand)
        if constant is not None and constant.ndim == 1:
            bias, summand = bias + constant, None
        value = multiply(builder, product.x, rounded.weights, bias, "product")
        if summand is not None:
            value = builder.op("Add", value, summand, name="sum")
        replace_node(node, value)

    def _write_layer(self, node: ir.Node) -> None:
        """Give a layer that stays an operator the weights that the integers make."""
        biases = constant_of(input_of(node, Input.B))
        for place in (Input.W, Input.R):
            weights = constant_of(node.inputs[place])
            if weights is None or weights.shape[2] < LEAST_INPUTS:
                continue
            correction = self._write_weights(node, place, weights)
            if biases is not None:
                half = biases.shape[1] // 2
                part = slice(None, half) if place == Input.W else slice(half, None)
                biases = biases.copy()
                biases[:, part] += correction
        if biases is not None:
            assert isinstance(node.graph, ir.Graph)
            builder = NodeBuilder(node.graph, node, f"{node.name}_")
            node.replace_input_with(Input.B, builder.constant("B_int4", biases))

    def _write_weights(
        self, node: ir.Node, place: Input, weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Write W or R, (directions, rows, inputs); return the correction of its bias."""
        assert isinstance(node.graph, ir.Graph)
        still = still_column(weights) if place == Input.W else None
        plain = weights if still is None else weights[..., :-1]
        name = f"{node.name}_{place.name}"
        parts = [self._cover(np.ascontiguousarray(rows)) for rows in plain]
        values = [
            unpack(NodeBuilder(node.graph, node, f"{name}_{index}_"), one.weights)
            for index, one in enumerate(one for part in parts for one in part)
        ]
        builder = NodeBuilder(node.graph, node, f"{name}_")
        shape = builder.constant("shape", np.array(plain.shape, np.int64))
        value = builder.op("Concat", *values, name="rows", axis=0) if values[1:] else values[0]
        value = builder.op("Reshape", value, shape, name="values")
        if still is not None:
            value = builder.op(
                "Concat", value, builder.constant("still", still), name="all", axis=2
            )
        value.shape, value.type = ir.Shape(weights.shape), ir.TensorType(ir.DataType.FLOAT)
        node.replace_input_with(place, value)
        return np.stack([np.concatenate([one.correction for one in part]) for part in parts])

    def _cover(self, rows: NDArray[np.float32]) -> list[_Rounded]:
        """Return the rounded matrices that rows are made of: those of the step graph's products."""
        found: list[_Rounded] = []
        place = 0
        while place < len(rows):
            fits = (
                one
                for one in self._rounded.values()
                if np.array_equal(one.exact, rows[place : place + len(one.exact)])
            )
            part = next(fits, None)
            if part is None:
                return [self._of(rows)]
            found.append(part)
            place += len(part.exact)
        return found


def _write_table(node: ir.Node) -> None:
    """Read the rows of a table from int8."""
    table, (value, ids), graph = constant_of(node.inputs[0]), node.inputs, node.graph
    is_plain = table is not None and table.ndim == 2 and table.dtype == np.float32
    if not is_plain or node.attributes.get_int("axis", 0) != 0 or ids is None or value is None:
        return
    assert table is not None
    assert isinstance(graph, ir.Graph)
    if table.shape[1] < LEAST_INPUTS or not np.isfinite(table).all():
        return
    rounded = round_nearest(Matrix.of_unknown_inputs(table), _TABLE)
    builder = NodeBuilder(graph, node, f"{node.outputs[0].name}_")
    replace_node(node, look_up(builder, ids, rounded, "rows"))


def _matrix(product: ConstantProduct, moments: Moments, recurs: bool) -> Matrix:
    weights = np.ascontiguousarray(product.weights.T)
    looked_up = producer_of(product.x, "Gather") is not None
    unknown = np.zeros(len(product.weights)), np.eye(len(product.weights))
    return Matrix(weights, *moments.get(product.name, unknown), looked_up, recurs)


def _layer_weights(model: ir.Model) -> Iterator[NDArray[np.float32]]:
    """Yield the weights of the directions of layers, (rows, inputs)."""
    for node in model.graph.all_nodes():
        for place in (Input.W, Input.R) if is_recurrent(node) else ():
            weights = constant_of(node.inputs[place])
            if weights is not None and weights.shape[2] >= LEAST_INPUTS:
                still = still_column(weights) if place == Input.W else None
                yield from map(
                    np.ascontiguousarray, weights if still is None else weights[..., :-1]
                )


def _most_bytes(model: ir.Model) -> float:
    """Return the bytes of blocks with which a graph is as small as it should become.

    Its size in float32 is that with the tables of products that are folded there.
    """
    tables = {id(v): t for v, t in _tables(model)}
    before = after = 0.0
    seen: set[bytes] = set()
    for product in quantizable_products(model):
        key = weights_key(product.weights)
        if key in seen:
            continue
        seen.add(key)
        inputs, outputs = product.weights.shape
        gather = producer_of(product.x, "Gather")
        table = tables.pop(id(gather.inputs[0]), None) if gather is not None else None
        if table is None:
            before += 4 * inputs * outputs
        else:
            before += 4 * max(len(table) * outputs, inputs * outputs + table.size)
            after += _TABLE.bytes(*table.shape)
        after += 4 * outputs
    for table in tables.values():
        before, after = before + table.nbytes, after + _TABLE.bytes(*table.shape)
    return before / _RATIO - after


def _tables(model: ir.Model) -> Iterator[tuple[ir.Value, NDArray[np.float32]]]:
    for node in model.graph.all_nodes():
        table = constant_of(node.inputs[0]) if node.op_type == "Gather" else None
        if table is not None and table.ndim == 2 and table.dtype == np.float32:
            assert node.inputs[0] is not None
            yield node.inputs[0], table
