"""The models of `benchmarks/gpu.py`: exported once, and run by eager torch beside edgernn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import edgernn
from edgernn.artifact import Artifact
from edgernn.runtime import Model

__all__ = ["Case", "Layers", "inputs_of"]


class Layers(torch.nn.Module):
    """Recurrent layers, (batch, sequence, hidden) to the same shape."""

    def __init__(self, kind: str, layers: int, hidden: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = getattr(torch.nn, kind)(hidden, hidden, layers, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


class Case:
    """One model: as an artifact, and in eager torch on the same device.

    Args:
        folder: Where artifacts are kept from part to part.
        kind: `LSTM`, `GRU` or `RNN`.
        hidden: The size of input and state.
        layers: Their number.
        precision: `float32`, `float16`, or `tf32`: float32 with products that round to TF32.
    """

    def __init__(
        self, folder: Path, kind: str, hidden: int, layers: int = 1, precision: str = "float32"
    ) -> None:
        self.kind, self.hidden, self.layers, self.precision = kind, hidden, layers, precision
        self._graphs = "float32" if precision == "tf32" else precision
        self.path = folder / f"{kind}-{layers}x{hidden}-{self._graphs}.edgernn"

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it in a row of results."""
        return {"model": f"{self.kind} {self.layers}x{self.hidden}", "precision": self.precision}

    @cached_property
    def module(self) -> Layers:
        """The model in eager torch, on the CPU."""
        return Layers(self.kind, self.layers, self.hidden).eval()

    def artifact(self) -> Artifact:
        """Return the artifact, exported the first time; parity is measured by its own part."""
        if not self.path.exists():
            edgernn.export_model(self.module, self.path, precision=self.precision, verify=False)
        return Artifact.open(self.path)

    def load(self, provider: str, **options: int) -> Model:
        """Load the artifact with options of the provider."""
        if self.precision == "tf32" and provider == "cuda":
            options["use_tf32"] = 1
        return edgernn.load(self.artifact().path, provider=provider, provider_options=options)

    def torch_step(self, batch: int, device: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return a step of eager torch from an array to an array; its state stays on the device."""
        module, dtype = self._on(device)
        state: Any = None

        def step(x: NDArray[Any]) -> NDArray[Any]:
            nonlocal state
            with torch.inference_mode():
                given = torch.from_numpy(x).to(device, dtype)[:, None]
                output, state = module.rnn(given, state)
                return _to_host(output[:, 0])

        return step

    def torch_whole(self, device: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return eager torch on whole sequences from an array to an array."""
        module, dtype = self._on(device)

        def whole(x: NDArray[Any]) -> NDArray[Any]:
            with torch.inference_mode():
                return _to_host(module(torch.from_numpy(x).to(device, dtype)))

        return whole

    def _on(self, device: str) -> tuple[Layers, torch.dtype]:
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        dtype = torch.float16 if self.precision == "float16" else torch.float32
        return copy.deepcopy(self.module).to(device, dtype), dtype


def inputs_of(case: Case, batch: int, steps: int) -> NDArray[Any]:
    """Return (batch, steps, hidden) with scale 1, in the dtype that the artifact takes."""
    shape = batch, steps, case.hidden
    drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
    return drawn.astype(np.float16) if case.precision == "float16" else drawn


def _to_host(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array
