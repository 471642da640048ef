"""Products with constant weights, which quantization writes anew.

    x → MatMul(W) → y           x · W
    x → Gemm(W, s) → y          x · W + s

Products in the bodies of loops are among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import constant_of

__all__ = ["ConstantProduct", "constant_product", "products_by_input", "weights_key"]


@dataclass(frozen=True)
class ConstantProduct:
    """x · W + summand, with W constant.

    Attributes:
        node: The node that computes it.
        weights: (inputs, outputs), float32, finite.
        name: The name of the weights.
    """

    node: ir.Node
    weights: NDArray[np.float32]
    name: str

    @property
    def x(self) -> ir.Value:
        """The data, (…, inputs)."""
        x = self.node.inputs[0]
        assert x is not None
        return x

    @property
    def summand(self) -> ir.Value | None:
        """What is added, or None."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else None


def constant_product(node: ir.Node) -> ConstantProduct | None:
    """Return a node as a product with constant weights, or None where it is none."""
    if node.op_type not in ("MatMul", "Gemm") or node.domain:
        return None
    x, w = node.inputs[:2]
    weights = constant_of(w)
    is_scaled = any(node.attributes.get_float(name, 1.0) != 1 for name in ("alpha", "beta"))
    if is_scaled or node.attributes.get_int("transA", 0) != 0 or x is None or w is None:
        return None
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
        return None
    if node.attributes.get_int("transB", 0):
        weights = weights.T
    if not weights.size or not np.isfinite(weights).all():
        return None
    return ConstantProduct(node, weights, w.name or "")


def weights_key(weights: NDArray[np.float32]) -> bytes:
    """Return what weights have in common that are equal in shape and numbers."""
    return str(weights.shape).encode() + weights.tobytes()


def products_by_input(graph: ir.Graph) -> Iterator[list[ConstantProduct]]:
    """Yield the products of a graph and of the bodies in it, those that read one value together.

    Products of one list are in the same graph, in its order.
    """
    found: dict[tuple[ir.Graph, ir.Value], list[ConstantProduct]] = {}
    for node in graph.all_nodes():
        product = constant_product(node)
        if product is not None:
            assert isinstance(node.graph, ir.Graph)
            found.setdefault((node.graph, product.x), []).append(product)
    yield from found.values()
