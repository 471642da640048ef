"""The rules for the ports of states: their axes, and what is said of how they were recognised."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.states.state_port import StatePort, check_state_axes, pairing_notes

STATE = StatePort("h", "h", "[1]", None, None)


def graph(*shape: int | str) -> ir.Graph:
    return ir.Graph([ir.Value(name="h_in", shape=ir.Shape(shape))], [], nodes=[])


def test_a_state_has_one_value_for_each_sequence():
    """The batch is the only axis of a state that may be dynamic."""
    check_state_axes(graph(1, "batch", 8), [STATE])
    check_state_axes(graph(1, 8), [STATE])
    check_state_axes(graph("sequence", "batch", 8), [])  # an input that is no state


@pytest.mark.parametrize(("owner", "said"), [("", ""), (" of `m.onnx`", " of `m.onnx`")])
def test_a_state_that_grows_is_refused(owner: str, said: str):
    """Each other axis is named, once, with what to give instead; so is the file where it is one."""
    with pytest.raises(UnsupportedModelError) as caught:
        check_state_axes(graph("batch", "height", "width", "height"), [STATE], owner)
    assert str(caught.value) == (
        f"State `h_in`{said} grows with `height` and `width`; of its axes only the batch may be "
        'dynamic. Give the others as numbers, such as inputs=["x:float32[batch,3,64,64]"].'
    )


@pytest.mark.parametrize(
    ("argument", "result", "said"),
    [
        ("h", "h", "what it holds after the call"),
        ("h", "[1]", "`[1]` of the result"),
        ("h", "", "the result"),
    ],
)
def test_a_pair_that_is_a_guess_is_told(argument: str, result: str, said: str):
    """A pair that nobody named and no layer shows is told with its reason and the remedy."""
    state = StatePort("h", argument, result, None, None, evidence="only it has that shape")
    assert list(pairing_notes([state, STATE])) == [
        f"`h` is a state whose next value is {said}: only it has that shape. Where that is wrong, "
        'name the states: states={"INPUT": "OUTPUT"}.'
    ]
