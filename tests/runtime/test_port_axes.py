"""Where a port's array has its steps and its sequences."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes


def axes(dtype: str, *shape: int | str) -> PortAxes:
    return PortAxes.of(Port("x", dtype, shape))


@pytest.mark.parametrize(
    ("found", "sequence", "batch", "features"),
    [
        (axes("float32", "batch", "sequence", 2), 1, 0, (2,)),
        (axes("float32", "sequence", "batch", 2), 0, 1, (2,)),
        (axes("float32", "sequence", 2), 0, None, (2,)),
        (axes("int64", "batch", "sequence"), 1, 0, ()),
        (axes("int64", "sequence", 1), 0, 1, ()),
        (axes("float32", "sequence", 1), 0, None, (1,)),
        (axes("float32", "sequence", 1, 4), 0, 1, (4,)),
        (axes("float32", 1, "sequence", 1), 1, 0, (1,)),
        (axes("float32", "batch", 3), None, 0, (3,)),
        (axes("float32", "batch*sequence", 3), 0, None, (3,)),
        (axes("float32", "batch", "sequence", 2, "width"), 1, 0, (2, "width")),
    ],
    ids=lambda value: str(value.port) if isinstance(value, PortAxes) else None,
)
def test_found(found, sequence, batch, features):
    """Axes are found by their names; a batch of 1 is before the features."""
    assert (found.sequence, found.batch, found.features) == (sequence, batch, features)


@pytest.mark.parametrize("shape", [("batch", "sequence", 2), ("sequence", "batch", 2)])
def test_steps_and_back(shape):
    """Steps that are split and stacked, or cut and joined, are the same array."""
    whole = axes("float32", *shape)
    array = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    steps = whole.split_steps(array, batched=True)
    np.testing.assert_array_equal(whole.stack_steps(steps), array)
    parts = [whole.slice_steps(array, 0, 1), whole.slice_steps(array, 1, 9)]
    np.testing.assert_array_equal(whole.join_chunks(parts), array)
    step = whole.slice_steps(array, 0, 1)
    assert whole.to_step(step).shape == steps[0].shape
    np.testing.assert_array_equal(whole.from_step(whole.to_step(step)), step)


@pytest.mark.parametrize(
    ("found", "shape", "sequence", "batch"),
    [
        (axes("float32", "batch", 3), ("batch", "sequence", 3), 1, 0),
        (axes("float32", 2, "batch"), ("sequence", 2, "batch"), 0, 2),
        (axes("float32", 3), ("sequence", 3), 0, None),
        (axes("float32", "sequence", "batch", 3), ("sequence", "batch", 3), 0, 1),
    ],
)
def test_with_steps(found, shape, sequence, batch):
    """A port without steps gets an axis of them, after the batch where that comes first."""
    stepped = found.with_steps()
    assert (stepped.port.shape, stepped.sequence, stepped.batch) == (shape, sequence, batch)
    assert stepped.features == found.features


def test_batch_axis_comes_and_goes():
    """A batch axis of size 1 can be added and taken away; a larger one stays."""
    whole = axes("float32", "batch", "sequence", 2)
    one, two = np.zeros((1, 3, 2)), np.zeros((2, 3, 2))
    assert whole.without_batch(one).shape == (3, 2)
    assert whole.without_batch(two).shape == (2, 3, 2)
    assert whole.with_batch(np.zeros((3, 2))).shape == (1, 3, 2)
    assert [step.shape for step in whole.split_steps(one, batched=False)] == 3 * [(2,)]


@pytest.mark.parametrize(
    ("dtype", "values", "wanted"),
    [("float32", [1, 2], [1.0, 2.0]), ("int64", [1.0, 2.0], [1, 2]), ("bool", [0, 1], [0, 1])],
)
def test_cast(dtype, values, wanted):
    """Numbers are rounded to a float dtype, and must be exact in any other."""
    cast = axes(dtype, "sequence").cast(np.array(values), "It")
    assert (cast.dtype, cast.tolist()) == (np.dtype(dtype), wanted)


@pytest.mark.parametrize("value", [0.5, np.nan, 2.0**70])
def test_inexact_cast(value):
    """A number that the dtype cannot hold is refused with the number."""
    with pytest.raises(InputError) as caught:
        axes("int64", "sequence").cast(np.array([1.0, value]), "`in`")
    assert str(caught.value) == (
        f"`in` holds {value} for `x: int64[sequence]`, which takes int64 only. "
        "Give values of that type."
    )


def test_step_graph_alone():
    """Without a sequence graph, whole sequences have the step's axes after the axis of steps."""
    h_in, h_out = (
        Port("h_in", "float32", (1, "batch", 3)),
        Port("h_out", "float32", (1, "batch", 3)),
    )
    graph = Graph(
        (Port("x", "float32", ("batch", 2)), h_in), (Port("y", "float32", ("batch", 3)), h_out)
    )
    contract = Contract("f", "m", (State("h", "h_in", "h_out"),), True, {"step": graph})
    assert input_axes(contract)["x"].port.shape == ("sequence", "batch", 2)
    assert output_axes(contract)["y"].port.shape == ("sequence", "batch", 3)
