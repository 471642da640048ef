"""What int8 costs and saves: one layer of each kind, its error through the gate, its time per step.

    python benchmarks/int8.py
    python benchmarks/int8.py --kind RNN --hidden 512 --check

Errors are the largest of the parity report, from eager torch in float32: of whole sequences and
chunks through the sequence graph, and of steps, a thousand of them chained among these. Times are
of the step graph bound once, batch 1, one thread, float32 and int8 in rounds that are interleaved.
That no CPU saturates is part of the gate: weights beyond the bound fail it on every one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stream import hand_bound, measured

import edgernn
from edgernn.errors import ParityError

KINDS = ("LSTM", "GRU", "RNN")
SIZES = (8, 16, 32, 64, 128, 256, 512)
PRECISIONS = ("float32", "int8")


class Layer(torch.nn.Module):
    """One layer, (batch, sequence, hidden) to the same shape."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


def exported(kind: str, hidden: int, precision: str, folder: Path) -> edgernn.Artifact:
    """Export one layer, proven where its numbers are int8."""
    torch.manual_seed(hidden)
    return edgernn.export_model(
        Layer(kind, hidden).eval(),
        folder / f"{kind}{hidden}-{precision}.edgernn",
        inputs=(torch.zeros(2, 3, hidden),),
        precision=precision,
        verify=precision == "int8",
    )


def compared(kind: str, hidden: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the errors of one layer in int8, its bytes and its times; or why the gate refused."""
    try:
        artifacts = {one: exported(kind, hidden, one, folder) for one in PRECISIONS}
    except ParityError as error:
        return {"refused": str(error)}
    parity = artifacts["int8"].parity
    assert parity is not None
    worst = {"sequence": 0.0, "step": 0.0}
    for check in parity.checks:
        worst[check.graph] = max(worst[check.graph], check.difference)
    x = np.random.default_rng(hidden).normal(size=(1, hidden)).astype(np.float32)
    times = measured({name: hand_bound(one, x) for name, one in artifacts.items()}, rounds)
    kilobytes = {name: one.step.stat().st_size / 1e3 for name, one in artifacts.items() if one.step}
    return {"errors": worst, "times": times, "kilobytes": kilobytes}


def table_of(results: dict[str, dict[int, dict[str, Any]]]) -> Table:
    """Return the results as a table."""
    table = Table("kind", "hidden", "error: sequence", "step", "µs: float32", "int8", "kB", "int8")
    for kind, sizes in results.items():
        for hidden, found in sizes.items():
            if "refused" in found:
                table.add_row(kind, str(hidden), found["refused"])
                continue
            errors = (f"{found['errors'][graph]:.1e}" for graph in ("sequence", "step"))
            times = (f"{found['times'][one]:.1f}" for one in PRECISIONS)
            sizes_of = (f"{found['kilobytes'][one]:,.0f}" for one in PRECISIONS)
            table.add_row(kind, str(hidden), *errors, *times, *sizes_of)
    return table


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=SIZES)
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the gate refuses a layer.")
def main(
    kinds: tuple[str, ...], hidden: tuple[int, ...], rounds: int, as_json: bool, check: bool
) -> None:
    """Measure the errors and the times of one layer in int8."""
    torch.set_num_threads(1)
    results: dict[str, dict[int, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            results[kind] = {size: compared(kind, size, rounds, Path(folder)) for size in hidden}
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(results))
    refused = any("refused" in found for sizes in results.values() for found in sizes.values())
    sys.exit(1 if check and refused else 0)


if __name__ == "__main__":
    main()
