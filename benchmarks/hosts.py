"""Compare one step of an artifact in every host with a bare loop in C: batch 1, one thread.

    python benchmarks/hosts.py
    python benchmarks/hosts.py --host c --host rust --check

Each project is written by `edgernn embed`, and built and run by the two lines that it prints. Its
program says how long a step takes; the programs run by turns, several rounds. The bare loop is
`step_in_c.c`, on the same graph. Hosts whose compiler is not here are left out by name.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from layer import Layer
from rich.console import Console
from rich.table import Table
from step_in_c import build as build_bare_loop

import edgernn
from edgernn.hosts import HOSTS
from edgernn.runtime.embed import embed_artifact
from edgernn.runtime.measure.timing import measure
from edgernn.runtime.providers import find_library

_ROOT = Path(__file__).parents[1]
_MOST = {"c": 1.05, "cpp": 1.15, "rust": 1.15, "go": 1.15, "java": 1.15, "csharp": 1.15}
"""Host → how many times what the bare loop takes a step may take."""

_PROGRAMS = [name for name in HOSTS if name != "web"]
"""The hosts whose program says how long a step takes; a page in a browser does not."""

_STEP = re.compile(r"([\d.]+) µs per step")


def built(name: str, artifact: edgernn.Artifact, folder: Path) -> tuple[str, float] | None:
    """Embed and build a project; return the line that runs it and the seconds that both took."""
    begin = time.perf_counter()
    embed_artifact(artifact, HOSTS[name], folder)
    build, run = HOSTS[name].lines(str(folder))
    modules = _ROOT / "build" / "npm" / "node_modules"
    if name == "node" and modules.is_dir():
        (folder / "node_modules").symlink_to(modules)
    else:
        done = subprocess.run(["bash", "-c", build], capture_output=True, text=True, check=False)
        if done.returncode:
            click.echo(f"{name} is left out: {done.stderr.strip().splitlines()[-1:]}", err=True)
            return None
    return run, time.perf_counter() - begin


def microseconds(run: str) -> float:
    """Run a program once and return what it says of a step."""
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True)
    found = _STEP.search(done.stdout)
    assert found, done.stdout
    return float(found[1])


@click.command()
@click.option("--host", "hosts", multiple=True, type=click.Choice(_PROGRAMS), help="Only these.")
@click.option("--kind", default="LSTM", show_default=True)
@click.option("--hidden", default=64, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--check", is_flag=True, help="Exit with 1 where a step takes more than promised.")
def main(hosts: tuple[str, ...], kind: str, hidden: int, rounds: int, check: bool) -> None:
    """Compare one step of an artifact in every host with a bare loop in C."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = edgernn.export_model(Layer(kind, hidden).eval(), folder / "model.edgernn")
        loop, library = build_bare_loop(folder), find_library()
        assert library is not None
        bare = [str(loop), str(library), "25", str(artifact.checked("step"))]
        projects = {
            host: project
            for host in hosts or _PROGRAMS
            if (project := built(host, artifact, folder / host)) is not None
        }
        stream = edgernn.load(artifact.path, forms=False).stream()
        x = torch.randn(1, hidden).numpy()
        times: dict[str, list[float]] = {host: [] for host in ("bare loop", "python", *projects)}
        for _ in range(rounds):
            ran = subprocess.run(bare, capture_output=True, text=True, check=True)
            times["bare loop"].append(float(ran.stdout))
            times["python"].append(1e6 * measure({"step": lambda: stream.step(x)})["step"].median)
            for host, (run, _) in projects.items():
                times[host].append(microseconds(run))
    table = Table(title=f"µs per step of {kind} {hidden}, batch 1, one thread")
    for heading in ("host", "µs", ": bare loop", "to the first run, s"):
        table.add_column(heading, justify="right")
    missed = []
    for host, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, times["bare loop"], strict=True))
        seconds = f"{projects[host][1]:.1f}" if host in projects else ""
        table.add_row(host, f"{statistics.median(found):.2f}", f"{ratio:.2f}", seconds)
        if ratio > _MOST.get(host, float("inf")):
            missed.append(
                f"{host}: {ratio:.2f} x the bare loop; at most {_MOST[host]} x is promised"
            )
    Console().print(table)
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
