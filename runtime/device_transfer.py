"""Copies of one tensor between host and device, through pinned memory where there is some.

A copy to or from ordinary memory goes through a small pinned buffer of the driver; from pinned
memory it runs at the speed of the bus.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.runtime.devices import Device
from edgernn.runtime.providers import onnxruntime

__all__ = ["Transfer", "pinned_memory"]

# Below this the driver's own buffer is as fast.
_LEAST_PINNED_BYTES = 64 * 1024


class Transfer:
    """Writes and reads a tensor that is on a device.

    Args:
        value: The OrtValue on the device.
        shape: Its shape.
        dtype: Its dtype.
        device: The device.
    """

    __slots__ = ("_array", "_host", "_turn", "_value")

    def __init__(self, value: Any, shape: tuple[int, ...], dtype: str, device: Device) -> None:
        self._value, self._turn = value, device.turn
        self._host, self._array = None, None
        if math.prod(shape) * np.dtype(dtype).itemsize >= _LEAST_PINNED_BYTES:
            memory = pinned_memory(device)
            if memory is not None:
                self._host = onnxruntime().OrtValue.ortvalue_from_shape_and_type(
                    shape, np.dtype(dtype).type, memory_info=memory
                )
                self._array = self._host.numpy()  # shares the memory

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array of the tensor's shape and dtype to the device."""
        if self._array is not None:
            self._array[...] = array
            array = self._array
        with self._turn:
            self._value.update_inplace(array)

    def read(self) -> NDArray[Any]:
        """Return a copy of the tensor on the host."""
        with self._turn:
            if self._host is None or self._array is None:
                found: NDArray[Any] = self._value.numpy()
                return found if found.flags.owndata else found.copy()
            self._host.update_inplace(self._value)
        copied: NDArray[Any] = self._array.copy()
        return copied


def pinned_memory(device: Device) -> Any | None:
    """Return ONNX Runtime's description of host memory pinned for a device; None without any.

    Only execution providers that ONNX Runtime lists as plug-ins have one.
    """
    ort = onnxruntime()
    if not hasattr(ort, "get_ep_devices"):
        return None
    kind = ort.OrtDeviceMemoryType.HOST_ACCESSIBLE
    found = [
        memory
        for one in ort.get_ep_devices()
        if (memory := one.memory_info(kind)) is not None
        and memory.name.lower().startswith(device.memory)
        and memory.device_id == device.id
    ]
    return found[0] if found else None
