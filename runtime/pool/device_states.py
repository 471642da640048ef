"""The states of many streams in the memory of a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import Contract
from edgernn.runtime.devices import Device
from edgernn.runtime.io_binding import Buffers, state_buffers
from edgernn.runtime.pool.pool_states import PoolStates, Rows

__all__ = ["DeviceStates"]


class DeviceStates(PoolStates):
    """The rows of a pool on a device, a buffer for each slot of a state.

    A block that is run in place stays there. ONNX Runtime has no function for single rows, so a
    block whose rows are read or changed is copied to the host, once for any number of changes, and
    back before it runs.
    """

    def __init__(self, contract: Contract, size: int, device: Device) -> None:
        super().__init__(contract, size)
        self._contract, self._device = contract, device
        self._tensors = {}
        self._buffers: list[Buffers] = [state_buffers(contract, size, device)]
        self._copies: dict[tuple[str, int], NDArray[Any]] = {}

    def gather(self, rows: Rows, into: Mapping[str, NDArray[Any]]) -> None:
        """Copy rows into C-contiguous arrays of the shapes of the ports."""
        for name, layout in self._layouts.items():
            out = into[name].reshape(layout.before, len(rows), layout.after)
            for slot, places, at in self._by_slot(rows):
                out[:, places] = self._block(name, slot)[:, at]

    def scatter(self, rows: Rows, states: Mapping[str, NDArray[Any]]) -> None:
        """Copy arrays of the shapes of the ports into rows."""
        for name, layout in self._layouts.items():
            values = states[name].reshape(layout.before, len(rows), layout.after)
            for slot, places, at in self._by_slot(rows):
                self._block(name, slot)[:, at] = values[:, places]

    def _by_slot(self, rows: Rows) -> list[tuple[int, Rows, Rows]]:
        """Return each slot that holds some of the rows, their indices, and their places there."""
        blocks, at = np.divmod(rows, self.size)
        found = ((block, np.flatnonzero(blocks == block)) for block in np.unique(blocks))
        return [(int(self._slots[block]), index, at[index]) for block, index in found]

    def _resize(self, slots: int) -> None:
        while len(self._buffers) < slots:
            self._buffers.append(state_buffers(self._contract, self.size, self._device))

    def _block(self, name: str, slot: int) -> NDArray[Any]:
        """Return the copy on the host, which goes back to the device before the block runs."""
        copy = self._copies.get((name, slot))
        if copy is None:
            layout = self._layouts[name]
            copy = self._buffers[slot][name].read().reshape(layout.before, self.size, layout.after)
            self._copies[name, slot] = copy
        return copy

    def _start(self, row: int) -> None:
        slot, at = self._place(row)
        for name, layout in self._layouts.items():
            self._block(name, slot)[:, at] = layout.initial

    def _move(self, source: int, target: int) -> None:
        slot, at = self._place(source)
        other, there = self._place(target)
        for name in self._layouts:
            self._block(name, other)[:, there] = self._block(name, slot)[:, at]

    def _value(self, name: str, slot: int) -> Any:
        buffer, copy = self._buffers[slot][name], self._copies.get((name, slot))
        if copy is not None and slot != self._spare:
            buffer.write(copy.reshape(self._layouts[name].shape(self.size)))
        self._copies.pop((name, slot), None)  # the device has it, and a run writes the spare slot
        return buffer.value
