"""Time whole commands from a cold start: --help, one step of run, and an export with its proof.

    python benchmarks/commands.py
    python benchmarks/commands.py --rounds 7 --check

Times are by the wall's clock, on all cores; each command is a new process, and the median round
counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

MODEL = """
import torch

class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(96, 128)
        self.rnn = torch.nn.LSTM(128, 256, num_layers=2)
        self.head = torch.nn.Linear(256, 96)

    def forward(self, ids, state=None):
        y, state = self.rnn(self.embedding(ids), state)
        return self.head(y), state
"""
LIMITS = {"--help": 0.2, "run": 0.4, "export": 9.0}
"""Seconds that a command may take, on a machine that does nothing else."""


def seconds(arguments: Sequence[str], folder: Path, rounds: int, content: bytes = b"") -> float:
    """Return the median time of a command."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "edgernn", *arguments],
            cwd=folder,
            input=content,
            capture_output=True,
            check=True,
        )
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def parameters(folder: Path) -> int:
    """Write the model to export and return the number of its parameters."""
    source = folder / "model.py"
    source.write_text(MODEL, "utf-8")
    names: dict[str, type[torch.nn.Module]] = {}
    exec(compile(MODEL, str(source), "exec"), names)
    model = names["Model"]()
    torch.save(model.state_dict(), folder / "model.pt")
    return sum(parameter.numel() for parameter in model.parameters())


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--check", is_flag=True, help="Exit with 1 where a command takes too long.")
def main(rounds: int, check: bool) -> None:
    """Time whole commands from a cold start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = parameters(folder)
        export = ["export", "model.pt", "--module", "model.py:Model", "--force"]
        times = {
            "export": seconds(export, folder, rounds),
            "run": seconds(["run", "model.edgernn", "--input", "-"], folder, rounds, b"1\n"),
            "--help": seconds(["--help"], folder, rounds),
        }
    table = Table("command", "seconds", "at most", title=f"export: {count:,} parameters")
    for command, took in times.items():
        table.add_row(command, f"{took:.2f}", f"{LIMITS[command]}")
    Console().print(table)
    late = any(took > LIMITS[command] for command, took in times.items())
    sys.exit(1 if check and late else 0)


if __name__ == "__main__":
    main()
