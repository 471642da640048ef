"""The states of many streams: one tensor per state, in blocks that a graph reads in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract, Port
from edgernn.runtime.providers import onnxruntime

__all__ = ["PoolStates", "Rows", "StateLayout"]

Arrays = dict[str, NDArray[Any]]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class StateLayout:
    """How the tensor of a state is laid out.

    Attributes:
        port: The state's port.
        initial: The initial value of one row, `(before, after)`.
        before: The number of values along the axes before the batch.
        after: The number of values along the axes after it.
    """

    port: Port
    initial: NDArray[Any]
    before: int
    after: int

    @classmethod
    def of(cls, port: Port, initial: NDArray[Any]) -> StateLayout:
        """Return the layout for a port that has a batch axis, and an initial value for batch 1."""
        axis = port.shape.index(BATCH)
        before = math.prod(initial.shape[:axis])
        flat = initial.reshape(before, math.prod(initial.shape[axis + 1 :]))
        return cls(port, flat, before, flat.shape[1])

    def shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the port for a batch."""
        return tuple(batch if size == BATCH else int(size) for size in self.port.shape)


class PoolStates:
    """The rows of a pool, one for each stream, in the host's memory.

    Row `r` is row `r % size` of block `r // size`. A tensor has the shape
    `(slots, before, size, after)`: each slot holds a block in the order of the state's port for a
    batch of `size`. There is one slot more than blocks: a graph reads a block in its slot and
    writes the spare slot, and then the block is there.

    Attributes:
        size: The number of rows of a block.
        hops: The hops that each row has run.
        defined_after: The `hops` of each row from which all outputs are defined.
    """

    def __init__(self, contract: Contract, size: int) -> None:
        self.size = size
        self._count(np.zeros((0, 2), np.int64))
        self._layouts = {
            state.name: StateLayout.of(contract.state_ports[state.name], contract.initial(state))
            for state in contract.states
        }
        self._slots = np.zeros(0, np.int64)  # block → its slot
        self._spare = 0
        self._tensors: Arrays = {
            name: np.zeros((1, layout.before, size, layout.after), layout.port.dtype)
            for name, layout in self._layouts.items()
        }
        self._values: dict[tuple[str, int], Any] = {}
        self._flats: list[tuple[NDArray[Any], StateLayout]] = []  # the tensors, flat

    @property
    def rows(self) -> int:
        """The number of rows that there is room for."""
        return len(self._slots) * self.size

    @property
    def nbytes(self) -> int:
        """The bytes of the tensors."""
        slots = len(self._slots) + 1
        return slots * self.size * sum(layout.initial.nbytes for layout in self._layouts.values())

    def grow(self, rows: int) -> None:
        """Make room for at least `rows` rows; may be run again where it was interrupted."""
        blocks, before = -(-rows // self.size), len(self._slots)
        self._resize(blocks + 1)
        grown = np.zeros((blocks * self.size, 2), np.int64)
        grown[: self.rows] = self._counts[: self.rows]
        self._count(grown)
        self._slots = np.concatenate([self._slots, np.arange(before + 1, blocks + 1)])

    def _count(self, counts: NDArray[np.int64]) -> None:
        self._counts, self.hops, self.defined_after = counts, counts[:, 0], counts[:, 1]

    def start(self, row: int, undefined: int) -> None:
        """Give a row the initial state.

        Args:
            row: The row.
            undefined: The number of first hops in which some output is not defined.
        """
        self._start(row)
        self.hops[row], self.defined_after[row] = 0, undefined

    def move(self, source: int, target: int) -> None:
        """Copy a row to another."""
        self._move(source, target)
        self._counts[target] = self._counts[source]

    def read(self, rows: Rows) -> Arrays:
        """Return a copy of the states of rows, in the shapes of their ports."""
        arrays = {
            name: np.empty(layout.shape(len(rows)), layout.port.dtype)
            for name, layout in self._layouts.items()
        }
        self.gather(rows, arrays)
        return arrays

    def gather(self, rows: Rows, into: Mapping[str, NDArray[Any]]) -> None:
        """Copy rows into C-contiguous arrays of the shapes of the ports."""
        for (flat, layout), name in zip(self._flats, self._layouts, strict=True):
            out = into[name].reshape(-1, layout.after)
            np.take(flat, self._index(rows, layout.before), 0, out=out, mode="clip")

    def scatter(self, rows: Rows, states: Mapping[str, NDArray[Any]]) -> None:
        """Copy arrays of the shapes of the ports into rows."""
        for (flat, layout), name in zip(self._flats, self._layouts, strict=True):
            flat[self._index(rows, layout.before)] = states[name].reshape(-1, layout.after)

    def in_place(self, block: int) -> tuple[dict[str, Any], dict[str, Any], Callable[[], None]]:
        """Return what a graph needs to run a block in place.

        Returns:
            Name of a state → the OrtValue to read; the same to write; and the function that makes
            what was written the block, which may be called again where it was interrupted.
        """
        slot, spare = int(self._slots[block]), self._spare
        before = {name: self._value(name, slot) for name in self._layouts}
        after = {name: self._value(name, spare) for name in self._layouts}
        return before, after, partial(self._exchange, block, slot, spare)

    def _exchange(self, block: int, slot: int, spare: int) -> None:
        self._slots[block], self._spare = spare, slot

    def _place(self, row: int) -> tuple[int, int]:
        """Return the slot of a row, and its place there."""
        block, at = divmod(row, self.size)
        return int(self._slots[block]), at

    def _index(self, rows: Rows, before: int) -> Rows:
        """Return the places of rows in a tensor of the shape `(slots*before*size, after)`."""
        blocks, at = np.divmod(rows, self.size)
        index: Rows = self._slots[blocks] * (before * self.size) + at
        if before > 1:
            index = (index + np.arange(0, before * self.size, self.size)[:, None]).ravel()
        return index

    def _resize(self, slots: int) -> None:
        """Make the tensors larger; what they hold may move in memory."""
        self._values.clear()
        self._flats.clear()
        for name, tensor in self._tensors.items():
            shape = slots, *tensor.shape[1:]
            if self.rows:
                tensor.resize(shape, refcheck=False)
            else:
                self._tensors[name] = np.zeros(shape, tensor.dtype)  # no memory before it is used
            layout = self._layouts[name]
            self._flats.append((self._tensors[name].reshape(-1, layout.after), layout))

    def _start(self, row: int) -> None:
        slot, at = self._place(row)
        for flat, layout in self._flats:
            span = layout.before * self.size
            first = slot * span + at
            flat[first : first + span : self.size] = layout.initial

    def _move(self, source: int, target: int) -> None:
        (slot, at), (other, there), size = self._place(source), self._place(target), self.size
        for flat, layout in self._flats:
            span = layout.before * size
            old, new = slot * span + at, other * span + there
            flat[new : new + span : size] = flat[old : old + span : size]

    def _value(self, name: str, slot: int) -> Any:
        """Return a slot of a state as an OrtValue."""
        value = self._values.get((name, slot))
        if value is None:
            array = self._tensors[name][slot].reshape(self._layouts[name].shape(self.size))
            value = self._values[name, slot] = onnxruntime().OrtValue.ortvalue_from_numpy(array)
        return value
