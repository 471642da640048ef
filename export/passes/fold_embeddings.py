"""Embeddings folded into the product that multiplies them.

    ids → Gather(E) → Gemm(W, b)    becomes    ids → Gather(E·W + b)

The table of products is constant, (entries, outputs). A step then reads one row of it instead of
all of W; in exchange the file holds the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of, producer_of, replace_value
from edgernn.report import Fold

__all__ = ["fold_embeddings"]

_SMALL_TABLE = 8 << 20
"""Bytes up to which a table of products is taken even where it is larger than what it replaces."""

_NUMBER_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "int8": 4, "int4": 1.1}
"""Bytes of a number of a table in each precision; int8 leaves tables in float32, int4 in int8."""

_WEIGHT_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "int8": 1, "int4": 0.65}
"""Bytes of a weight of a product in each precision."""


@dataclass(frozen=True)
class _Lookup:
    """A product of looked-up rows: (entries, features) · (features, outputs) + bias."""

    gather: ir.Node
    product: ir.Node
    name: str
    table: NDArray[Any]
    weights: NDArray[Any]
    bias: NDArray[Any]
    table_stays: bool
    weights_stay: bool

    @property
    def folded_bytes(self) -> int:
        """The bytes of the table of products."""
        return int(len(self.table) * self.weights.shape[1] * self.table.itemsize)

    @property
    def replaced_bytes(self) -> int:
        """The bytes of what the table of products replaces."""
        return self.weights.nbytes + (0 if self.table_stays else self.table.nbytes)

    def is_folded(self, choice: str, precision: str) -> bool:
        """Say whether to fold it: by choice, else where that is smaller, or small.

        In int4 it must be smaller: who asks for it wants few bytes.
        """
        small = self.folded_bytes <= _SMALL_TABLE or self.folded_bytes < self.replaced_bytes
        if precision == "int4":
            small = self.more_bytes(precision) < 0
        return choice == "yes" or (choice == "auto" and small)

    def more_bytes(self, precision: str) -> int:
        """Return how much larger folding makes the graph in a precision."""
        numbers = len(self.table) * self.weights.shape[1]
        numbers -= 0 if self.table_stays else self.table.size
        weights = 0 if self.weights_stay else self.weights.size
        more = numbers * _NUMBER_BYTES[precision] - weights * _WEIGHT_BYTES[precision]
        return round(float(more))


def fold_embeddings(
    model: ir.Model, choice: str = "auto", precision: str = "float32"
) -> tuple[Fold, ...]:
    """Look up products instead of multiplying what was looked up, in place.

    Args:
        model: A graph in float32.
        choice: `yes`, `no`, or `auto`: where the table is smaller than what it replaces, or small.
        precision: The precision that the graph is given later, for the bytes in the result.

    Returns:
        Every embedding that can be folded, with what that costs and gains.
    """
    folds = []
    for node in tuple(model.graph):
        lookup = _lookup(node)
        if lookup is None:
            continue
        folded = lookup.is_folded(choice, precision)
        folds.append(_measured(lookup, folded, precision))
        if folded:
            _fold(model.graph, lookup)
    if any(one.folded for one in folds):
        ir.passes.Sequential(
            passes.RemoveUnusedNodesPass(),
            passes.DeduplicateInitializersPass(),
            passes.NameFixPass(),
        )(model)
    return tuple(folds)


def _lookup(product: ir.Node) -> _Lookup | None:
    """Return a product of rows that a Gather looks up, or None where it is none."""
    if product.domain or product.op_type not in ("Gemm", "MatMul"):
        return None
    gather = producer_of(product.inputs[0], "Gather")
    if gather is None or gather.attributes.get_int("axis", 0) != 0:
        return None
    if not set(product.attributes) <= {"alpha", "beta", "transB"} or any(
        product.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")
    ):
        return None
    embedding, matrix = gather.inputs[0], product.inputs[1]
    table, weights = constant_of(embedding), constant_of(matrix)
    bias = constant_of(product.inputs[2]) if len(product.inputs) > 2 else np.zeros(1, np.float32)
    if embedding is None or table is None or weights is None or bias is None:
        return None
    if table.ndim != 2 or weights.ndim != 2 or bias.ndim > 1:
        return None
    assert matrix is not None
    return _Lookup(
        gather=gather,
        product=product,
        name=embedding.name or "",
        table=table,
        weights=weights.T if product.attributes.get_int("transB", 0) else weights,
        bias=bias,
        table_stays=len(gather.outputs[0].uses()) > 1 or len(embedding.uses()) > 1,
        weights_stay=len(matrix.uses()) > 1,
    )


def _measured(lookup: _Lookup, folded: bool, precision: str) -> Fold:
    """Return what folding costs in bytes and gains in multiply-adds."""
    entries, outputs = len(lookup.table), lookup.weights.shape[1]
    return Fold(
        embedding=lookup.name,
        entries=entries,
        outputs=outputs,
        more_bytes=lookup.more_bytes(precision),
        multiply_adds=lookup.weights.size,
        folded=folded,
    )


def _fold(graph: ir.Graph, lookup: _Lookup) -> None:
    product, ids = lookup.product, lookup.gather.inputs[1]
    assert ids is not None
    exact = lookup.table.astype(np.float64) @ lookup.weights.astype(np.float64)
    exact += lookup.bias.astype(np.float64)
    builder = NodeBuilder(graph, product)
    others = list(graph.initializers.values())
    rows = builder.constant(f"{product.name}_table", exact.astype(lookup.table.dtype))
    _put_after(graph, lookup.gather.inputs[0], product.inputs[1], others)
    replace_value(product.outputs[0], builder.op("Gather", rows, ids, name=product.name or "rows"))
    graph.remove(product, safe=True)


def _put_after(
    graph: ir.Graph, embedding: ir.Value | None, weights: ir.Value | None, others: list[ir.Value]
) -> None:
    """Put the last initializer after `embedding`, where that stands after what a cell is made of.

    `others` are the initializers before it: those of a cell, then those named as the model's.
    """
    places = [others.index(one) for one in (weights, embedding) if one in others]
    for other in others[places[1] + 1 :] if places == sorted(places) and len(places) == 2 else ():
        graph.initializers[other.name or ""] = graph.initializers.pop(other.name or "")
