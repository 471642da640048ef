"""Run a stream for a million steps, and look at the memory and the idle processor.

    python benchmarks/endurance.py --check

Chunks of varying lengths (`feed`), single steps (`step`) and whole sequences in batches of varying
sizes (the model itself) take turns. Resident memory is read all along; from the first hundredth on,
it must stay within 2 % of what it was then. Afterwards the process sleeps: it must use no CPU time,
whatever the number of threads. Each number runs in a process of its own, because sessions
of ONNX Runtime share memory within one. Memory is read from `/proc`, on Linux.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import edgernn

_HIDDEN, _LONGEST = 32, 200
_SETTLED = 100  # the first part in so many is not held to the limit
_GROWTH = 0.02
_IDLE_S = 3.0
_BUSY = 0.01  # the share of a core that an idle process may use


def export(path: str) -> None:
    """Write the model: two layers, (batch, sequence, 32) to the same shape."""
    import torch  # here, so that it is not in the memory of the processes that run the model

    layers = torch.nn.LSTM(_HIDDEN, _HIDDEN, 2, batch_first=True)
    edgernn.export_model(layers.eval(), path, inputs=(torch.zeros(2, 3, _HIDDEN),))


def resident_bytes() -> int:
    """Return how much memory of this process is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def endure(path: str, threads: int, steps: int) -> dict[str, float]:
    """Run a stream for `steps` steps, then sleep.

    Returns:
        `settled`, the memory after the first hundredth, `highest` and `last` after that, in bytes;
        `idle`, the share of a core that was used while sleeping; `seconds` of the run.
    """
    model = edgernn.load(path, threads=threads)
    stream = model.stream()
    rng, began = np.random.default_rng(0), time.monotonic()
    settled, highest, next_look = 0, 0, steps // _SETTLED
    while stream.steps < steps:
        length = int(rng.integers(1, _LONGEST))
        x = rng.normal(size=(1, length, _HIDDEN)).astype(np.float32)
        stream.feed(x)
        for row in x[0, :20]:
            stream.step(row[None])
        model(x.repeat(length % 3 + 1, 0))
        if stream.steps >= next_look:
            now = resident_bytes()
            settled, highest = settled or now, max(highest, now)
            next_look = stream.steps + steps // 1000
    seconds, last = time.monotonic() - began, resident_bytes()
    used = time.process_time()
    time.sleep(_IDLE_S)
    idle = (time.process_time() - used) / _IDLE_S
    return {
        "settled": settled,
        "highest": highest,
        "last": last,
        "idle": idle,
        "seconds": seconds,
    }


def in_new_process(path: str, threads: int, steps: int) -> dict[str, float]:
    """Return what `endure` returns in a process of its own."""
    command = [sys.executable, __file__, "--child", path, str(threads), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def shortfalls(threads: int, found: dict[str, float]) -> list[str]:
    """Return what of the promises was missed with one number of threads."""
    growth, missed = found["highest"] / found["settled"] - 1, []
    if growth > _GROWTH:
        missed.append(
            f"{threads} threads: memory grew by {growth:.1%}, at most {_GROWTH:.0%} was promised"
        )
    if found["idle"] > _BUSY:
        missed.append(
            f"{threads} threads: an idle process used {found['idle']:.1%} of a core, at most "
            f"{_BUSY:.0%} was promised"
        )
    return missed


def table_of(steps: int, results: dict[int, dict[str, float]]) -> Table:
    """Return the results as a table, one row per number of threads."""
    table = Table(
        title=f"{steps:,} steps of two LSTM layers of {_HIDDEN}, chunks of varying length"
    )
    for heading in ("threads", "MB settled", "MB highest", "MB at the end", "idle core", "s"):
        table.add_column(heading, justify="right")
    for threads, found in results.items():
        memory = (f"{found[key] / 1e6:.1f}" for key in ("settled", "highest", "last"))
        table.add_row(str(threads), *memory, f"{found['idle']:.2%}", f"{found['seconds']:.0f}")
    return table


@click.command()
@click.option("--steps", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--threads", multiple=True, type=click.IntRange(1), default=(1, 4))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where a promise is missed.")
@click.option("--child", type=(str, int), hidden=True)
def main(
    steps: int, threads: tuple[int, ...], as_json: bool, check: bool, child: tuple[str, int] | None
) -> None:
    """Run a stream for many steps, and look at the memory and the idle processor."""
    if child is not None:
        click.echo(json.dumps(endure(*child, steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/net.edgernn"
        export(path)
        results = {count: in_new_process(path, count, steps) for count in threads}
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(steps, results))
    missed = [line for count, found in results.items() for line in shortfalls(count, found)]
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
