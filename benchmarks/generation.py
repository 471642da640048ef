"""Compare the ways to let a character model write: µs per symbol, one thread, in one process.

    python benchmarks/generation.py
    python benchmarks/generation.py --hidden 256 --check

The model is an embedding, two layers and a head with one score per symbol. Every way has the same
weights, chooses the symbols in the same way and feeds them back. Eager torch runs as it is fastest
with the user's module: in inference mode, on one thread, its state kept from step to step; `cells`
is the same model rewritten by hand with `nn.LSTMCell` or `nn.GRUCell`. The rounds are interleaved,
and the median round counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import edgernn
from edgernn.runtime.measure.timing import measure

_SYMBOLS = [chr(32 + id_) for id_ in range(96)]
_COUNT = 300  # symbols in a call
_SPEEDUP, _SPEEDUP_AT = 8.0, 256  # times as fast as eager nn.LSTM, at this hidden size
_DRAWN = {"temperature": 0.8, "top_k": 40, "seed": 0}


class Writer(nn.Module):
    """Scores what may follow each symbol of a text."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(_SYMBOLS), hidden)
        self.rnn = getattr(nn, kind)(hidden, hidden, 2, batch_first=True)
        self.head = nn.Linear(hidden, len(_SYMBOLS))

    def forward(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return scores, `(batch, sequence, symbols)`, and the next state."""
        outputs, state = self.rnn(self.embedding(ids), state)
        return self.head(outputs), state


def eager(model: Writer) -> Callable[[], None]:
    """Return a call that lets the module write."""

    def write() -> None:
        ids, state = torch.tensor([[0]]), None
        with torch.inference_mode():
            for _ in range(_COUNT):
                scores, state = model(ids, state)
                ids = scores[:, -1].argmax(-1, keepdim=True)
                ids.item()

    return write


def eager_drawn(model: Writer) -> Callable[[], None]:
    """Return a call that lets the module write, with symbols drawn from the best 40."""

    def write() -> None:
        ids, state = torch.tensor([[0]]), None
        with torch.inference_mode():
            for _ in range(_COUNT):
                scores, state = model(ids, state)
                best, places = scores[:, -1].topk(40)
                weights = torch.softmax(best / _DRAWN["temperature"], -1)
                ids = places.gather(-1, torch.multinomial(weights, 1))
                ids.item()

    return write


def eager_cells(model: Writer) -> Callable[[], None]:
    """Return a call that lets cells with the weights of the module write."""
    cell_class = getattr(nn, f"{type(model.rnn).__name__}Cell")
    cells = []
    for layer in range(2):
        cell = cell_class(model.rnn.hidden_size, model.rnn.hidden_size)
        suffix = f"_l{layer}"
        weights = model.rnn.state_dict().items()
        cell.load_state_dict({k.removesuffix(suffix): v for k, v in weights if k.endswith(suffix)})
        cells.append(cell)

    def write() -> None:
        ids, states = torch.tensor([0]), [None, None]
        with torch.inference_mode():
            for _ in range(_COUNT):
                x = model.embedding(ids)
                for layer, cell in enumerate(cells):
                    states[layer] = cell(x, states[layer])
                    x = states[layer][0] if isinstance(states[layer], tuple) else states[layer]
                ids = model.head(x).argmax(-1)
                ids.item()

    return write


def by_hand(artifact: edgernn.Artifact) -> Callable[[], None]:
    """Return a call of a loop over `session.run` that feeds symbols and states back."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact.step), options)
    contract = artifact.contract
    (data,), (scores,) = contract.data_inputs("step"), contract.data_outputs("step")
    names = [scores.name, *(state.output for state in contract.states)]

    def write() -> None:
        feeds = {state.input: contract.initial(state) for state in contract.states}
        id_ = 0
        for _ in range(_COUNT):
            found, *states = session.run(names, {data.name: np.array([id_]), **feeds})
            id_ = int(found.argmax())
            feeds = {
                state.input: array for state, array in zip(contract.states, states, strict=True)
            }

    return write


def written(model: edgernn.Model, prompts: int = 1, **options: Any) -> Callable[[], None]:
    """Return a call that lets edgernn continue prompts."""

    def write() -> None:
        for _ in edgernn.generate(model, [" "] * prompts, _COUNT, **options):
            pass

    return write


def compared(kind: str, hidden: int, rounds: int, folder: Path) -> dict[str, float]:
    """Return µs per symbol of every way; for several prompts, of all of them together."""
    torch.manual_seed(hidden)
    model = Writer(kind, hidden).eval()
    artifacts = {
        precision: edgernn.export_model(
            model,
            folder / f"{kind}-{hidden}-{precision}.edgernn",
            inputs=(torch.zeros(2, 3, dtype=torch.int64),),
            vocabulary=_SYMBOLS,
            precision=precision,
        )
        for precision in ("float32", "int8")
    }
    loaded = {name: edgernn.load(artifact.path, threads=1) for name, artifact in artifacts.items()}
    calls = {
        "eager": eager(model),
        "eager, drawn": eager_drawn(model),
        "cells": eager_cells(model),
        "run()": by_hand(artifacts["float32"]),
        "edgernn": written(loaded["float32"]),
        "drawn": written(loaded["float32"], **_DRAWN),
        "int8": written(loaded["int8"]),
        "32 prompts": written(loaded["float32"], 32),
    }
    times = measure(calls, rounds, clock="process", block=1)
    each = {name: found.median / _COUNT * 1e6 for name, found in times.items()}
    return each | {"32 prompts": each["32 prompts"] / 32}


def table_of(results: dict[str, dict[str, float]]) -> Table:
    """Return the results as a table, one row per model."""
    names = list(next(iter(results.values())))
    table = Table(title="µs per symbol, two layers, 96 symbols, one thread")
    for heading in ("model", *names, "eager : edgernn", "eager : int8"):
        table.add_column(heading, justify="right")
    for model, times in results.items():
        ratios = (times["eager"] / times[way] for way in ("edgernn", "int8"))
        table.add_row(
            model, *(f"{times[name]:.1f}" for name in names), *(f"{one:.1f}" for one in ratios)
        )
    return table


def shortfalls(results: dict[str, dict[str, float]]) -> list[str]:
    """Return what of the promised speed was missed."""
    model = f"LSTM {_SPEEDUP_AT}"
    if model not in results:
        return []
    speedup = results[model]["eager"] / results[model]["edgernn"]
    return (
        [f"{model}: {speedup:.1f} x as fast as eager torch, at least {_SPEEDUP} x was promised"]
        if speedup < _SPEEDUP
        else []
    )


@click.command()
@click.option("--kind", multiple=True, type=click.Choice(["LSTM", "GRU"]), default=("LSTM", "GRU"))
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(64, 256))
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where the promised speed is missed.")
def main(
    kind: tuple[str, ...], hidden: tuple[int, ...], rounds: int, as_json: bool, check: bool
) -> None:
    """Compare the ways to let a character model write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            f"{one} {size}": compared(one, size, rounds, Path(folder))
            for one in kind
            for size in hidden
        }
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        Console().print(table_of(results))
    missed = shortfalls(results)
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
