"""The parts of `benchmarks/gpu.py`; each yields rows of results as it measures them."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu_models import Case, inputs_of
from edgernn.errors import EdgernnError
from edgernn.runtime.device_transfer import pinned_memory
from edgernn.runtime.io_binding import TensorBuffer
from edgernn.runtime.measure.timing import Times, measure
from edgernn.runtime.providers import find_provider, node_places, start_session
from edgernn.runtime.sessions import Sessions, session_options
from edgernn.runtime.stream import Stream

__all__ = ["PARTS", "Setting"]

Row = dict[str, Any]

_KINDS = ("LSTM", "GRU", "RNN")
_HIDDEN = (128, 256, 512, 1024, 2048)
_PUBLISHED = (
    *(("LSTM", size, 25) for size in (512, 1024, 2048)),
    *(("LSTM", 1536, 50), ("GRU", 1024, 1500), ("GRU", 2048, 1500), ("GRU", 2816, 1500)),
)
_MOST_ERROR = {"float32": 1e-4, "float16": 2e-2}
_ROUNDS = 10
_STEPS = 50


@dataclass(frozen=True)
class Setting:
    """Where and how a part runs.

    Attributes:
        provider: The provider of edgernn; eager torch runs on the same device.
        folder: Where artifacts are kept from part to part.
        quick: Whether small models are enough, to test the program itself.
    """

    provider: str
    folder: Path
    quick: bool = False

    @property
    def device(self) -> str:
        """Torch's device."""
        return "cuda" if self.provider == "cuda" else "cpu"

    def sizes(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Return sizes, or one small one."""
        return (16,) if self.quick else full

    def case(self, kind: str, hidden: int, layers: int = 1, precision: str = "float32") -> Case:
        """Return a model, small if that is enough."""
        return Case(self.folder, kind, min(hidden, 16) if self.quick else hidden, layers, precision)


def models(setting: Setting) -> Iterator[Row]:
    """Export the models of the other parts, several at a time."""
    sizes = {
        ("LSTM", 128, 2),
        ("LSTM", 256, 3),
        *((kind, 256, n) for kind in _KINDS for n in (1, 2)),
    }
    sizes |= {(kind, hidden, 1) for kind in ("LSTM", "GRU") for hidden in _HIDDEN}
    sizes |= {("LSTM", 32, 1), *((kind, hidden, 1) for kind, hidden, _ in _PUBLISHED)}
    wanted = {
        case.path: case
        for precision in _MOST_ERROR
        for case in (setting.case(*size, precision) for size in sizes)
    }
    largest_first = sorted(wanted.values(), key=lambda case: -case.hidden)
    workers = min(8, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("spawn"), _use_one_thread) as processes:
        yield from processes.map(_export, largest_first)


def _use_one_thread() -> None:
    torch.set_num_threads(1)


def _export(case: Case) -> Row:
    began = time.monotonic()
    case.artifact()
    return {**case.facts, "seconds": time.monotonic() - began}


def parity(setting: Setting) -> Iterator[Row]:
    """Compare whole, by steps and by chunks with eager torch on the CPU, in float32."""
    for precision in ("float32", "float16"):
        for kind in _KINDS:
            for layers in (1, 2):
                case = setting.case(kind, 256, layers, precision)
                yield {**case.facts, **_differences(setting, case)}


def _differences(setting: Setting, case: Case) -> Row:
    x = inputs_of(case, 3, 200)
    with torch.inference_mode():
        expected = case.module(torch.from_numpy(x).float()).numpy()
    try:
        model = case.load(setting.provider)
        stepped, chunked = model.stream(3), model.stream(3)
        found = {
            "whole": model(x),
            "steps": np.stack([stepped.step(x[:, t].copy()) for t in range(200)], 1),
            "chunks": np.concatenate([chunked.feed(x[:, :77]), chunked.feed(x[:, 77:])], 1),
        }
    except EdgernnError as error:
        return {"passed": False, "error": str(error)}
    off = {name: float(np.abs(array - expected).max()) for name, array in found.items()}
    on_device = np.abs(case.torch_whole(setting.device)(x) - expected).max()
    passed = max(off.values()) <= _MOST_ERROR[case.precision]
    return {**off, "eager on the device": float(on_device), "passed": passed}


def placement(setting: Setting) -> Iterator[Row]:
    """List the nodes of both graphs by the provider that runs them."""
    provider = find_provider(setting.provider)
    for precision in ("float32", "float16"):
        for kind in _KINDS:
            case = setting.case(kind, 256, 1, precision)
            for graph in ("sequence", "step"):
                file = case.artifact().path / f"{graph}.onnx"
                options = session_options(graph, None)
                options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
                places = list(node_places(start_session(str(file), provider, options)))
                elsewhere = Counter(name for name, place in places if place != provider.ort_name)
                counted = {"here": len(places) - elsewhere.total(), "elsewhere": dict(elsewhere)}
                yield {**case.facts, "graph": graph, **counted}


def profile(setting: Setting) -> Iterator[Row]:
    """Count what a stream's steps copy: nodes in ONNX Runtime's profile, and bytes moved by CUDA.

    A step copies its input to the device and its output back. These, h and c are of one size, so
    a state that is copied to the host would make the bytes to the host two or three times as many.
    """
    for precision in ("float32", "float16"):
        case = setting.case("LSTM", 512, 1, precision)
        x = inputs_of(case, 4, 1)[:, 0].copy()
        nodes = _profiled_nodes(setting, case, x)
        copies = sum(count for name, count in nodes.items() if name.startswith("Memcpy"))
        yield {
            **case.facts,
            "nodes per step": nodes,
            "Memcpy nodes": copies,
            "bytes of input, output, h and c each": x.nbytes,
            **_copied_bytes(setting, case, x),
        }


def _profiled_nodes(setting: Setting, case: Case, x: NDArray[Any]) -> dict[str, float]:
    """Return operator and provider → its nodes per step."""
    artifact, provider = case.artifact(), find_provider(setting.provider)
    with tempfile.TemporaryDirectory() as folder:
        options = session_options("step", None)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "step"))
        session = start_session(str(artifact.path / "step.onnx"), provider, options)
        sessions = Sessions(
            artifact.contract, provider, None, locate=artifact.checked, opened={"step": session}
        )
        stream = Stream(sessions, len(x))
        for _ in range(_STEPS):
            stream.step(x)
        events = json.loads(Path(session.end_profiling()).read_text())
    found = (event["args"] for event in events if event.get("cat") == "Node")
    names = Counter(f"{one['op_name']} on {one['provider']}" for one in found if "provider" in one)
    return {name: count / _STEPS for name, count in names.items()}


def _copied_bytes(setting: Setting, case: Case, x: NDArray[Any]) -> Row:
    """Return the bytes per step that CUDA copied in each direction."""
    if setting.device != "cuda":
        return {}
    from torch.profiler import ProfilerActivity

    stream = case.load(setting.provider).stream(len(x))
    stream.step(x)
    with tempfile.TemporaryDirectory() as folder:
        with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiler:
            for _ in range(_STEPS):
                stream.step(x)
            torch.cuda.synchronize()
        file = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    copied: Counter[str] = Counter({"to host": 0, "to device": 0})
    for event in events:
        if event.get("cat") == "gpu_memcpy":
            ends = {"HtoD": "to device", "DtoH": "to host", "DtoD": "on the device"}
            way = next((way for end, way in ends.items() if end in event["name"]), "elsewhere")
            copied[way] += event["args"].get("bytes", 0)
    return {f"bytes {way} per step": total / _STEPS for way, total in copied.items()}


def graphs(setting: Setting) -> Iterator[Row]:
    """Measure one step of one stream, plain and captured as a CUDA graph, beside eager torch."""
    for precision in ("float32", "float16"):
        for kind in ("LSTM", "GRU"):
            for hidden in setting.sizes(_HIDDEN):
                case = setting.case(kind, hidden, 1, precision)
                yield {**case.facts, "batch": 1, **_step_times(setting, case, 1, captured=True)}


def published(setting: Setting) -> Iterator[Row]:
    """Measure published sizes: whole sequences at batch 1, and steps of several layers with p99."""
    for layers, hidden in ((2, 128), (3, 256)):
        case = setting.case("LSTM", hidden, layers)
        yield {**case.facts, "steps": 1, **_step_times(setting, case, 1, captured=True)}
    for precision in ("float32", "float16"):
        for kind, hidden, steps in _PUBLISHED:
            case = setting.case(kind, hidden, 1, precision)
            yield {**case.facts, "steps": steps, **_whole_times(setting, case, 1, steps)}


def grid(setting: Setting) -> Iterator[Row]:
    """Measure steps, and sequences of 100 steps, for sizes and batches, beside eager torch."""
    batches = (1, 4) if setting.quick else (1, 64, 4096)
    for batch, kind, hidden in itertools.product(
        batches, ("LSTM", "GRU"), setting.sizes((128, 512, 2048))
    ):
        for precision in ("float32", "tf32") if batch == batches[-1] else ("float32",):
            case = setting.case(kind, hidden, 1, precision)
            row = {**case.facts, "batch": batch}
            yield {**row, "steps": 1, **_step_times(setting, case, batch)}
            if batch * hidden <= 2**19:  # 200 MB of inputs
                yield {**row, "steps": 100, **_whole_times(setting, case, batch, 100)}


def pool(setting: Setting) -> Iterator[Row]:
    """Measure a pool in which all streams step, by one array and by an array for each stream.

    Beside it is one stream of the same batch, which is the least that a pool can take.
    """
    count = 50 if setting.quick else 10_000
    for hidden in setting.sizes((32, 128, 256)):
        case = setting.case("LSTM", hidden)
        model, x = case.load(setting.provider), inputs_of(case, count, 1)[:, 0].copy()
        streams = model.pool(capacity=count)
        given = {streams.open(): row for row in x}
        batched = model.stream(count)
        calls = {
            "pool": partial(streams.step, x),
            "pool by stream": partial(streams.step, given),
            "one stream": partial(batched.step, x),
        }
        times = measure(calls, _ROUNDS, seconds=4)
        rates = {f"steps/s {name}": count / one.median for name, one in times.items()}
        yield {**case.facts, "streams": count, **_figures(times), **rates}


def pinned(setting: Setting) -> Iterator[Row]:
    """Measure copies of 10 MB through ordinary memory, memory registered with CUDA, and pinned one.

    Only providers that are registered as plug-ins have pinned memory, which the library of CUDA can
    be as well; `edgernn` does not do this.
    """
    if setting.provider != "cuda":
        return
    import onnxruntime

    onnxruntime.preload_dlls()
    library = Path(onnxruntime.__file__).parent / "capi/libonnxruntime_providers_cuda.so"
    device, shape = find_provider("cuda").device, (10_000, 256)
    array = np.zeros(shape, np.float32)
    for kind in ("ordinary", "registered", "pinned"):
        if kind == "registered":
            runtime = ctypes.CDLL(f"libcudart.so.{torch.version.cuda.split('.')[0]}")
            address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
            code = runtime.cudaHostRegister(address, size, 0)
            if code:
                yield {"memory": kind, "error": f"cudaHostRegister returned {code}"}
                continue
        if kind == "pinned":
            onnxruntime.register_execution_provider_library("edgernn_cuda", str(library))
        buffer = TensorBuffer(shape, "float32", device)
        calls = {"write": partial(buffer.write, array), "read": buffer.read}
        found = pinned_memory(device) is not None
        yield {"memory": kind, "found": found, **_figures(measure(calls, _ROUNDS, seconds=2))}


def _step_times(setting: Setting, case: Case, batch: int, captured: bool = False) -> Row:
    """Return the times of a step in µs, from an array on the host to one on the host."""
    x = inputs_of(case, batch, 1)[:, 0].copy()
    calls: dict[str, Callable[[], Any]] = {
        "edgernn": partial(case.load(setting.provider).stream(batch).step, x),
        "eager": partial(case.torch_step(batch, setting.device), x),
    }
    notes: Row = {}
    if captured and setting.provider == "cuda":
        stream = case.load("cuda", enable_cuda_graph=1).stream(batch)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stream.step(x)
        notes = {"graph": "; ".join(str(one.message) for one in caught) or "captured"}
        calls["captured"] = partial(stream.step, x)
    return {**_figures(measure(calls, _ROUNDS, seconds=1.5)), **notes}


def _whole_times(setting: Setting, case: Case, batch: int, steps: int) -> Row:
    """Return the times of whole sequences in µs, from an array on the host to one on the host."""
    x = inputs_of(case, batch, 20 if setting.quick else steps)
    calls = {
        "edgernn": partial(case.load(setting.provider), x),
        "eager": partial(case.torch_whole(setting.device), x),
    }
    return _figures(measure(calls, _ROUNDS, seconds=1.5))


def _figures(times: dict[str, Times]) -> Row:
    """Return median and 99th percentile in µs."""
    figures: Row = {f"µs {name}": one.median * 1e6 for name, one in times.items()}
    return figures | {f"p99 {name}": one.percentile(99) * 1e6 for name, one in times.items()}


PARTS: dict[str, tuple[Callable[[Setting], Iterator[Row]], float]] = {
    "models": (models, 100),
    "parity": (parity, 60),
    "placement": (placement, 30),
    "profile": (profile, 30),
    "published": (published, 75),
    "pool": (pool, 45),
    "graphs": (graphs, 60),
    "grid": (grid, 75),
    "pinned": (pinned, 20),
}
"""Name → the function, and the seconds that it may take; the most valuable first."""
