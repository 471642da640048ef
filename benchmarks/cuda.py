"""Compare CUDA with the CPU: steps of one stream, and whole sequences of a batch.

    python benchmarks/cuda.py

Both providers run the same artifact, with wall-clock times; the state of a stream stays on the
device. Exits with 1 and the reason where CUDA does not work.
"""

from __future__ import annotations

import statistics
import sys
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
PROVIDERS = ("cpu", "cuda")


class Layer(torch.nn.Module):
    """One recurrent layer, (batch, sequence, hidden) to the same shape."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


def median_us(call: Callable[[], object], rounds: int = 50) -> float:
    """Return the median time of a call in µs, after five that do not count."""
    for _ in range(5):
        call()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def measured(kind: str, hidden: int, batch: int, folder: Path) -> list[float]:
    """Return µs per step and per call of 100 steps, for each provider in turn."""
    artifact = edgernn.export_model(Layer(kind, hidden), folder / f"{kind}{hidden}", force=True)
    x = np.random.default_rng(0).normal(size=(batch, STEPS, hidden)).astype(np.float32)
    row: list[float] = []
    for provider in PROVIDERS:
        model = edgernn.load(artifact.path, provider=provider)
        stream = model.stream(batch)
        now = np.ascontiguousarray(x[:, 0])
        row.append(median_us(lambda step=stream.step, now=now: step(now)))
        row.append(median_us(lambda run=model: run(x)))
    return row


@click.command()
@click.option("--kind", "kinds", multiple=True, default=("LSTM", "GRU"), show_default=True)
@click.option("--hidden", multiple=True, type=int, default=(128, 512, 1024), show_default=True)
@click.option("--batch", multiple=True, type=int, default=(1, 64), show_default=True)
def main(kinds: tuple[str, ...], hidden: tuple[int, ...], batch: tuple[int, ...]) -> None:
    """Print µs per step and per 100 steps on the CPU and on the GPU."""
    table = Table(title=f"µs, wall clock: one step, and {STEPS} steps in one call")
    for heading in ("kind", "hidden", "batch", "step cpu", "run cpu", "step cuda", "run cuda"):
        table.add_column(heading, justify="right")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for kind in kinds:
                for size in hidden:
                    for count in batch:
                        times = measured(kind, size, count, Path(folder))
                        figures = [f"{figure:,.0f}" for figure in times]
                        table.add_row(kind, str(size), str(count), *figures)
    except edgernn.ProviderError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    Console().print(table)


if __name__ == "__main__":
    main()
