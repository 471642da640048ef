"""ONNX Runtime with a CUDA that computes on the CPU, in memory that only copies reach.

Sessions, bindings and OrtValues are real, and wrapped. A run with a graph's number captures as CUDA
graphs do: the first one runs the step three times.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["FakeCuda"]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class FakeCuda:
    """What takes the place of the module `onnxruntime`.

    Attributes:
        calls: How often memory was copied to and from the device, and graphs captured, replayed
            and released.
        started: The options of the provider of every session.
        off_by: What a captured run adds to the first output, to make it wrong.
        refuses_capture: The message of sessions that are to capture; empty where they can.
        pinned: Whether there is pinned memory.
        copies: Whether an OrtValue can be copied to another.
        reads_on_host: The inputs that are copied to the host when they are bound.
        lacks: The operators of files that stay on the CPU.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.started: list[dict[str, str]] = []
        self.off_by = 0.0
        self.refuses_capture = ""
        self.pinned = False
        self.copies = True
        self.reads_on_host: set[str] = set()
        self.lacks: set[str] = set()
        self.InferenceSession = partial(_Session, self)
        self.OrtValue = SimpleNamespace(
            ortvalue_from_shape_and_type=self._allocate,
            ortvalue_from_numpy=onnxruntime.OrtValue.ortvalue_from_numpy,
        )

    def get_available_providers(self) -> list[str]:
        """Return the providers of a build for GPUs."""
        return [CUDA, CPU]

    def preload_dlls(self) -> None:
        """Find no library to load."""

    def get_ep_devices(self) -> list[Any]:
        """Return a device without pinned memory, and with `pinned` two that have some."""
        names = [("cuda_pinned", 0), ("cuda_pinned", 1)] if self.pinned else []
        memories = [None, *(SimpleNamespace(name=name, device_id=one) for name, one in names)]
        return [SimpleNamespace(memory_info=lambda kind, one=one: one) for one in memories]

    def _allocate(
        self, shape: Any, kind: Any, device: str = "cpu", number: int = 0, memory_info: Any = None
    ) -> _Value:
        if memory_info is None:
            assert (device, number) == ("cuda", 1)
        else:
            assert memory_info.device_id == 1
            self.calls["pinned"] += 1
        return _Value(self, onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind))

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)


class _Value:
    """An OrtValue whose copies are counted."""

    def __init__(self, fake: FakeCuda, real: Any) -> None:
        self._fake, self.real = fake, real

    def update_inplace(self, data: Any) -> None:
        on_host = isinstance(data, np.ndarray)
        if not on_host and not self._fake.copies:
            raise TypeError("data must be a numpy.ndarray")
        self._fake.calls["to device" if on_host else "between"] += 1
        self.real.update_inplace(data if on_host else data.real)

    def numpy(self) -> Any:
        self._fake.calls["to host"] += 1
        return self.real.numpy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Session:
    """A session on the CPU that says it runs on CUDA."""

    def __init__(
        self, fake: FakeCuda, model: Any, options: Any, providers: list[Any], **rest: Any
    ) -> None:
        chosen = {} if isinstance(providers[0], str) else providers[0][1]  # alone for the CPU
        if chosen:
            fake.started.append(chosen)
        self._fake, self._captures = fake, chosen.get("enable_cuda_graph") == "1"
        if self._captures and fake.refuses_capture:
            raise RuntimeError(fake.refuses_capture)
        self._graphs: set[str] = set()
        self._lacks = fake.lacks if isinstance(model, str) else set()
        self._real = onnxruntime.InferenceSession(model, options, providers=[CPU], **rest)

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=CPU if node.op_type in self._lacks else CUDA,
                get_nodes=lambda node=node: [node],
            )
            for part in self._real.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]

    def get_input_memory_infos(self) -> list[Any]:
        on_host = [one.name in self._fake.reads_on_host for one in self._real.get_inputs()]
        return [SimpleNamespace(name="Cpu" if one else "Cuda") for one in on_host]

    def io_binding(self) -> Any:
        binding = self._real.io_binding()
        bind = binding.bind_ortvalue_input

        def copy_and_bind(name: str, value: Any) -> None:
            if name in self._fake.reads_on_host:
                value = onnxruntime.OrtValue.ortvalue_from_numpy(value.real.numpy().copy())
            bind(name, value)

        binding.bind_ortvalue_input = copy_and_bind
        return binding

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        if not self._captures:
            self._real.run_with_iobinding(binding)
            return
        number = options.get_run_config_entry("gpu_graph_id")
        first = number not in self._graphs
        self._graphs.add(number)
        self._fake.calls["captured" if first else "replayed"] += 1
        for _ in range(3 if first else 1):
            self._real.run_with_iobinding(binding)
        output = binding.get_outputs()[0].numpy()  # on the CPU, it shares the memory
        output += np.asarray(self._fake.off_by, output.dtype)

    def release_captured_graph(self, number: int = 0) -> None:
        self._graphs.discard(str(number))
        self._fake.calls["released"] += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
