"""Graphs laid out on disk with recorded inputs, and what every runtime made of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.matrix.layers import SYMBOLS
from tests.matrix.worker import RUNS

__all__ = ["PYTHON", "SIZES", "Entry", "feeds_of", "run_all"]

PYTHON = Path(__file__).parents[2] / ".venv-matrix" / "bin" / "python"
SIZES = ((6, 2), (9, 3), (1, 1))
"""Steps and batch."""

Arrays = Mapping[str, Any]

_WORKER = Path(__file__).with_name("worker.py")
_AT_ONCE = 2
_PER_PROCESS = 12
_TIMEOUT_S = 240


@dataclass(frozen=True)
class Entry:
    """One graph in a folder of its own.

    Attributes:
        folder: Where it is, with its inputs and, after `run_all`, its outcomes.
        expected: Name of a case → the outputs that must come.
        tolerance: The largest difference allowed.
    """

    folder: Path
    expected: Mapping[str, Arrays]
    tolerance: float

    @classmethod
    def laid_out(
        cls,
        folder: Path,
        model: onnx.ModelProto,
        cases: Mapping[str, tuple[Arrays, Arrays]],
        tolerance: float,
    ) -> Entry:
        """Write a graph and its cases: by name, the inputs and the outputs that must come."""
        folder.mkdir(parents=True)
        onnx.save(model, folder / "graph.onnx")
        for case, (feeds, _) in cases.items():
            target = folder / "cases" / case
            target.mkdir(parents=True)
            for name, array in feeds.items():
                np.save(target / f"{name}.npy", array)
        return cls(folder, {case: outputs for case, (_, outputs) in cases.items()}, tolerance)

    def outcome(self, runtime: str) -> tuple[str, str]:
        """Return what became of the graph in `runtime`, and the text that shows it."""
        file = self.folder / runtime / "outcome"
        if not file.exists():
            return "aborts", "the process ended"
        text = file.read_text("utf-8")
        return ("refuses", text) if text != RUNS else self._compared(runtime)

    def _compared(self, runtime: str) -> tuple[str, str]:
        for case, arrays in self.expected.items():
            for name, wanted in arrays.items():
                came = np.load(self.folder / runtime / case / f"{name}.npy")
                if came.shape != wanted.shape:
                    return "misreads", f"{case} `{name}`: {came.shape}, not {wanted.shape}"
                difference = np.abs(came - wanted).max()
                if not difference <= self.tolerance:
                    return "misreads", f"{case} `{name}`: off by {difference}"
        return RUNS, ""


def feeds_of(model: onnx.ModelProto, steps: int, batch: int) -> dict[str, Any]:
    """Return random inputs for the ports of `model`, (steps, batch) in place of its symbols."""
    generator = np.random.default_rng(steps)
    sizes = {"batch": batch, "sequence": steps}
    feeds = {}
    for port in model.graph.input:
        tensor = port.type.tensor_type
        shape = [sizes.get(axis.dim_param) or axis.dim_value for axis in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if port.name == "lengths":
            feeds[port.name] = np.linspace(steps, 1, batch).astype(dtype)
        elif dtype.kind == "i":
            feeds[port.name] = generator.integers(0, SYMBOLS, shape).astype(dtype)
        else:
            feeds[port.name] = generator.standard_normal(shape).astype(dtype)
    return feeds


def run_all(entries: Iterable[Entry], runtimes: Iterable[str]) -> None:
    """Run every graph in every runtime: several graphs to a process, two processes at a time."""
    folders = [entry.folder for entry in entries]
    batches = [folders[at : at + _PER_PROCESS] for at in range(0, len(folders), _PER_PROCESS)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [pool.submit(_run, runtime, batch) for runtime in runtimes for batch in batches]
    for job in jobs:
        job.result()


def _run(runtime: str, folders: list[Path]) -> None:
    """Run a worker; where a graph ends it, another one goes on behind that graph."""
    while folders:
        worker = subprocess.run(
            [PYTHON, _WORKER, runtime, *folders],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        done = [(folder / runtime / "outcome").exists() for folder in folders]
        if all(done):
            return
        assert worker.returncode < 0, worker.stderr
        folders = folders[done.index(False) + 1 :]
