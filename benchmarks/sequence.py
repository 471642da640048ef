"""Compare the ways to run one layer over whole sequences: one thread, in one process.

    python benchmarks/sequence.py
    python benchmarks/sequence.py --kind GRU --hidden 256 --batch 32 --json

Every way runs the same weights on the same 100 steps. Rounds are interleaved and the median
counts; the clock is the process's own. OpenVINO takes part where it is installed.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import edgernn

STEPS = 100

Call = Callable[[], object]


class Layer(torch.nn.Module):
    """One recurrent layer, (batch, sequence, hidden) to the same shape."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


def eager(model: Layer, x: np.ndarray) -> Call:
    """Return a call of the torch module."""
    tensor = torch.from_numpy(x)

    def call() -> object:
        with torch.inference_mode():
            return model(tensor)

    return call


def openvino(artifact: edgernn.Artifact, x: np.ndarray) -> Call | None:
    """Return a call of the sequence graph in OpenVINO, or None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = (
        openvino.Core().compile_model(artifact.sequence, "CPU", settings).create_infer_request()
    )
    contract = artifact.contract
    feeds = {s.input: contract.initial(s, x.shape[0]) for s in contract.states}
    return lambda: request.infer({"x": x, **feeds})


def compared(kind: str, hidden: int, batch: int, rounds: int, folder: Path) -> dict[str, float]:
    """Return µs per call of every way."""
    torch.manual_seed(hidden)
    model = Layer(kind, hidden).eval()
    artifact = edgernn.export_model(model, folder / f"{kind}{hidden}.edgernn", force=True)
    x = np.random.default_rng(hidden).normal(size=(batch, STEPS, hidden)).astype(np.float32)
    loaded = edgernn.load(artifact.path, threads=1)
    stream = loaded.stream(batch)
    calls: dict[str, Call | None] = {
        "eager torch": eager(model, x),
        "OpenVINO": openvino(artifact, x),
        "model(x)": lambda: loaded(x),
        "stream.feed(x)": lambda: stream.feed(x),
    }
    return measured({name: call for name, call in calls.items() if call}, rounds)


def measured(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Return the median time of each call in µs over interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            times[name].append((time.process_time() - begin) * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


@click.command()
@click.option("--kind", "kinds", multiple=True, default=("LSTM", "GRU", "RNN"), show_default=True)
@click.option("--hidden", multiple=True, type=int, default=(32, 256), show_default=True)
@click.option("--batch", multiple=True, type=int, default=(1, 32), show_default=True)
@click.option("--rounds", type=int, default=31, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    kinds: tuple[str, ...],
    hidden: tuple[int, ...],
    batch: tuple[int, ...],
    rounds: int,
    as_json: bool,
) -> None:
    """Print µs per call of 100 steps for every way, kind, hidden size and batch."""
    torch.set_num_threads(1)
    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            for size in hidden:
                for count in batch:
                    times = compared(kind, size, count, rounds, Path(folder))
                    results.append({"kind": kind, "hidden": size, "batch": count, **times})
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    table = Table(title=f"µs per {STEPS} steps, one thread")
    for heading in results[0]:
        table.add_column(heading, justify="right")
    for row in results:
        table.add_row(
            *(f"{value:,.0f}" if isinstance(value, float) else str(value) for value in row.values())
        )
    Console().print(table)


if __name__ == "__main__":
    main()
