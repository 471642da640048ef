"""Compare one step of an artifact with the bare operator in a program in C: batch 1, one thread.

    python benchmarks/step_in_c.py
    python benchmarks/step_in_c.py --hidden 128 --check

The artifact's step is the graph that the runtime runs for one stream: a form of the step graph
where it has one. The bare operator is a graph of that node alone, written here. Both run in
`step_in_c.c`, bound to buffers, in interleaved rounds. `scripts/header` finds ONNX Runtime's
header.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import onnx
import torch
from layer import Layer
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

import edgernn
from edgernn.forms import choose_form
from edgernn.runtime.providers import find_library

_ROOT = Path(__file__).parents[1]
_MOST = 1.05  # the artifact's step may take this many times what the operator takes


def operator_alone(kind: str, hidden: int, file: Path) -> None:
    """Write a graph of one node that takes one step, with random weights."""
    gates, rng = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], np.random.default_rng(hidden)
    shapes = {
        "W": (gates * hidden, hidden),
        "R": (gates * hidden, hidden),
        "B": (2 * gates * hidden,),
    }
    weights = [
        numpy_helper.from_array((rng.normal(size=(1, *shape)) / hidden**0.5).astype("f"), name)
        for name, shape in shapes.items()
    ]
    states = ["h", "c"][: 1 + (kind == "LSTM")]

    def port(name: str, rank: int) -> onnx.ValueInfoProto:
        shape = [*[1] * (rank - 2), "batch", hidden]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node(
        kind,
        ["x", "W", "R", "B", "", *(f"{state}_in" for state in states)],
        ["output", *(f"{state}_out" for state in states)],
        hidden_size=hidden,
        **({"linear_before_reset": 1} if kind == "GRU" else {}),
    )
    graph = helper.make_graph(
        [node],
        "operator",
        [port("x", 3), *(port(f"{state}_in", 3) for state in states)],
        [port("output", 4), *(port(f"{state}_out", 3) for state in states)],
        weights,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file
    )


def step_of(artifact: edgernn.Artifact) -> Path:
    """Return the graph that the runtime runs for a step of one stream."""
    form = choose_form(artifact.forms, "step", "cpu", {"batch": 1})
    return artifact.checked("step") if form is None else artifact.checked_form(form)


def build(folder: Path) -> Path:
    """Build the program and return it."""
    found = subprocess.run([_ROOT / "scripts" / "header"], check=True, stdout=subprocess.PIPE)
    include = found.stdout.decode().strip()
    program = folder / "step_in_c"
    source = Path(__file__).with_suffix(".c")
    compiler = os.environ.get("CC", "cc")
    options = ["-std=c11", "-O2", "-isystem", include, "-o", str(program), "-ldl"]
    subprocess.run([compiler, str(source), *options], check=True)
    return program


@click.command()
@click.option("--kind", "kinds", multiple=True, default=("LSTM", "GRU"), show_default=True)
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=(8, 32, 64, 128, 256))
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--check", is_flag=True, help="Exit with 1 where a step takes more than promised.")
def main(kinds: tuple[str, ...], hidden: tuple[int, ...], rounds: int, check: bool) -> None:
    """Compare one step of an artifact with the bare operator in a program in C."""
    torch.set_num_threads(1)
    table = Table(title="µs per step in C, batch 1, one thread")
    for heading in ("layer", "hidden", "operator", "artifact", "step.onnx", "artifact : operator"):
        table.add_column(heading, justify="right")
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, library = build(folder), find_library()
        assert library is not None
        for kind in kinds:
            for size in hidden:
                artifact = edgernn.export_model(
                    Layer(kind, size).eval(), folder / f"{kind}{size}.edgernn"
                )
                operator_alone(kind, size, folder / "operator.onnx")
                files = [folder / "operator.onnx", step_of(artifact), artifact.checked("step")]
                run = subprocess.run(
                    [program, library, str(rounds), *files],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                operator, ours, portable = map(float, run.stdout.split())
                ratio = ours / operator
                table.add_row(
                    kind,
                    str(size),
                    *(f"{t:.2f}" for t in (operator, ours, portable)),
                    f"{ratio:.2f}",
                )
                if ratio > _MOST:
                    missed.append(
                        f"{kind} {size}: {ratio:.2f} x the operator, at most {_MOST} x was promised"
                    )
    Console().print(table)
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
