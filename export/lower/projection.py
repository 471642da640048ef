"""LSTM layers with a projection, for which ONNX has no operator, as ONNX Scan."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common as passes

from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.ir.recurrent_operators import LSTM
from edgernn.export.lower.layer_scan import write_layer_as_scan

__all__ = ["scan_projection"]


def scan_projection(model: ir.Model) -> ir.Model:
    """Return `model` with every `edgernn::LSTM` written as one Scan for each direction.

    Args:
        model: A sequence graph; it is not changed.

    Raises:
        UnsupportedModelError: A node has an unknown direction, or weights that are not constants.
    """
    model = model.clone()
    for node in tuple(model.graph):
        if (node.domain, node.op_type) == (EDGERNN, LSTM.operator):
            write_layer_as_scan(model.graph, node)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.NameFixPass()(model)
    return model
