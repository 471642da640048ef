"""An input `reset` that says which sequences start anew from their initial state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgernn.contract import BATCH, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import known_shape
from edgernn.export.passes.port_values import batch_axis, describe_state, position_of
from edgernn.option_names import option

__all__ = ["add_reset_input"]

_NAME = "reset"


def add_reset_input(models: Sequence[ir.Model], states: Sequence[State]) -> None:
    """Add the input `reset`, bool (batch,), in place.

    Where it is true, a sequence starts this call from its initial state, whatever its state input
    holds (NaN too); where it is false, from its state input.

    Raises:
        UnsupportedModelError: A state has no dynamic batch axis, or the name is taken.
    """
    for model in models:
        inputs = model.graph.inputs
        if any(value.name == _NAME for value in inputs):
            raise UnsupportedModelError(
                f"The model has an input `{_NAME}` of its own. Rename forward's argument."
            )
        mask = ir.val(_NAME, ir.DataType.BOOL, [BATCH])
        builder = NodeBuilder(model.graph, next(iter(model.graph), None))
        masks = {0: mask}
        for state in states:
            _select_initial(builder, masks, inputs[position_of(inputs, state.input)], state)
        inputs.insert(position_of(inputs, states[0].input), mask)


def _select_initial(
    builder: NodeBuilder, masks: dict[int, ir.Value], port: ir.Value, state: State
) -> None:
    """Let nodes that read `port` read the initial state where the mask is true.

    `masks` are the axes after that of the batch → the mask with as many axes of size 1.
    """
    users = port.uses()
    axis = batch_axis(port)
    if axis is None:
        raise UnsupportedModelError(
            f"{describe_state(port)}; `{_NAME}` needs a dynamic axis `{BATCH}` in it. Export it "
            f"without {option('reset')}."
        )
    following = len(known_shape(port)) - axis - 1
    if following not in masks:
        axes = builder.constant(f"{state.name}_{_NAME}_axes", np.arange(1, following + 1))
        masks[following] = builder.op("Unsqueeze", masks[0], axes, name=f"{state.name}_{_NAME}")
    assert port.dtype is not None
    value = np.float32(0) if state.initial is None else state.initial
    initial = builder.constant(f"{state.name}_initial", np.asarray(value, port.dtype.numpy()))
    selected = _choose(builder, masks[following], initial, port, f"{state.name}_used")
    selected.shape, selected.type = port.shape, port.type
    for node, index in users:
        node.replace_input_with(index, selected)


def _choose(
    builder: NodeBuilder, condition: ir.Value, initial: ir.Value, port: ir.Value, name: str
) -> ir.Value:
    """Return `initial` where `condition` is true, else `port`.

    ONNX Runtime has no Where of bool, so flags are chosen by logic.
    """
    if port.dtype != ir.DataType.BOOL:
        return builder.op("Where", condition, initial, port, name=name)
    carried = builder.op("Not", condition, name=f"{name}_carried")
    kept = builder.op("And", carried, port, name=f"{name}_kept")
    started = builder.op("And", condition, initial, name=f"{name}_started")
    return builder.op("Or", started, kept, name=name)
