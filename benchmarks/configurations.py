"""Count the recurrent layers that come out right: edgernn beside torch's own two exporters.

    python benchmarks/configurations.py
    python benchmarks/configurations.py --limit 40 --way edgernn --way dynamo --way torchscript

The configurations are those of torch's own ONNX and module test suites: kinds, layers, directions,
bias, projection, batch_first, batched or not, initial state given or not, packed or not, sorted or
not. Each is exported at one size, all in one process, and passes when ONNX Runtime gives what eager
torch gives, output and final states, at that size and at four others. torch's exporters are called
as serves them best: batch and sequence by `dynamic_axes` (dynamo=False) or as `Dim.DYNAMIC`
(dynamo=True), what they keep from one export for the next cleared. The exit code is 1 where edgernn
misses one.
"""

from __future__ import annotations

import collections
import itertools
import logging
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import edgernn

TOLERANCE = 1e-5
INPUT, HIDDEN, PROJECTED = 4, 6, 3
SIZES = ((3, 5), (1, 1), (2, 3), (5, 2), (4, 9))
"""Batch and sequence; the first is exported."""

Tensors = dict[str, torch.Tensor]
Exported = Callable[[Tensors], list[np.ndarray]]
"""From forward's arguments to what it returns: y, h and, of an LSTM, c."""


@dataclass(frozen=True)
class Configuration:
    """One layer and the way in which forward calls it."""

    kind: str
    layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    given: bool
    form: str

    def __str__(self) -> str:
        words = [self.kind, str(self.layers)]
        words += ["bidirectional"] * self.bidirectional + ["no_bias"] * (not self.bias)
        words += ["batch_first"] * self.batch_first + ["given"] * self.given + [self.form]
        return "-".join(words)


def configurations() -> list[Configuration]:
    """Return all of them."""
    kinds = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_proj")
    forms = ("batched", "unbatched", "packed", "packed_unsorted")
    both = (False, True)
    return [
        Configuration(*options)
        for options in itertools.product(kinds, (1, 3), both, both, both, both, forms)
    ]


class Net(nn.Module):
    """A layer between packing and unpacking, if any; forward returns y, h and, of an LSTM, c."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        self.rnn = _layer(configuration)

    def forward(
        self,
        x: torch.Tensor,
        lengths: torch.Tensor | None = None,
        h: torch.Tensor | None = None,
        c: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Run the layer on x, which ends at `lengths` where they are given."""
        hx = h if c is None else (h, c)
        first = self.configuration.batch_first
        if lengths is None:
            y, after = self.rnn(x, hx)
        else:
            ordered = self.configuration.form == "packed"
            rows = pack_padded_sequence(x, lengths, first, enforce_sorted=ordered)
            y, after = self.rnn(rows, hx)
            y, _ = pad_packed_sequence(y, first)
        return (y, *after) if isinstance(after, tuple) else (y, after)


def _layer(configuration: Configuration) -> nn.RNNBase:
    options: dict[str, Any] = {
        "num_layers": configuration.layers,
        "bidirectional": configuration.bidirectional,
        "bias": configuration.bias,
        "batch_first": configuration.batch_first,
    }
    name, _, variant = configuration.kind.partition("_")
    if name == "rnn":
        return nn.RNN(INPUT, HIDDEN, nonlinearity=variant, **options)
    if name == "gru":
        return nn.GRU(INPUT, HIDDEN, **options)
    return nn.LSTM(INPUT, HIDDEN, proj_size=PROJECTED if variant else 0, **options)


def example(configuration: Configuration, batch: int, sequence: int) -> Tensors:
    """Return forward's arguments at one size."""
    batched = configuration.form != "unbatched"
    x = torch.randn(batch, sequence, INPUT)
    x = x if configuration.batch_first else x.transpose(0, 1).contiguous()
    given = {"x": x if batched else torch.randn(sequence, INPUT)}
    if configuration.form.startswith("packed"):
        lengths = torch.randint(1, sequence + 1, (batch,))
        lengths[0] = sequence
        ordered = configuration.form == "packed"
        given["lengths"] = lengths.sort(descending=True).values if ordered else lengths.flip(0)
    if configuration.given:
        rows = configuration.layers * (2 if configuration.bidirectional else 1)
        axes = (rows, batch) if batched else (rows,)
        given["h"] = torch.randn(*axes, PROJECTED if configuration.kind == "lstm_proj" else HIDDEN)
        if configuration.kind.startswith("lstm"):
            given["c"] = torch.randn(*axes, HIDDEN)
    return given


def with_edgernn(net: Net, given: Tensors) -> Exported:
    """Export with edgernn, gate included."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = edgernn.export_model(net, Path(folder) / "net.edgernn", inputs=given)
        session = _session((artifact.path / "sequence.onnx").read_bytes())
    contract = artifact.contract
    ports = contract.graphs["sequence"]
    paths = [f"[{place}]" for place in range(3)]

    def run(arguments: Tensors) -> list[np.ndarray]:
        batch_axis = 0 if net.configuration.batch_first else 1
        batch = 1 if net.configuration.form == "unbatched" else arguments["x"].shape[batch_axis]
        feeds = {s.input: contract.initial(s, batch) for s in contract.states}
        feeds |= {p.name: arguments[p.origin].numpy() for p in ports.inputs if p.origin}
        values = session.run([port.name for port in ports.outputs], feeds)
        found = {port.origin: value for port, value in zip(ports.outputs, values, strict=True)}
        return [found[path] for path in paths if path in found]

    return run


def with_dynamo(net: Net, given: Tensors) -> Exported:
    """Export with torch.onnx.export(dynamo=True), the axes `Dim.DYNAMIC`, as in a new process."""
    for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        # or else the second layer of a kind gets the steps of the first, a fault of torch 2.13
        getattr(torch.ops.aten, kind).input._dispatch_cache.clear()
    shapes = {
        name: dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
        for name, axes in _axes(net.configuration, given).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        torch.onnx.export(
            net, (), str(file), kwargs=given, dynamo=True, dynamic_shapes=shapes, verbose=False,
            input_names=list(given), external_data=False,
        )  # fmt: skip
        return _positional(file, list(given))


def with_torchscript(net: Net, given: Tensors) -> Exported:
    """Export with torch.onnx.export(dynamo=False), the axes named."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        torch.onnx.export(
            net, (), str(file), kwargs=given, dynamo=False, input_names=list(given),
            dynamic_axes=_axes(net.configuration, given),
        )  # fmt: skip
        return _positional(file, list(given))


WAYS: dict[str, Callable[[Net, Tensors], Exported]] = {
    "edgernn": with_edgernn,
    "dynamo": with_dynamo,
    "torchscript": with_torchscript,
}


def _positional(file: Path, names: list[str]) -> Exported:
    session = _session(file.read_bytes())
    taken = {port.name for port in session.get_inputs()}

    def run(arguments: Tensors) -> list[np.ndarray]:
        feeds = {name: arguments[name].numpy() for name in names if name in taken}
        values: list[np.ndarray] = session.run(None, feeds)
        return values

    return run


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def _axes(configuration: Configuration, given: Tensors) -> dict[str, dict[int, str]]:
    """Return the dynamic axes of each argument."""
    if configuration.form == "unbatched":
        return {name: {0: "sequence"} if name == "x" else {} for name in given}
    x = ("batch", "sequence") if configuration.batch_first else ("sequence", "batch")
    axes = {"x": dict(enumerate(x)), "lengths": {0: "batch"}, "h": {1: "batch"}, "c": {1: "batch"}}
    return {name: axes[name] for name in given}


def failure(configuration: Configuration, export: Callable[[Net, Tensors], Exported]) -> str:
    """Return what goes wrong with a configuration in one line; nothing where all is right."""
    torch.manual_seed(0)
    net = Net(configuration).eval().requires_grad_(False)
    try:
        run = export(net, example(configuration, *SIZES[0]))
    except Exception as error:
        return f"export: {type(error).__name__}: {_first_line(error)}"
    for batch, sequence in SIZES:
        arguments = example(configuration, batch, sequence)
        expected = [tensor.numpy() for tensor in net(**arguments)]
        where = f"batch {batch}, sequence {sequence}"
        try:
            got = run(arguments)
        except Exception as error:
            return f"run at {where}: {type(error).__name__}: {_first_line(error)}"
        if [one.shape for one in got] != [one.shape for one in expected]:
            return f"wrong shape at {where}"
        worst = max(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True))
        if not worst < TOLERANCE:
            return f"wrong numbers at {where}: {worst:.1e}"
    return ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def sample(items: list[Configuration], limit: int | None) -> list[Configuration]:
    """Return `limit` of the items, always the same ones, or all."""
    if limit is None or limit >= len(items):
        return items
    return sorted(random.Random(0).sample(items, limit), key=items.index)


@click.command()
@click.option("--way", "ways", multiple=True, type=click.Choice(list(WAYS)), default=["edgernn"],
              show_default=True, help="What exports; once per way.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="That many configurations only.")
@click.option("--match", default="", help="Only those with this text in their names.")
@click.option("--failures", is_flag=True, help="Print each failure.")
def main(ways: tuple[str, ...], limit: int | None, match: str, failures: bool) -> None:
    """Count the configurations that pass, one row for each way to export."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    chosen = sample([one for one in configurations() if match in str(one)], limit)
    notes = Console(stderr=True)
    table = Table("way", "passed", "of", "seconds")
    missed = False
    for way in ways:
        start, failed = time.monotonic(), collections.Counter[str]()
        for one in track(chosen, way, console=notes):
            reason = failure(one, WAYS[way])
            failed[reason] += 1
            if reason and failures:
                notes.print(f"{way} {one}: {reason}", markup=False, highlight=False)
        passed = failed[""]
        missed |= way == "edgernn" and passed < len(chosen)
        table.add_row(way, f"{passed}", f"{len(chosen)}", f"{time.monotonic() - start:.0f}")
    Console().print(table)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
