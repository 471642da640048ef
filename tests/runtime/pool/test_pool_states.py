"""States of many streams in one tensor each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.runtime.devices import HOST
from edgernn.runtime.pool.device_states import DeviceStates
from edgernn.runtime.pool.pool_states import PoolStates

PORTS = (
    Port("layers_in", "float32", (3, "batch", 2)),
    Port("first_in", "float32", ("batch", 4)),
    Port("count_in", "int64", ("batch",)),
)


def contract() -> Contract:
    """Return a contract of states whose batch is their first, second or only axis."""
    names = [port.name.removesuffix("_in") for port in PORTS]
    outputs = tuple(
        Port(f"{name}_out", port.dtype, port.shape) for name, port in zip(names, PORTS, strict=True)
    )
    initial = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
    states = tuple(
        State(name, f"{name}_in", f"{name}_out", initial if name == "layers" else None)
        for name in names
    )
    return Contract("f00d", "states", states, True, {"step": Graph(PORTS, outputs)})


@pytest.fixture(params=["host", "device"])
def states(request: pytest.FixtureRequest) -> PoolStates:
    """Rows in blocks of three."""
    if request.param == "device":
        return DeviceStates(contract(), 3, HOST)
    return PoolStates(contract(), 3)


def drawn(rows: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "layers": random.normal(size=(3, rows, 2)).astype(np.float32),
        "first": random.normal(size=(rows, 4)).astype(np.float32),
        "count": random.integers(0, 99, rows),
    }


def test_rows(states: PoolStates) -> None:
    """Rows in any order are read and written in the shapes of the ports."""
    states.grow(7)
    assert states.rows == 9
    values = drawn(7, 0)
    states.scatter(np.arange(7), values)
    order = np.array([6, 0, 3, 2])
    found = states.read(order)
    np.testing.assert_equal(found["layers"], values["layers"][:, order])
    np.testing.assert_equal(found["first"], values["first"][order])
    np.testing.assert_equal(found["count"], values["count"][order])


def test_a_block_in_place(states: PoolStates) -> None:
    """A graph reads the block and writes the spare slot, which then is the block."""
    states.grow(6)
    values, after = drawn(6, 0), drawn(3, 1)
    states.scatter(np.arange(6), values)
    before, spare, commit = states.in_place(1)
    np.testing.assert_equal(before["layers"].numpy(), values["layers"][:, 3:])
    for name, value in spare.items():
        value.update_inplace(after[name])
    np.testing.assert_equal(states.read(np.arange(6)), values)
    commit()
    commit()  # once more, after an interrupt
    np.testing.assert_equal(states.read(np.array([3, 4, 5])), after)
    states.start(4, 2)
    before, _, _ = states.in_place(1)
    np.testing.assert_equal(before["layers"].numpy()[:, 1], np.arange(6).reshape(3, 2))
    np.testing.assert_equal(before["first"].numpy()[[0, 2]], after["first"][[0, 2]])


def test_rows_stay_when_more_are_added(states: PoolStates) -> None:
    """Also after blocks have changed their slots."""
    states.grow(3)
    values = drawn(3, 0)
    states.scatter(np.arange(3), values)
    states.hops[:3] = 1, 2, 3
    _, spare, commit = states.in_place(0)
    for name, value in spare.items():
        value.update_inplace(values[name])
    commit()
    for rows in (4, 30):
        states.grow(rows)
        np.testing.assert_equal(states.read(np.arange(3)), values)
        assert states.hops[:3].tolist() == [1, 2, 3]
        states.start(rows - 1, 5)
        assert states.read(np.array([rows - 1]))["layers"].ravel().tolist() == [0, 1, 2, 3, 4, 5]
        assert (states.hops[rows - 1], states.defined_after[rows - 1]) == (0, 5)


def test_a_row_is_moved(states: PoolStates) -> None:
    """With the hops that it has run."""
    states.grow(6)
    states.scatter(np.arange(6), drawn(6, 0))
    states.hops[5], states.defined_after[5] = 7, 9
    moved = states.read(np.array([5]))
    states.move(5, 1)
    np.testing.assert_equal(states.read(np.array([1])), moved)
    assert (states.hops[1], states.defined_after[1]) == (7, 9)
