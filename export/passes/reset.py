"""An input that says which sequences start anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgernn.contract import BATCH, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.passes.graph_ports import first_node

__all__ = ["reset_mask"]

_NAME = "reset"


def reset_mask(models: Sequence[ir.Model], states: Sequence[State]) -> None:
    """Add the input `reset`, bool (batch,), in place.

    Where it is true, a sequence starts this call from its initial state, whatever its state input
    holds (NaN too); where it is false, from its state input.

    Args:
        models: The graphs of one model.
        states: Their states.

    Raises:
        UnsupportedModelError: A state has no dynamic batch axis, or the name is taken.
    """
    for model in models:
        graph = model.graph
        if any(value.name == _NAME for value in graph.inputs):
            raise UnsupportedModelError(
                f"The model has an input `{_NAME}` of its own. Rename forward's argument."
            )
        mask = ir.Value(name=_NAME, shape=ir.Shape([BATCH]), type=ir.TensorType(ir.DataType.BOOL))
        by_name = {value.name: value for value in graph.inputs}
        builder = NodeBuilder(graph, first_node(graph))
        for state in states:
            _mask(builder, mask, by_name[state.input], state)
        place = list(graph.inputs).index(by_name[states[0].input])
        graph.inputs.insert(place, mask)


def _mask(builder: NodeBuilder, mask: ir.Value, port: ir.Value, state: State) -> None:
    """Read `port` only where the mask is false."""
    users = port.uses()
    shape = [str(getattr(size, "value", size)) for size in port.shape or ()]
    if BATCH not in shape:
        raise UnsupportedModelError(
            f"State `{port.name}` is [{', '.join(shape)}]; `{_NAME}` needs a dynamic axis "
            f"`{BATCH}` in it. Export it without --reset."
        )
    behind = len(shape) - shape.index(BATCH) - 1
    row = mask
    if behind:
        axes = builder.constant(f"{state.name}_{_NAME}_axes", np.arange(1, behind + 1))
        row = builder.op("Unsqueeze", mask, axes, name=f"{state.name}_{_NAME}")
    assert port.dtype is not None
    start = np.float32(0) if state.initial is None else state.initial
    initial = builder.constant(f"{state.name}_initial", np.asarray(start, port.dtype.numpy()))
    used = builder.op("Where", row, initial, port, name=f"{state.name}_used")
    used.shape, used.type = port.shape, port.type
    for node, index in users:
        node.replace_input_with(index, used)
