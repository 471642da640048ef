"""Compare a pool with the same streams one after another: one LSTM layer, one thread.

    python benchmarks/pool.py
    python benchmarks/pool.py --hidden 32 --hidden 128 --check

All ways run the same weights and the same inputs, in interleaved rounds; the median round counts.
The clock is the process's own. One after another, as many streams as `--alone` are stepped, each
with its own state, input and output, because 10,000 of them need long to create.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from layer import Layer
from rich.console import Console
from rich.table import Table

import edgernn
from edgernn.facts import state_bytes
from edgernn.runtime.measure.timing import measure

_SPEEDUP = {32: 12.0, 128: 4.0}  # by how much a pool must be faster, at these hidden sizes
_MEMORY = 1.2  # of the states' own bytes, for 10,000 streams
_OPEN_US = 5.0


@dataclass(frozen=True)
class Result:
    """What was measured at one hidden size; times in µs per stream and step.

    Attributes:
        alone: Streams one after another.
        rows: All streams of a pool, from one array.
        some: A tenth of the streams, drawn at random, from one array and a list of streams.
        named: All streams, from a dict.
        opened: µs to open a stream.
        closed: µs to close one, in random order.
        memory: The bytes of the pool for each byte of state.
        largest_difference: Between outputs of the pool and of streams by themselves.
    """

    alone: float
    rows: float
    some: float
    named: float
    opened: float
    closed: float
    memory: float
    largest_difference: float

    @property
    def speedup(self) -> float:
        """How many times as many steps a pool does in the same time."""
        return self.alone / self.rows


def compared(model: edgernn.Model, count: int, alone: int, rounds: int) -> Result:
    """Measure a pool of `count` streams beside single streams."""
    random = np.random.default_rng(0)
    hidden = int(model.contract.data_inputs("step")[0].shape[-1])
    x = random.normal(size=(count, hidden)).astype(np.float32)
    pool = model.pool()
    streams = [pool.open() for _ in range(count)]
    singles = [(model.stream(), x[row : row + 1].copy()) for row in range(alone)]
    drawn = random.permutation(count)[: max(count // 10, 1)]
    some, named = [streams[row] for row in drawn], dict(zip(streams, x, strict=True))

    def one_after_another() -> list[np.ndarray]:
        return [stream.step(row) for stream, row in singles]

    difference = max(
        float(np.abs(np.concatenate(one_after_another()) - pool.step(x)[:alone]).max())
        for _ in range(20)
    )
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "alone": (one_after_another, alone),
        "rows": (lambda: pool.step(x), count),
        "some": (lambda: pool.step(x[: len(some)], some), len(some)),
        "named": (lambda: pool.step(named), count),
    }
    times = measure(
        {name: call for name, (call, _) in calls.items()}, rounds, clock="process", block=1
    )
    each = {name: times[name].median / calls[name][1] * 1e6 for name in calls}
    memory = pool.nbytes / (count * state_bytes(model.contract))
    opened, closed = open_and_close(model, count)
    return Result(
        **each, opened=opened, closed=closed, memory=memory, largest_difference=difference
    )


def open_and_close(model: edgernn.Model, count: int) -> tuple[float, float]:
    """Return µs to open a stream, and to close one: the median of five pools."""
    opened, closed = [], []
    for seed in range(5):
        pool = model.pool()
        begin = time.process_time()
        streams = [pool.open() for _ in range(count)]
        opened.append((time.process_time() - begin) / count * 1e6)
        order = [streams[row] for row in np.random.default_rng(seed).permutation(count)]
        begin = time.process_time()
        for stream in order:
            pool.close(stream)
        closed.append((time.process_time() - begin) / count * 1e6)
    return float(np.median(opened)), float(np.median(closed))


def shortfalls(hidden: int, found: Result) -> list[str]:
    """Return what of the promises was missed at one hidden size."""
    missed = []
    least = _SPEEDUP.get(hidden, 0.0)
    if found.speedup < least:
        missed.append(f"a pool is {found.speedup:.1f} x as fast, at least {least:.0f} x was said")
    if found.memory > _MEMORY:
        missed.append(f"a pool takes {found.memory:.2f} x the states' bytes, at most {_MEMORY} x")
    for what, taken in (("opening", found.opened), ("closing", found.closed)):
        if taken > _OPEN_US:
            missed.append(f"{what} a stream takes {taken:.1f} µs, at most {_OPEN_US:.0f} µs")
    return [f"hidden {hidden}: {line}" for line in missed]


def table_of(results: dict[int, Result], count: int) -> Table:
    """Return the results as a table, one row per hidden size."""
    table = Table(title=f"{count:,} streams of one LSTM layer: µs per stream and step, one thread")
    columns = (
        *("hidden", "one by one", "pool.step(x)", "a tenth", "dict", "speed-up"),
        *("open", "close", "memory : states", "difference"),
    )
    for heading in columns:
        table.add_column(heading, justify="right")
    for hidden, found in results.items():
        table.add_row(
            str(hidden),
            *(f"{time:.2f}" for time in (found.alone, found.rows, found.some, found.named)),
            f"{found.speedup:.1f}",
            f"{found.opened:.1f}",
            f"{found.closed:.1f}",
            f"{found.memory:.2f}",
            f"{found.largest_difference:.1e}",
        )
    return table


@click.command()
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(32, 128))
@click.option("--streams", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--alone", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where a promise is missed.")
def main(
    hidden: tuple[int, ...], streams: int, alone: int, rounds: int, as_json: bool, check: bool
) -> None:
    """Compare a pool with the same streams one after another."""
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in hidden:
            torch.manual_seed(size)
            artifact = edgernn.export_model(
                Layer("LSTM", size).eval(),
                Path(folder) / f"lstm{size}.edgernn",
                inputs=(torch.zeros(2, 3, size),),
            )
            model = edgernn.load(artifact.path)
            results[size] = compared(model, streams, min(alone, streams), rounds)
    if as_json:
        click.echo(json.dumps({size: asdict(found) for size, found in results.items()}, indent=2))
    else:
        Console(width=140).print(table_of(results, streams))
    missed = [line for size, found in results.items() for line in shortfalls(size, found)]
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
