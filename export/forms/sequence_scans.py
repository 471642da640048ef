"""A sequence graph with some of its layers as Scans.

portable    x → RNN → y
form        x → MatMul with W, at all steps at once → Scan of Gemm and Tanh → y

ONNX Runtime's RNN operator multiplies the sequences of a batch one by one.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.recurrent_operators import recurrent_nodes
from edgernn.export.lower.layer_scan import write_layer_as_scan

__all__ = ["sequence_scans"]


def sequence_scans(sequence: ir.Model, names: Collection[str]) -> ir.Model:
    """Return a sequence graph with the layers of these names as Scans; it is not changed.

    Raises:
        UnsupportedModelError: A layer cannot be written as a Scan.
    """
    model = sequence.clone()
    for node in recurrent_nodes(model.graph):
        if node.name in names:
            write_layer_as_scan(model.graph, node)
    passes.RemoveUnusedNodesPass()(model)
    passes.DeduplicateInitializersPass()(model)
    passes.NameFixPass()(model)
    return model
