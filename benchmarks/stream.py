"""Compare the ways to run one layer step by step: batch 1, one thread, in one process.

    python benchmarks/stream.py
    python benchmarks/stream.py --kind GRU --hidden 128 --hidden 256 --check

Every way runs the same weights. The rounds are interleaved, so that what else the machine does
meets all of them alike, and the median round counts. The clock is the process's own: on an idle
machine it is the wall's, on a busy one it stands still while others run. OpenVINO takes part where
it is installed. `bound` is the better one of two loops by hand: over the step graph in primitive
operators and, where the artifact has it, over its form with the recurrent operator. `memory` is how
long reading the weights takes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from layer import Layer
from rich.console import Console
from rich.table import Table

import edgernn
from edgernn.forms import choose_form
from edgernn.runtime.measure.limits import weight_reader
from edgernn.runtime.measure.timing import measure

Loop = Callable[[int], None]
Results = dict[tuple[str, int], dict[str, float]]

_OVERHEAD = {1: 1.2, 128: 1.1}  # from a hidden size on, stream.step : bound, at most
_RUN_SPEEDUP, _RUN_UP_TO = 2.0, 128  # run() : stream.step, at least, up to this hidden size
_SPEEDUP = {256: 9.0, 1024: 20.0}  # up to a hidden size, eager nn.LSTM : stream.step, at least
_MEMORY_SHARE, _MEMORY_FROM = 0.85, 1024  # memory : stream.step, at least, from this hidden size

_SESSIONS = 3
"""The sessions of each way in ONNX Runtime, of which the best counts: where the pages of weights
happen to lie decides how well they fit into the cache, and that is up to 3 times of its time."""


def eager_layer(layer: torch.nn.RNNBase, x: np.ndarray) -> Loop:
    """Return a loop over the layer with sequences of one step."""
    row = torch.from_numpy(x)[:, None]

    def loop(steps: int) -> None:
        state = None
        with torch.inference_mode():
            for _ in range(steps):
                _, state = layer(row, state)

    return loop


def eager_cell(layer: torch.nn.RNNBase, x: np.ndarray) -> Loop:
    """Return a loop over torch's cell with the layer's weights."""
    kind = getattr(torch.nn, f"{type(layer).__name__}Cell")
    cell = kind(layer.input_size, layer.hidden_size)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    row = torch.from_numpy(x)

    def loop(steps: int) -> None:
        state = None
        with torch.inference_mode():
            for _ in range(steps):
                state = cell(row, state)

    return loop


def session_of(file: Path) -> Any:
    """Return a session of a graph with one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def hand_run(artifact: edgernn.Artifact, x: np.ndarray) -> Loop:
    """Return a loop over session.run() that feeds the states back as arrays."""
    session, contract = session_of(artifact.checked("step")), artifact.contract
    data = contract.data_inputs("step")[0].name
    names = [state.input for state in contract.states]
    outputs = [contract.data_outputs("step")[0].name, *(s.output for s in contract.states)]

    def loop(steps: int) -> None:
        states = [contract.initial(state) for state in contract.states]
        for _ in range(steps):
            _, *states = session.run(outputs, {data: x, **dict(zip(names, states, strict=True))})

    return loop


def hand_bound(artifact: edgernn.Artifact, file: Path, x: np.ndarray) -> Loop:
    """Return a loop over two I/O bindings in turn, without any check, its output left in place."""
    session, contract = session_of(file), artifact.contract
    ports = [*session.get_inputs(), *session.get_outputs()]
    shapes = {port.name: [1 if isinstance(n, str) else n for n in port.shape] for port in ports}
    entry, result = contract.data_inputs("step")[0].name, contract.data_outputs("step")[0].name
    sides = [[contract.initial(state) for state in contract.states] for _ in range(2)]
    data, output = (np.zeros(shapes[name], np.float32) for name in (entry, result))

    def bound(before: list[np.ndarray], after: list[np.ndarray]) -> Any:
        binding = session.io_binding()
        inputs = [entry, *(state.input for state in contract.states)]
        outputs = [result, *(state.output for state in contract.states)]
        for name, array in zip(inputs, [data, *before], strict=True):
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in zip(outputs, [output, *after], strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    bindings = bound(*sides), bound(*sides[::-1])

    def loop(steps: int, _memory: object = (sides, output)) -> None:  # bindings do not own it
        for t in range(steps):
            data[:] = x
            session.run_with_iobinding(bindings[t & 1])

    return loop


def openvino_run(artifact: edgernn.Artifact, x: np.ndarray) -> Loop | None:
    """Return a loop over an OpenVINO request that feeds the states back; None without OpenVINO."""
    try:
        import openvino
    except ImportError:
        return None
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(artifact.step, "CPU", settings)
    request, contract = compiled.create_infer_request(), artifact.contract
    data = contract.data_inputs("step")[0].name
    names = [(state.input, state.output) for state in contract.states]

    def loop(steps: int) -> None:
        states = [contract.initial(state) for state in contract.states]
        for _ in range(steps):
            feeds = {entry: array for (entry, _), array in zip(names, states, strict=True)}
            results = request.infer({data: x, **feeds})
            states = [results[result] for _, result in names]

    return loop


def stream_step(artifact: edgernn.Artifact, x: np.ndarray) -> Loop:
    """Return a loop over Stream.step, all its checks included."""
    stream = edgernn.load(artifact.path).stream()

    def loop(steps: int) -> None:
        for _ in range(steps):
            stream.step(x)

    return loop


def measured(loops: dict[str, Loop], rounds: int) -> dict[str, float]:
    """Return µs per step of each loop: the median of interleaved rounds of about 10 ms each."""
    for loop in loops.values():
        loop(5)  # a session may open at the first step
    counts = {name: max(2, round(0.01 / seconds(loop, 50) * 50)) for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            times[name].append(seconds(loop, counts[name]) / counts[name] * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def seconds(loop: Loop, steps: int) -> float:
    """Return how long this process computes for the steps."""
    begin = time.process_time()
    loop(steps)
    return time.process_time() - begin


def compared(kind: str, hidden: int, rounds: int, folder: Path) -> dict[str, float]:
    """Return µs per step of every way for one layer."""
    torch.manual_seed(hidden)
    model = Layer(kind, hidden).eval()
    artifact = edgernn.export_model(
        model, folder / f"{kind}{hidden}.edgernn", inputs=(torch.zeros(2, 3, hidden),)
    )
    x = np.random.default_rng(hidden).normal(size=(1, hidden)).astype(np.float32)
    form = choose_form(artifact.forms, "step", "cpu", {"batch": 1})
    makers: dict[str, Callable[[], Loop]] = {
        "run()": lambda: hand_run(artifact, x),
        "primitives": lambda: hand_bound(artifact, artifact.checked("step"), x),
        "stream.step": lambda: stream_step(artifact, x),
    }
    if form:
        makers["operator"] = lambda: hand_bound(artifact, artifact.checked_form(form), x)
    loops = {"eager layer": eager_layer(model.rnn, x), "eager cell": eager_cell(model.rnn, x)}
    for session in range(_SESSIONS):
        loops |= {f"{name} {session}": make() for name, make in makers.items()}
    found = measured(loops, rounds)
    times = {name: found[name] for name in ("eager layer", "eager cell")}
    for name in makers:
        times[name] = min(found[f"{name} {session}"] for session in range(_SESSIONS))
    openvino = openvino_run(artifact, x)  # in rounds of its own: its threads spin on after a step
    times |= measured({"OpenVINO": openvino}, rounds) if openvino else {}
    times["bound"] = min(times["primitives"], times.get("operator", times["primitives"]))
    times["memory"] = memory_time(artifact, rounds) if hidden >= _MEMORY_FROM else float("nan")
    return times


def memory_time(artifact: edgernn.Artifact, rounds: int) -> float:
    """Return in how many µs the memory gives the weights of one step."""
    probe = weight_reader(256 << 20)
    times = measure({"read": probe.call}, rounds, clock="process")["read"]
    return times.best / probe.amount * artifact.cost.weight_bytes * 1e6


def shortfalls(kind: str, hidden: int, times: dict[str, float]) -> list[str]:
    """Return what of the promised speed was missed for one layer."""
    step = times["stream.step"]
    most = max((size, limit) for size, limit in _OVERHEAD.items() if size <= hidden)[1]
    least = min(((size, limit) for size, limit in _SPEEDUP.items() if hidden <= size), default=None)
    promised = [("stream.step : bound", step / times["bound"], most, True)]
    if hidden <= _RUN_UP_TO:
        promised.append(("run() : stream.step", times["run()"] / step, _RUN_SPEEDUP, False))
    if least is not None and kind == "LSTM":
        speedup = times["eager layer"] / step
        promised.append(("eager : stream.step", speedup, least[1], False))
    if hidden >= _MEMORY_FROM:
        promised.append(("memory : stream.step", times["memory"] / step, _MEMORY_SHARE, False))
    return [
        f"{kind} {hidden}: {name} is {ratio:.2f}, {'at most' if is_most else 'at least'} {limit} "
        "was promised"
        for name, ratio, limit, is_most in promised
        if (ratio > limit if is_most else ratio < limit)
    ]


def table_of(results: Results) -> Table:
    """Return the results as a table, one row per layer."""
    names = list(dict.fromkeys(name for times in results.values() for name in times))
    table = Table(
        title="µs per step, batch 1, one thread: eager torch, ONNX Runtime by hand, edgernn"
    )
    for heading in ("layer", "hidden", *names, "step : bound", "run : step", "eager : step"):
        table.add_column(heading, justify="right")
    for (kind, hidden), times in results.items():
        step = times["stream.step"]
        shown = (times.get(name, float("nan")) for name in names)
        table.add_row(
            kind,
            str(hidden),
            *("" if time != time else f"{time:.1f}" for time in shown),
            f"{step / times['bound']:.2f}",
            f"{times['run()'] / step:.1f}",
            f"{times['eager layer'] / step:.1f}",
        )
    return table


@click.command()
@click.option("--kind", "kinds", multiple=True, default=("LSTM", "GRU"), show_default=True)
@click.option(
    "--hidden", multiple=True, type=click.IntRange(1), default=(8, 32, 64, 128, 256, 1024)
)
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the promised speed is missed.")
def main(
    kinds: tuple[str, ...], hidden: tuple[int, ...], rounds: int, as_json: bool, check: bool
) -> None:
    """Compare the ways to run one layer step by step."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            (kind, size): compared(kind, size, rounds, Path(folder))
            for kind in kinds
            for size in hidden
        }
    if as_json:
        rows = [{"kind": kind, "hidden": size, **t} for (kind, size), t in results.items()]
        click.echo(json.dumps(rows, indent=2))
    else:
        Console(width=max(Console().width, 150)).print(table_of(results))
    missed = [line for (kind, n), times in results.items() for line in shortfalls(kind, n, times)]
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
