"""ONNX Runtime with a CUDA that computes on the CPU, in memory that only copies reach.

Sessions, bindings and OrtValues are real. A run captures and replays as CUDA graphs do: the first
run of a graph's number runs the step three times, and the later ones read and write the memory of
the first, whatever is bound since.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class FakeCuda:
    """What takes the place of the module `onnxruntime`.

    Attributes:
        calls: How often memory was copied to and from the device, and graphs captured, replayed
            and released.
        off_by: What each replay adds to the first output, to make it wrong.
        pinned: Whether there is pinned memory.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.off_by = 0.0
        self.pinned = False
        self.refuses_capture = ""
        self.started: list[dict[str, str]] = []
        fake = self

        class Session(onnxruntime.InferenceSession):
            def __init__(self, model: Any, options: Any, providers: list[Any], **rest: Any) -> None:
                self.asked = providers[0]
                chosen = dict(providers[0][1]) if isinstance(providers[0], tuple) else {}
                fake.started.append(chosen)
                self.captures = chosen.get("enable_cuda_graph") == "1"
                if self.captures and fake.refuses_capture:
                    raise RuntimeError(fake.refuses_capture)
                self.graphs: set[str] = set()
                super().__init__(model, options, providers=[CPU], **rest)

            def get_providers(self) -> list[str]:
                return [CUDA, CPU]

            def get_provider_graph_assignment_info(self) -> list[Any]:
                parts = super().get_provider_graph_assignment_info()
                return [SimpleNamespace(ep_name=CUDA, get_nodes=one.get_nodes) for one in parts]

            def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
                run = super().run_with_iobinding
                if not self.captures:
                    return run(binding)
                number = options.get_run_config_entry("gpu_graph_id")
                if number not in self.graphs:
                    self.graphs.add(number)
                    fake.calls["captured"] += 1
                    run(binding)
                    run(binding)
                else:
                    fake.calls["replayed"] += 1
                run(binding)
                output = binding.get_outputs()[0].numpy()  # on the CPU, it shares the memory
                output += np.asarray(fake.off_by, output.dtype)
                return None

            def release_captured_graph(self, number: int = 0) -> None:
                self.graphs.discard(str(number))
                fake.calls["released"] += 1

        class Value(onnxruntime.OrtValue):
            @classmethod
            def ortvalue_from_shape_and_type(
                cls, shape: Any, kind: Any, device: str = "cpu", number: int = 0, **memory: Any
            ) -> Any:
                value = super().ortvalue_from_shape_and_type(shape, kind)
                if memory:
                    fake.calls["pinned"] += 1
                    return value
                assert (device, number) == ("cuda", 1)
                return value

            def update_inplace(self, data: Any) -> None:
                fake.calls["to device" if isinstance(data, np.ndarray) else "between"] += 1
                super().update_inplace(data)

            def numpy(self) -> Any:
                fake.calls["to host"] += 1
                return super().numpy()

        self.InferenceSession, self.OrtValue = Session, Value

    def get_available_providers(self) -> list[str]:
        return [CUDA, CPU]

    def preload_dlls(self) -> None:
        pass

    def get_ep_devices(self) -> list[Any]:
        names = [("cuda_pinned", 0), ("cuda_pinned", 1)] if self.pinned else []
        memories = [None, *(SimpleNamespace(name=name, device_id=one) for name, one in names)]
        return [SimpleNamespace(memory_info=lambda kind, one=one: one) for one in memories]

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)
