"""The rules for states with several rows for each sequence of the batch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.states.folded_batch import (
    FoldedBatch,
    folded_axis,
    unfold_input,
    unfold_output,
)

INSIDE = FoldedBatch(axis=1, outer=1, inner=3)
OUTSIDE = FoldedBatch(axis=1, outer=3, inner=1)
BOTH = FoldedBatch(axis=0, outer=2, inner=3)


@pytest.mark.parametrize(
    ("folded", "torch_shape", "port_shape", "batch_axis"),
    [
        (INSIDE, (2, 12, 5), (2, 4, 3, 5), 1),
        (OUTSIDE, (2, 12, 5), (2, 3, 4, 5), 2),
        (BOTH, (24, 5), (2, 4, 3, 5), 1),
    ],
)
def test_the_port_has_the_batch_as_an_axis_of_its_own(
    folded: FoldedBatch,
    torch_shape: tuple[int, ...],
    port_shape: tuple[int, ...],
    batch_axis: int,
):
    """The numbers keep torch's order, and fold back to torch's state."""
    state = np.arange(np.prod(torch_shape)).reshape(torch_shape)
    port = folded.unfold(state)
    assert port.shape == port_shape
    assert port_shape[folded.batch_axis] == 4
    assert folded.batch_axis == batch_axis
    assert port.ravel().tolist() == state.ravel().tolist()
    np.testing.assert_array_equal(folded.fold(port), state)


@pytest.mark.parametrize(
    ("shape", "axis", "batch", "found"),
    [
        ((1, "5*batch", 8), 1, None, 1),
        ((1, "batch*5", 8), 1, None, 1),
        (("batch*5", 8), None, None, 0),
        ((1, "batch", 8), 1, None, None),
        ((1, "batch*sequence", 8), 1, None, None),
        ((1, "5*sequence", 8), 1, None, None),
        (("sequence", "5*batch", 8), 1, None, None),
        ((1, 10, 8), 1, 2, 1),
        ((1, 2, 8), 1, 2, None),  # a row for each
        ((1, 5, 8), 1, 2, None),
        ((1, 10, 8), 1, None, None),
        ((1, 10, 8), None, 2, None),
    ],
)
def test_rows_are_a_multiple_of_the_batch(
    shape: tuple[int | str, ...], axis: int | None, batch: int | None, found: int | None
):
    """No other axis is dynamic, and a constant batch is known."""
    assert folded_axis(ir.Value(shape=ir.Shape(shape)), axis, batch) == found


@pytest.mark.parametrize(("rows", "batch"), [("3*batch", "batch"), (12, 4)])
def test_ports_take_the_place_of_states_in_torchs_shape(rows: int | str, batch: int | str):
    """Inside, the graph goes on in torch's shape; ports keep their names and places."""
    x, h = (ir.val(name, ir.DataType.FLOAT, [2, rows, 5]) for name in ("x", "h_in"))
    node = ir.node("Add", [x, h])
    after = node.outputs[0]
    after.name, after.shape, after.type = "h_out", h.shape, h.type
    graph = ir.Graph([x, h], [after], nodes=[node])

    unfold_input(graph, h, INSIDE)
    unfold_output(graph, after, INSIDE)

    ports = [*graph.inputs, *graph.outputs]
    assert [port.name for port in ports] == ["x", "h_in", "h_out"]
    assert [list(port.shape or ()) for port in ports[1:]] == [[2, batch, 3, 5]] * 2
    assert [one.op_type for one in graph] == ["Reshape", "Add", "Reshape"]
    inside = node.inputs[1]
    assert inside is not None
    assert list(inside.shape or ()) == list(after.shape or ()) == [2, rows, 5]
