"""Compare the ways to run one LSTM layer step by step: batch 1, one thread, in one process.

    python benchmarks/stream.py
    python benchmarks/stream.py --hidden 128 --hidden 256 --check

Every way runs the same weights. The rounds are interleaved, so that what else the machine does
meets all of them alike, and the median round counts. The clock is the process's own: on an idle
machine it is the wall's, on a busy one it stands still while others run. OpenVINO takes part where
it is installed.
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
from rich.console import Console
from rich.table import Table

import edgernn

Loop = Callable[[int], None]

_OVERHEAD = 1.4  # stream.step may take this many times what the bound loop takes
_SPEEDUP = 6.0  # and must be this many times faster than eager nn.LSTM …
_SPEEDUP_AT = (128, 256)  # … at these hidden sizes


class Layer(torch.nn.Module):
    """One LSTM layer, (batch, sequence, hidden) to the same shape."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


def eager_layer(layer: torch.nn.LSTM, x: np.ndarray) -> Loop:
    """Return a loop over nn.LSTM with sequences of one step."""
    row = torch.from_numpy(x)[:, None]

    def loop(steps: int) -> None:
        state = None
        with torch.inference_mode():
            for _ in range(steps):
                _, state = layer(row, state)

    return loop


def eager_cell(layer: torch.nn.LSTM, x: np.ndarray) -> Loop:
    """Return a loop over nn.LSTMCell with the layer's weights."""
    cell = torch.nn.LSTMCell(layer.input_size, layer.hidden_size)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    row = torch.from_numpy(x)

    def loop(steps: int) -> None:
        state = None
        with torch.inference_mode():
            for _ in range(steps):
                state = cell(row, state)

    return loop


def session_of(artifact: edgernn.Artifact) -> Any:
    """Return a session of the step graph with one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(artifact.step, options, providers=["CPUExecutionProvider"])


def hand_run(artifact: edgernn.Artifact, x: np.ndarray) -> Loop:
    """Return a loop over session.run() that feeds the states back as arrays."""
    session, contract = session_of(artifact), artifact.contract
    data = contract.data_inputs("step")[0].name
    names = [state.input for state in contract.states]
    outputs = [contract.data_outputs("step")[0].name, *(s.output for s in contract.states)]

    def loop(steps: int) -> None:
        states = [contract.initial(state) for state in contract.states]
        for _ in range(steps):
            _, *states = session.run(outputs, {data: x, **dict(zip(names, states, strict=True))})

    return loop


def hand_bound(artifact: edgernn.Artifact, x: np.ndarray) -> Loop:
    """Return a loop over two I/O bindings in turn, without any check, its output left in place."""
    session, contract = session_of(artifact), artifact.contract
    entry, result = contract.data_inputs("step")[0].name, contract.data_outputs("step")[0].name
    sides = [[contract.initial(state) for state in contract.states] for _ in range(2)]
    data, output = np.zeros_like(x), np.zeros_like(x)

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


def compared(hidden: int, rounds: int, folder: Path) -> dict[str, float]:
    """Return µs per step of every way at one hidden size."""
    torch.manual_seed(hidden)
    model = Layer(hidden).eval()
    artifact = edgernn.export_model(
        model, folder / f"lstm{hidden}.edgernn", inputs=(torch.zeros(2, 3, hidden),)
    )
    x = np.random.default_rng(hidden).normal(size=(1, hidden)).astype(np.float32)
    loops: dict[str, Loop | None] = {
        "nn.LSTM": eager_layer(model.rnn, x),
        "nn.LSTMCell": eager_cell(model.rnn, x),
        "run()": hand_run(artifact, x),
        "bound": hand_bound(artifact, x),
        "OpenVINO": openvino_run(artifact, x),
        "stream.step": stream_step(artifact, x),
    }
    return measured({name: loop for name, loop in loops.items() if loop}, rounds)


def shortfalls(hidden: int, times: dict[str, float]) -> list[str]:
    """Return what of the promised speed was missed at one hidden size."""
    overhead = times["stream.step"] / times["bound"]
    speedup = times["nn.LSTM"] / times["stream.step"]
    missed = []
    if overhead > _OVERHEAD:
        missed.append(
            f"hidden {hidden}: stream.step takes {overhead:.2f} x the bound loop, at most "
            f"{_OVERHEAD} x was promised"
        )
    if hidden in _SPEEDUP_AT and speedup < _SPEEDUP:
        missed.append(
            f"hidden {hidden}: stream.step is {speedup:.1f} x as fast as eager nn.LSTM, at least "
            f"{_SPEEDUP} x was promised"
        )
    return missed


def table_of(results: dict[int, dict[str, float]]) -> Table:
    """Return the results as a table, one row per hidden size."""
    names = list(next(iter(results.values())))
    table = Table(
        title="µs per step, batch 1, one thread: eager torch, ONNX Runtime by hand, edgernn"
    )
    for heading in ("hidden", *names, "step : bound", "eager : step"):
        table.add_column(heading, justify="right")
    for hidden, times in results.items():
        step = times["stream.step"]
        table.add_row(
            str(hidden),
            *(f"{times[name]:.1f}" for name in names),
            f"{step / times['bound']:.2f}",
            f"{times['nn.LSTM'] / step:.1f}",
        )
    return table


@click.command()
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(32, 128, 256, 512))
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the promised speed is missed.")
def main(hidden: tuple[int, ...], rounds: int, as_json: bool, check: bool) -> None:
    """Compare the ways to run one LSTM layer step by step."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {size: compared(size, rounds, Path(folder)) for size in hidden}
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(results))
    missed = [line for size, times in results.items() for line in shortfalls(size, times)]
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
