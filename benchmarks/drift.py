"""How far a step graph drifts over many steps, beside the drift of eager float32 itself.

    python benchmarks/drift.py
    python benchmarks/drift.py --steps 2000 --hidden 64 --check

Layers with torch's own random weights run on random data, on one thread: eager torch in float64,
eager torch in float32 over the whole sequence and step by step, and the step graph with its state
fed back. What counts is the difference from float64 over all outputs of all steps: the largest, and
the root of the mean square. The largest of so many numbers is left to chance, so everything is
repeated with other weights and data, and the ratios are told with their spread.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn

import edgernn

KINDS = ("LSTM", "GRU", "RNN")
Array = NDArray[np.float64]

LIMITS = {"largest": 1.1, "mean": 1.25}
"""How many times eager float32's own difference the step graph's median may be."""


@dataclass(frozen=True)
class Drift:
    """How far one way to run a layer is from float64.

    Attributes:
        largest: The largest difference of any output of any step.
        mean: The root of the mean square of all differences.
        growth: The same over the last tenth of the steps, as a part of that over the first.
    """

    largest: float
    mean: float
    growth: float


def drifts(kind: str, hidden: int, steps: int, seed: int, folder: Path) -> dict[str, Drift]:
    """Return how far eager float32, whole and by steps, and the step graph are from float64."""
    torch.manual_seed(seed)
    layer = getattr(nn, kind)(hidden, hidden).eval()
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(steps, 1, hidden))).float()
    artifact = edgernn.export_model(
        layer,
        folder / f"{kind}{hidden}-{seed}.edgernn",
        inputs=[f"input:float32[sequence,batch,{hidden}]"],
        verify=False,
    )
    stream = edgernn.load(artifact.path).stream()
    with torch.no_grad():  # where gradients are on, torch takes another LSTM kernel
        runs = {
            "whole": layer(x)[0].numpy(),
            "steps": by_steps(layer, x),
            "graph": np.stack([np.asarray(stream.step(row)) for row in x.numpy()]),
        }
        exact = layer.double()(x.double())[0].numpy()
    return {name: drift(run.astype(np.float64) - exact) for name, run in runs.items()}


def by_steps(layer: nn.RNNBase, x: torch.Tensor) -> NDArray[Any]:
    """Return the outputs of eager torch, called once for each step."""
    state: Any = None
    outputs = []
    for step in x:
        y, state = layer(step[None], state)
        outputs.append(y[0])
    return torch.stack(outputs).numpy()


def drift(gap: Array) -> Drift:
    """Return what there is to say of the differences of all steps, steps in front."""
    tenth = max(len(gap) // 10, 1)
    return Drift(
        float(np.abs(gap).max()), mean_of(gap), mean_of(gap[-tenth:]) / mean_of(gap[:tenth])
    )


def mean_of(gap: Array) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.square(gap).mean()))


def ratios(found: list[dict[str, Drift]], measure: str, own: str) -> list[float]:
    """Return the step graph's difference as a part of eager torch's `own`, for each seed."""
    return [getattr(one["graph"], measure) / getattr(one[own], measure) for one in found]


def verdict(found: list[dict[str, Drift]], measure: str) -> str:
    """Say whether the step graph is further from float64 than eager torch over whole sequences.

    It is where three of four seeds say so; the median says by how much.
    """
    given = ratios(found, measure, "whole")
    if np.median(given) <= 1:
        return "no further"
    if np.quantile(given, 0.25) <= 1:
        return "within the spread"
    return f"{np.median(given) - 1:.0%} further"


def exceeded(found: list[dict[str, Drift]]) -> list[str]:
    """Return what is further than the limits allow, in words."""
    medians = {name: float(np.median(ratios(found, name, "whole"))) for name in LIMITS}
    return [
        f"{name} difference is {medians[name]:.2f} times eager float32's own; "
        f"at most {limit} passes"
        for name, limit in LIMITS.items()
        if not medians[name] <= limit
    ]


def table(results: dict[str, list[dict[str, Drift]]], steps: int) -> Table:
    """Return the medians over the seeds, with the spread of the ratios."""
    columns = ("layer", "eager", "step graph", "ratio", "verdict", ": eager by steps", "growth")
    title = f"largest / root mean square difference from float64 over {steps} steps"
    drawn = Table(*columns, title=title)
    for layer, found in results.items():
        for measure in LIMITS:
            own, graph = (
                f"{np.median([getattr(one[way], measure) for one in found]):.2e}"
                for way in ("whole", "graph")
            )
            given = ratios(found, measure, "whole")
            spread = f"{np.median(given):.2f} ({min(given):.2f}–{max(given):.2f})"  # noqa: RUF001 - a range
            stepped = f"{np.median(ratios(found, measure, 'steps')):.2f}"
            growth = f"{np.median([one['graph'].growth for one in found]):.2f}"
            row = (own, graph, spread, verdict(found, measure), stepped)
            drawn.add_row(
                layer if measure == "largest" else "",
                *row,
                growth if measure == "mean" else "",
                end_section=measure == "mean",
            )
    return drawn


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(64, 256))
@click.option("--steps", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=9, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, every seed by itself.")
@click.option("--check", is_flag=True, help="Exit with 1 where the step graph drifts too far.")
def main(
    kinds: tuple[str, ...],
    hidden: tuple[int, ...],
    steps: int,
    seeds: int,
    as_json: bool,
    check: bool,
) -> None:
    """Measure how far step graphs drift over many steps."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            f"{kind} {size}": [
                drifts(kind, size, steps, seed, Path(folder)) for seed in range(seeds)
            ]
            for kind in kinds
            for size in hidden
        }
    if as_json:
        every = {
            layer: [{way: asdict(one) for way, one in seed.items()} for seed in found]
            for layer, found in results.items()
        }
        click.echo(json.dumps(every, indent=2))
    else:
        Console().print(table(results, steps))
    too_far = [f"{layer}: the {what}." for layer in results for what in exceeded(results[layer])]
    for line in too_far:
        click.echo(line, err=True)
    sys.exit(1 if check and too_far else 0)


if __name__ == "__main__":
    main()
