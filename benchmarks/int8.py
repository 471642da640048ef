"""What int8 costs and saves: one layer of each kind, its error, and its time per step.

    python benchmarks/int8.py --check
    python benchmarks/int8.py --kind GRU --hidden 256 --without-vnni --check

Every layer is proven by the gate, which refuses weights that saturate on some CPU. Its error is the
largest difference from eager torch in float32 over a thousand steps, each from the state before it,
of inputs drawn evenly from -1 to 1: the median of eight sequences, and the largest of all. Times
are CPU times of bound graphs on one thread, batch 1, in rounds by turns: of a step, and of a
sequence of 100 steps per step. float32 is the faster of the portable graph and its forms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from layer import Layer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import edgernn
from edgernn.errors import ParityError
from edgernn.runtime.measure.timing import measure

KINDS = ("LSTM", "GRU", "RNN")
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
PRECISIONS = ("float32", "int8")
STEPS = {"step": 1, "sequence": 100}
SEQUENCES, CHAINED = 8, 1000

Array = NDArray[np.float32]
Result = dict[str, Any]

MOST_ERROR = {"LSTM": 4e-3, "GRU": 7e-3}
LEAST_SPEED_UP: Mapping[tuple[str, int, bool], float] = {
    ("step", 256, False): 1.4,
    ("step", 256, True): 2.0,
    ("step", 1024, True): 4.0,
    ("sequence", 256, False): 1.8,
    ("sequence", 256, True): 1.8,
}
"""Graph, hidden size and whether the CPU has VNNI → the least ratio of float32 to int8."""


def exported(layer: Layer, precision: str, path: Path) -> edgernn.Artifact:
    """Export one layer, proven where its numbers are int8."""
    return edgernn.export_model(
        layer,
        path,
        inputs=(torch.zeros(2, 3, layer.rnn.hidden_size),),
        precision=precision,
        verify=precision == "int8",
    )


def session_of(path: Path) -> Any:
    """Return a session with one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def bound(path: Path, steps: int) -> Callable[[], Any]:
    """Return a call of a graph at batch 1, bound to inputs once."""
    session = session_of(path)
    binding, rng = session.io_binding(), np.random.default_rng(0)
    sizes = {"batch": 1, "sequence": steps}
    arrays = []
    for port in (*session.get_inputs(), *session.get_outputs()):
        shape = [sizes.get(size, size) for size in port.shape]
        array = rng.uniform(-1, 1, shape).astype(np.float32)
        is_input = len(arrays) < len(session.get_inputs())
        bind = binding.bind_input if is_input else binding.bind_output
        bind(port.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        arrays.append(array)
    return lambda _memory=arrays: session.run_with_iobinding(binding)


def speeds(artifacts: Mapping[str, edgernn.Artifact], rounds: int) -> dict[str, dict[str, float]]:
    """Return µs per step of each graph in each precision, the best form of float32."""
    found: dict[str, dict[str, float]] = {}
    for graph, steps in STEPS.items():
        calls = {
            (precision, path): bound(path, steps)
            for precision, artifact in artifacts.items()
            for path in files_of(artifact, graph)
        }
        times = measure({str(key): call for key, call in calls.items()}, rounds, clock="process")
        found[graph] = {
            precision: min(times[str(key)].median for key in calls if key[0] == precision)
            / steps
            * 1e6
            for precision in artifacts
        }
    return found


def files_of(artifact: edgernn.Artifact, graph: str) -> Iterator[Path]:
    """Yield the portable graph and the forms that run on a CPU in its place."""
    yield artifact.path / f"{graph}.onnx"
    for form in artifact.forms:
        if form.graph == graph and form.provider == "cpu":
            yield artifact.path / form.file


def chained_errors(layer: Layer, artifact: edgernn.Artifact) -> dict[str, Array]:
    """Return the largest difference from torch of each sequence, as a whole and by steps."""
    hidden = layer.rnn.hidden_size
    drawn = np.random.default_rng(0).uniform(-1, 1, (SEQUENCES, CHAINED, hidden))
    x = drawn.astype(np.float32)
    with torch.no_grad():
        expected = layer(torch.tensor(x)).numpy()
    model = edgernn.load(artifact.path)
    stream = model.stream(batch=SEQUENCES)
    steps = np.stack([np.array(stream.step(x[:, t])) for t in range(CHAINED)], axis=1)
    outputs = {"sequence": np.asarray(model(x)), "step": steps}
    return {graph: np.abs(y - expected).max((1, 2)) for graph, y in outputs.items()}


def compared(kind: str, hidden: int, rounds: int, folder: Path) -> Result:
    """Return the errors, times and bytes of one layer; or why the gate refused it."""
    torch.manual_seed(hidden)
    layer = Layer(kind, hidden).eval()
    try:
        artifacts = {one: exported(layer, one, folder / one) for one in PRECISIONS}
    except ParityError as error:
        return {"refused": str(error)}
    errors = chained_errors(layer, artifacts["int8"])
    return {
        "error": {graph: float(np.median(found)) for graph, found in errors.items()},
        "largest": {graph: float(found.max()) for graph, found in errors.items()},
        "times": speeds(artifacts, rounds),
        "kilobytes": {
            one: (a.path / "step.onnx").stat().st_size / 1e3 for one, a in artifacts.items()
        },
    }


def missed(kind: str, hidden: int, found: Result, vnni: bool) -> Iterator[str]:
    """Yield what one layer misses of the targets."""
    if "refused" in found:
        yield f"{kind} {hidden}: {found['refused']}"
        return
    for graph in STEPS:
        error, most = found["error"][graph], MOST_ERROR.get(kind)
        if most is not None and error > most:
            yield f"{kind} {hidden}: the {graph} graph is off by {error:.1e}, above {most:.0e}"
        least, times = LEAST_SPEED_UP.get((graph, hidden, vnni)), found["times"][graph]
        ratio = times["float32"] / times["int8"]
        if least is not None and ratio < least:
            yield f"{kind} {hidden}: the {graph} graph is {ratio:.2f} × float32, below {least}"


def table_of(results: Mapping[tuple[str, int], Result]) -> Table:
    """Return the results as a table."""
    columns = ("kind", "hidden", "error: sequence", "step", "largest")
    table = Table(
        *columns,
        "step: float32",
        "int8",
        "ratio",
        "sequence: float32",
        "int8",
        "ratio",
        "kB",
        "int8",
    )
    for (kind, hidden), found in results.items():
        if "refused" in found:
            table.add_row(kind, str(hidden), found["refused"])
            continue
        cells = [f"{found['error'][graph]:.1e}" for graph in ("sequence", "step")]
        cells.append(f"{max(found['largest'].values()):.1e}")
        for graph in STEPS:
            times = found["times"][graph]
            cells += [f"{times[one]:.1f}" for one in PRECISIONS]
            cells.append(f"{times['float32'] / times['int8']:.2f}")
        table.add_row(
            kind, str(hidden), *cells, *(f"{k:,.0f}" for k in found["kilobytes"].values())
        )
    return table


def run_without_vnni() -> None:
    """Run this program again as on a CPU without VNNI."""
    folder = Path(tempfile.mkdtemp())
    source, library = Path(__file__).with_name("hide_vnni.c"), folder / "hide_vnni.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", source, "-o", library], check=True)
    arguments = [sys.executable, *sys.argv]
    os.execve(sys.executable, arguments, {**os.environ, "LD_PRELOAD": str(library)})


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option("--hidden", multiple=True, type=click.IntRange(1), default=SIZES)
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True)
@click.option("--without-vnni", is_flag=True, help="Hide VNNI and AVX-512 from all libraries.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 where a target is missed.")
def main(
    kinds: tuple[str, ...],
    hidden: tuple[int, ...],
    rounds: int,
    without_vnni: bool,
    as_json: bool,
    check: bool,
) -> None:
    """Measure the errors and the times of one layer in int8."""
    if without_vnni and "hide_vnni" not in os.environ.get("LD_PRELOAD", ""):
        run_without_vnni()
    vnni = not without_vnni and "vnni" in Path("/proc/cpuinfo").read_text()
    torch.set_num_threads(1)
    results: dict[tuple[str, int], Result] = {}
    for kind in kinds:
        for size in hidden:
            with tempfile.TemporaryDirectory() as folder:
                results[kind, size] = compared(kind, size, rounds, Path(folder))
            click.echo(f"{kind} {size} measured", err=True)
    if as_json:
        named = {f"{kind} {size}": found for (kind, size), found in results.items()}
        click.echo(json.dumps(named, indent=2))
    else:
        Console(width=160).print(table_of(results))
    failures = [text for key, found in results.items() for text in missed(*key, found, vnni)]
    for text in failures if check else ():
        click.echo(text, err=True)
    sys.exit(1 if check and failures else 0)


if __name__ == "__main__":
    main()
