"""Inputs and states, checked before the call."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.check_inputs import InputCheck

IDS = Port("ids", "int64", ("batch", "sequence"), None, 10)
X = Port("x", "float32", ("batch", "sequence", 3))
CHECK = InputCheck([IDS, X], "sequence graph")
TAKES = "`ids: int64[batch, sequence]`, `x: float32[batch, sequence, 3]`"


def good(**changes):
    return {"ids": np.zeros((2, 4), np.int64), "x": np.zeros((2, 4, 3), np.float32), **changes}


def refused(check=CHECK, inputs=(), batch=None, **named):
    with pytest.raises(InputError) as caught:
        check.check(inputs, named, batch)
    return str(caught.value)


def test_sizes_of_dynamic_axes_come_back():
    """A check returns the arrays by name and every symbol's size."""
    arrays, symbols = CHECK.check((), good())
    assert list(arrays) == ["ids", "x"]
    assert symbols == {"batch": 2, "sequence": 4}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"ids": 0}, f"`x` is missing: the sequence graph takes {TAKES}."),
        (good(y=0), f"`y` is not an input of the sequence graph, which takes {TAKES}."),
    ],
    ids=["missing", "unknown"],
)
def test_names_are_the_ports_names(named, message):
    """A missing or unknown name is refused with the list of ports."""
    assert refused(**named) == message


def test_inputs_by_position_are_counted():
    """Too many inputs, or one given twice, are refused."""
    assert refused(inputs=(1, 2, 3)) == (
        f"3 inputs came by position, but the sequence graph takes 2: {TAKES}."
    )
    assert refused(inputs=(1,), ids=1, x=1) == (
        "`ids` came twice, by position and by name. Give it once."
    )
    nothing = InputCheck([], "step graph")
    assert refused(nothing, (1,)) == (
        "1 inputs came by position, but the step graph takes 0: no data inputs."
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            good(x=np.zeros((2, 3))),
            "`x: float32[batch, sequence, 3]` came with shape (2, 3): it must have 3 axes, not "
            "2. If the batch axis is missing, add it: x[None].",
        ),
        (
            good(x=np.zeros(3)),
            "`x: float32[batch, sequence, 3]` came with shape (3,): it must have 3 axes, not 1.",
        ),
        (
            good(x=np.zeros((2, 4, 5))),
            "`x: float32[batch, sequence, 3]` came with shape (2, 4, 5): axis 2 must be 3, not 5.",
        ),
        (
            good(x=np.zeros((3, 4, 3))),
            "`x: float32[batch, sequence, 3]` came with shape (3, 4, 3): axis 0 must be 2, the "
            "`batch` of `ids`, not 3.",
        ),
        (
            good(ids=np.zeros((2, 0), int)),
            "`ids: int64[batch, sequence]` came with shape (2, 0): there must be at least one "
            "step.",
        ),
        (
            good(ids=np.zeros((0, 2), int)),
            "`ids: int64[batch, sequence]` came with shape (0, 2): there must be at least one "
            "sequence.",
        ),
        (
            good(x=np.zeros((2, 4, 0))),
            "`x: float32[batch, sequence, 3]` came with shape (2, 4, 0): axis 2 must not be empty.",
        ),
    ],
    ids=["rank", "axes", "size", "symbol", "no-steps", "no-sequences", "empty"],
)
def test_shapes_are_the_ports_shapes(named, message):
    """A wrong shape is refused with the port's, the axis and the number expected there."""
    assert refused(**named) == message


@pytest.mark.parametrize(
    ("batch", "steps", "message"),
    [
        (
            2,
            5,
            "5 steps; the sequence graph takes at most 4. Give fewer, or feed a stream "
            "(model.stream().feed).",
        ),
        (2, 1, "1 step; the sequence graph takes at least 2. Give more."),
        (9, 3, "`batch` 9; the sequence graph takes at most 8. Give fewer."),
    ],
)
def test_bounds_are_kept(batch, steps, message):
    """A size that the graph does not take is refused by its name, with the bound."""
    bounds = {"most": {"sequence": 4, "batch": 8}, "least": {"sequence": 2}}
    check = InputCheck([X], "sequence graph", streams=True, **bounds)
    check.check((), {"x": np.zeros((8, 4, 3), np.float32)})
    assert refused(check, x=np.zeros((batch, steps, 3), np.float32)) == (
        f"`x: float32[batch, sequence, 3]` came with {message}"
    )


def test_full_lengths_reach_the_last_step():
    """Where the model pads to the longest sequence, one of them has all steps."""
    lengths = Port("lengths", "int64", ("batch",))
    check = InputCheck([X, lengths], "sequence graph", ["lengths"], full_lengths=["lengths"])
    x = np.zeros((2, 6, 3), np.float32)
    for given in ({"lengths": [2, 6]}, {}):
        check.check((), {"x": x, **given})
    assert refused(check, x=x, lengths=[4, 2]) == (
        "`lengths: int64[batch]` has 4 as the longest length, but the sequences of this call have "
        "6 steps, to which the model would pad. Give the first 4 steps only."
    )


def test_a_stream_fixes_the_batch():
    """Within a stream the batch is the stream's."""
    assert refused(batch=3, **good()) == (
        "`ids: int64[batch, sequence]` came with shape (2, 4): axis 0 must be 3, the `batch` of "
        "this stream, not 2."
    )


@pytest.mark.parametrize("outside", [-1, 10])
def test_ids_are_within_the_limit(outside):
    """An id below 0 or at the limit is refused with its place; Gather would take -1."""
    tokens = np.zeros((2, 4), np.int64)
    tokens[1, 2] = outside
    assert refused(**good(ids=tokens)) == (
        f"`ids: int64[batch, sequence]` has id {outside} at (1, 2); the model knows ids 0 to 9."
    )
