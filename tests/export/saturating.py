"""MatMulInteger as CPUs without VNNI compute it, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = NDArray[Any]


def saturated(activations: Array, weights: Array) -> Array:
    """Return activations (…, inputs) uint8 · weights (inputs, outputs) int8, summed by PMADDUBSW.

    Products of the inputs 2k and 2k + 1 are added in 16 bits with saturation, pairs in 32 bits.
    """
    a, w = activations.astype(np.int64), weights.astype(np.int64)
    if len(w) % 2:
        a = np.concatenate([a, np.zeros_like(a[..., :1])], axis=-1)
        w = np.concatenate([w, np.zeros_like(w[:1])])
    products = a[..., None] * w
    pairs = products[..., 0::2, :] + products[..., 1::2, :]
    return np.asarray(np.clip(pairs, -(2**15), 2**15 - 1).sum(-2))


def exact(a: Array, w: Array, zero: int, of_weights: int) -> Array:
    """Return (a - zero) · (w - of_weights) in 32 bits."""
    return ((a.astype(np.int64) - zero) @ (w.astype(np.int64) - of_weights)).astype(np.int32)


class _Exact(OpRun):
    op_domain = ""

    def _run(
        self, a: Array, w: Array, zero: Array, of_weights: Array | None = None
    ) -> tuple[Array]:
        return (exact(a, w, int(zero), int(of_weights or 0)),)


class _Saturating(OpRun):
    op_domain = ""

    def _run(
        self, a: Array, w: Array, zero: Array, of_weights: Array | None = None
    ) -> tuple[Array]:
        if w.dtype == np.uint8:  # another instruction, with sums of 32 bits
            return (exact(a, w, int(zero), int(of_weights or 0)),)
        offset = int(zero) * w.astype(np.int64).sum(0)
        return ((saturated(a, w) - offset).astype(np.int32),)


_Exact.__name__ = _Saturating.__name__ = "MatMulInteger"


def run(model: ir.Model, feeds: dict[str, Array], saturating: bool = False) -> list[Array]:
    """Return the outputs of a graph computed in NumPy, its products in integers exact or not."""
    product = _Saturating if saturating else _Exact
    return list(ReferenceEvaluator(ir.to_proto(model), new_ops=[product]).run(None, feeds))
