"""Integer inputs as int32.

ids int64 → Gather          becomes   ids int32 → Gather
n int64 → Add               becomes   n int32 → Cast → Add
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgernn.contract import State
from edgernn.export.ir.node_builder import NodeBuilder

__all__ = ["take_int32_ids"]


def take_int32_ids(models: Sequence[ir.Model], states: Sequence[State] = ()) -> None:
    """Make every int64 input int32 but for states, which count, in place.

    A lookup in a table reads int32 ids; other nodes read them cast to int64.
    """
    for model in models:
        graph = model.graph
        for place, old in enumerate(graph.inputs):
            if old.dtype != ir.DataType.INT64 or old.name in {one.input for one in states}:
                continue
            port = ir.val(old.name, ir.DataType.INT32, old.shape)
            lookups = [use for use in old.uses() if use.node.op_type == "Gather" and use.idx == 1]
            for node, index in lookups:
                node.replace_input_with(index, port)
            if old.uses() or old.is_graph_output():
                builder = NodeBuilder(graph, next(iter(graph), None))
                wide = builder.op("Cast", port, name=f"{old.name}_int64", to=ir.DataType.INT64)
                wide.shape, wide.type = old.shape, old.type
                ir.convenience.replace_all_uses_with(old, wide, replace_graph_outputs=True)
            graph.inputs[place] = port
