"""Run a million steps of an artifact in the C core: memory, allocations and the slowest steps.

    python benchmarks/endurance_in_c.py
    python benchmarks/endurance_in_c.py --steps 10000 --artifact lstm.edgernn

Exits with 1 where the core allocates in a step, or memory grows by more than 1 %.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import torch
from layer import Layer

import edgernn
from edgernn.runtime.providers import find_library

_CORE = Path(__file__).parents[1] / "runtime" / "hosts" / "c"
_GROWTH = 1.01
_NAMES = ("malloc", "calloc", "realloc")


def build(folder: Path) -> Path:
    """Build the program, whose calls of malloc are counted, and return it."""
    sources = [str(Path(__file__).with_suffix(".c")), str(_CORE / "edgernn.c")]
    wrapped = "".join(f",--wrap={name}" for name in _NAMES)
    options = ["-std=c11", "-O2", "-I", str(_CORE), f"-Wl{wrapped}"]
    program = folder / "endurance_in_c"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *options, *sources, "-o", program, "-ldl", "-lm"], check=True)
    return program


@click.command()
@click.option("--artifact", type=click.Path(exists=True), help="By default an LSTM of 64.")
@click.option("--steps", type=click.IntRange(10), default=1_000_000, show_default=True)
def main(artifact: str | None, steps: int) -> None:
    """Run a million steps of an artifact in the C core."""
    with tempfile.TemporaryDirectory() as name:
        if artifact is None:
            torch.manual_seed(0)
            exported = edgernn.export_model(Layer("LSTM", 64).eval(), Path(name, "lstm.edgernn"))
            artifact = str(exported.path)
        ran = subprocess.run(
            [build(Path(name)), artifact, str(steps)],
            env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library())},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    count, allocations, early, late, median, percentile, longest = ran.stdout.split()
    click.echo(
        f"{int(count):,} steps: median {median} µs, p99 {percentile} µs, longest {longest} µs"
    )
    click.echo(f"resident: {int(early):,} KiB after a tenth, {int(late):,} KiB at the end")
    click.echo(f"allocations of the core after the first step: {int(allocations):,}")
    sys.exit(1 if int(allocations) or int(late) > _GROWTH * int(early) else 0)


if __name__ == "__main__":
    main()
