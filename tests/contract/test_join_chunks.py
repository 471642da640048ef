"""Outputs along their axis of steps, also where it counts sequences as well."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgernn.contract import Port
from edgernn.join_chunks import join_chunks, take_steps

BATCH, STEPS = 2, 6
VALUES = np.arange(BATCH * STEPS * 3).reshape(BATCH, STEPS, 3)
BY_STEP = VALUES.swapaxes(0, 1)
WHOLES: dict[str, tuple[tuple[int | str, ...], Any]] = {
    "batch, steps": (("batch", "sequence", 3), VALUES),
    "steps, batch": (("sequence", "batch", 3), BY_STEP),
    "frames last": (("batch", 3, "sequence//160"), VALUES.swapaxes(1, 2)),
    "samples": (("batch", "3*(sequence//160)"), VALUES.reshape(BATCH, -1)),
    "batch*steps": (("batch*sequence", 3), VALUES.reshape(-1, 3)),
    "steps*batch": (("sequence*batch", 3), BY_STEP.reshape(-1, 3)),
    "batch*frames": (("batch*(sequence//160)", 3), VALUES.reshape(-1, 3)),
}


@pytest.mark.parametrize("name", WHOLES)
def test_steps_taken_and_joined_are_the_whole(name: str) -> None:
    """The steps of a sequence stay together, whichever of batch and steps is counted first."""
    shape, whole = WHOLES[name]
    port = Port("y", "int64", shape)
    each = 3 if name == "samples" else 1
    places = [0, 1, 1, 4, STEPS]
    parts = [
        take_steps(port, whole, start * each, stop * each, BATCH)
        for start, stop in itertools.pairwise(places)
    ]
    np.testing.assert_array_equal(join_chunks(port, parts, BATCH), whole)
    second = take_steps(port, whole, each, 2 * each, BATCH)
    assert sorted(second.ravel()) == sorted(VALUES[:, 1].ravel())


def test_steps_of_a_step_graph() -> None:
    """A single step has no axis of steps, several have it."""
    frames = [VALUES[:, step] for step in range(STEPS)]
    port = Port("y", "int64", ("batch", "sequence//160", 3))
    np.testing.assert_array_equal(join_chunks(port, frames, BATCH, stepwise=True), VALUES)
    pairs = [VALUES[:, place : place + 2] for place in range(0, STEPS, 2)]
    port = Port("y", "int64", ("batch", "2*(sequence//160)", 3))
    np.testing.assert_array_equal(join_chunks(port, pairs, BATCH, stepwise=True), VALUES)


def test_an_output_of_the_last_step() -> None:
    """Without an axis of steps, the last part is the whole."""
    last = join_chunks(Port("y", "int64", ("batch", 3)), [VALUES[:, 0], VALUES[:, 1]])
    np.testing.assert_array_equal(last, VALUES[:, 1])
