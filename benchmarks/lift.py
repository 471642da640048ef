"""Compare the sequence graphs of one recurrence written three ways: 100 steps, batch 1, one thread.

    python benchmarks/lift.py
    python benchmarks/lift.py --hidden 256 --check

The same weights as a layer of torch, as a loop over time around torch's cell, and as one step
written by hand in plain tensor arithmetic. The first two become ONNX's operator, the third a Scan.
The rounds are interleaved, so that what else the machine does meets all of them alike, and the
median round counts. The clock is the thread's own: on a busy machine it stands still while others
run.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import edgernn

STEPS = 100
WAYS = ("layer", "cell loop", "by hand")

_MOST = 2.0  # the Scan may take this many times what the operator takes …
_MOST_AT = 256  # … from this hidden size on
_LOOP_MOST = 1.2  # a cell loop has the operator, so what is above 1 is noise


class Loop(nn.Module):
    """A loop over time around a cell with the weights of a layer, (sequence, batch, hidden)."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.cell = getattr(nn, f"{type(layer).__name__}Cell")(layer.input_size, layer.hidden_size)
        weights = {key.removesuffix("_l0"): value for key, value in layer.state_dict().items()}
        self.cell.load_state_dict(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state."""
        state, rows = None, []
        for x_t in x:
            state = self.cell(x_t, state)
            rows.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(rows)


class Hand(nn.Module):
    """One step by hand: x (batch, hidden) and the states to the next states."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        inner, recurrent = (nn.Linear(layer.input_size, len(layer.weight_ih_l0)) for _ in range(2))
        inner.load_state_dict({"weight": layer.weight_ih_l0, "bias": layer.bias_ih_l0})
        recurrent.load_state_dict({"weight": layer.weight_hh_l0, "bias": layer.bias_hh_l0})
        self.inner, self.recurrent = inner, recurrent


class HandLSTM(Hand):
    """An LSTM's."""

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[Any, Any, Any]:
        """Return the output and the next states."""
        i, f, g, o = (self.inner(x) + self.recurrent(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h * 1, h, c


class HandGRU(Hand):
    """A GRU's."""

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[Any, Any]:
        """Return the output and the next state."""
        r, z, n = self.inner(x).chunk(3, 1)
        rh, zh, nh = self.recurrent(h).chunk(3, 1)
        n = torch.tanh(n + (r + rh).sigmoid() * nh)
        h = n + (z + zh).sigmoid() * (h - n)
        return h * 1, h


class HandRNN(Hand):
    """A tanh RNN's."""

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[Any, Any]:
        """Return the output and the next state."""
        h = torch.tanh(self.inner(x) + self.recurrent(h))
        return h * 1, h


HANDS = {"LSTM": HandLSTM, "GRU": HandGRU, "RNN": HandRNN}


class Run:
    """A sequence graph with its inputs, called for one sequence."""

    def __init__(self, module: nn.Module, hidden: int, folder: Path, **options: Any) -> None:
        artifact = edgernn.export_model(
            module.eval(), folder, graph="sequence", verify=False, **options
        )
        contract, file = artifact.contract, artifact.path / "sequence.onnx"
        self.operators = {node.op_type for node in onnx.load(file).graph.node}
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = session.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            file, session, providers=["CPUExecutionProvider"]
        )
        self._feeds = {state.input: contract.initial(state) for state in contract.states}
        x, sizes = contract.data_inputs("sequence")[0], {"batch": 1, "sequence": STEPS}
        shape = [hidden if isinstance(size, int) else sizes[size] for size in x.shape]
        self._feeds[x.name] = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def __call__(self) -> float:
        """Return µs of one call, on this thread's clock."""
        begin = time.thread_time()
        self._session.run(None, self._feeds)
        return (time.thread_time() - begin) * 1e6


def compared(kind: str, hidden: int, rounds: int, folder: Path) -> dict[str, float]:
    """Return µs for 100 steps of every way."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(hidden, hidden)
    whole, row = f"float32[sequence,batch,{hidden}]", f"float32[batch,{hidden}]"
    states = ("h", "c") if kind == "LSTM" else ("h",)
    folder = folder / f"{kind}{hidden}"
    folder.mkdir()
    runs = {
        "layer": Run(layer, hidden, folder / "layer", inputs=[f"input:{whole}"]),
        "cell loop": Run(Loop(layer), hidden, folder / "loop", inputs=[f"x:{whole}"]),
        "by hand": Run(
            HANDS[kind](layer),
            hidden,
            folder / "hand",
            inputs=[f"{name}:{row}" for name in ("x", *states)],
            states={name: place for place, name in enumerate(states, 1)},
        ),
    }
    _check_forms(kind, runs)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(found) for name, found in times.items()}


def _check_forms(kind: str, runs: dict[str, Run]) -> None:
    wanted = dict(zip(WAYS, (kind, kind, "Scan"), strict=True))
    for name, run in runs.items():
        if wanted[name] not in run.operators:
            raise SystemExit(f"{kind} {name}: no {wanted[name]} among {sorted(run.operators)}")


def shortfalls(kind: str, hidden: int, times: dict[str, float]) -> list[str]:
    """Return what of the promised speed was missed."""
    most = {"cell loop": _LOOP_MOST} | ({"by hand": _MOST} if hidden >= _MOST_AT else {})
    return [
        f"{kind} {hidden}: {name} takes {times[name] / times['layer']:.2f} x the layer, at most "
        f"{limit} x was promised"
        for name, limit in most.items()
        if times[name] > limit * times["layer"]
    ]


def table_of(results: dict[str, dict[int, dict[str, float]]]) -> Table:
    """Return the results as a table, one row per kind and hidden size."""
    table = Table(title=f"µs for {STEPS} steps, batch 1, one thread, ONNX Runtime")
    for heading in ("kind", "hidden", *WAYS, "loop : layer", "hand : layer"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, by_size in results.items():
        for hidden, times in by_size.items():
            ratios = (times[name] / times["layer"] for name in WAYS[1:])
            cells = [f"{times[name]:.0f}" for name in WAYS] + [f"{one:.2f}" for one in ratios]
            table.add_row(kind, str(hidden), *cells)
    return table


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(HANDS)), default=list(HANDS))
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(32, 128, 256))
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the promised speed is missed.")
def main(
    kinds: tuple[str, ...], hidden: tuple[int, ...], rounds: int, as_json: bool, check: bool
) -> None:
    """Compare the sequence graphs of one recurrence written three ways."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            kind: {size: compared(kind, size, rounds, Path(folder)) for size in hidden}
            for kind in kinds
        }
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(results))
    missed = [
        line
        for kind, by_size in results.items()
        for size, times in by_size.items()
        for line in shortfalls(kind, size, times)
    ]
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
