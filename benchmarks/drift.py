"""How far a step graph drifts over many steps, beside the drift of eager float32 itself.

    python benchmarks/drift.py
    python benchmarks/drift.py --steps 2000 --hidden 64 --check

One layer with torch's own random weights runs on random data: eager torch in float64 and in float32
over the whole sequence, and the step graph one step after the other with its state fed back. What
counts is the largest difference in any output of any step.
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
from torch import nn

import edgernn

KINDS = ("LSTM", "GRU", "RNN")
COLUMNS = ("eager float32 : float64", "step graph : float64", "step graph : eager float32")

_FACTOR = 2.0  # the step graph may be this many times as far from float64 as eager float32 is


def drift(kind: str, hidden: int, steps: int, folder: Path) -> dict[str, float]:
    """Return the largest difference of each pair in `COLUMNS`."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(hidden, hidden).eval()
    x = np.random.default_rng(0).normal(size=(steps, 1, hidden)).astype(np.float32)
    inputs = [f"input:float32[sequence,batch,{hidden}]"]
    artifact = edgernn.export_model(layer, folder / f"{kind}{hidden}.edgernn", inputs=inputs)
    stream = edgernn.load(artifact.path).stream()
    stepped = np.stack([np.asarray(stream.step(row)) for row in x]).astype(np.float64)
    single = eager(layer, x)
    double = eager(layer.double(), x.astype(np.float64))
    pairs = ((single, double), (stepped, double), (stepped, single))
    return {name: float(np.abs(a - b).max()) for name, (a, b) in zip(COLUMNS, pairs, strict=True)}


def eager(layer: nn.RNNBase, x: np.ndarray) -> np.ndarray:
    """Return the outputs of all steps as float64."""
    with torch.no_grad():
        y: Any = layer(torch.from_numpy(x))[0]
    return y.double().numpy()  # type: ignore[no-any-return]


def is_worse(differences: dict[str, float]) -> bool:
    """Return whether the step graph drifts further than eager float32 does."""
    own, graph, _ = (differences[name] for name in COLUMNS)
    return graph > _FACTOR * own


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(64, 256))
@click.option("--steps", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the step graph drifts further.")
def main(
    kinds: tuple[str, ...], hidden: tuple[int, ...], steps: int, as_json: bool, check: bool
) -> None:
    """Measure how far step graphs drift over many steps."""
    with tempfile.TemporaryDirectory() as folder:
        results = {
            kind: {size: drift(kind, size, steps, Path(folder)) for size in hidden}
            for kind in kinds
        }
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        table = Table("kind", "hidden", *COLUMNS, title=f"largest difference over {steps} steps")
        for kind, by_size in results.items():
            for size, found in by_size.items():
                table.add_row(kind, str(size), *(f"{found[name]:.1e}" for name in COLUMNS))
        Console().print(table)
    worse = [(k, size) for k, sizes in results.items() for size in sizes if is_worse(sizes[size])]
    for kind, size in worse:
        click.echo(f"{kind} {size}: the step graph drifts further than eager float32", err=True)
    sys.exit(1 if check and worse else 0)


if __name__ == "__main__":
    main()
