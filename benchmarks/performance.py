"""Compare edgernn with what else runs a recurrent layer, and write docs/performance.md.

    python benchmarks/performance.py
    python benchmarks/performance.py --only step --kind LSTM --rounds 5
    python benchmarks/performance.py --write docs/performance.md --check

Every way runs the same weights on the same data, on one thread, in one process, in rounds by turns.
Its numbers must be those of eager torch before it is timed. A time is the median in CPU time. What
a way does not run is left out, with the reason below the table. Packages of others that take part
where they are installed: openvino, ncnn, pnnx, tract.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from layer import Layer
from opponents import WAYS, Case, Run, Unavailable
from rich.console import Console
from rich.progress import track
from rich.table import Table

import edgernn
from edgernn.runtime.measure.timing import measure

STEP_CASES = tuple(
    Case(kind, hidden)
    for kind, sizes in (
        ("LSTM", (8, 32, 128, 256, 1024)),
        ("GRU", (8, 32, 128, 256, 1024)),
        ("RNN", (32, 128, 256)),
    )
    for hidden in sizes
)
SEQUENCE_CASES = (
    *(
        Case(kind, hidden, batch, 100)
        for kind in ("LSTM", "GRU")
        for batch, hidden in ((1, 32), (1, 256), (32, 32), (32, 256), (1, 1024))
    ),
    *(Case("RNN", hidden, batch, 100) for batch in (1, 8, 32) for hidden in (32, 128, 256)),
)
PACKAGES = ("edgernn", "torch", "onnxruntime", "onnxscript", "openvino", "ncnn", "pnnx", "tract")

_US = "edgernn"
_TORCH = "torch, layer"
_SPINNING = ("OpenVINO", "OpenVINO, stateful")
"""Their threads go on for a while after a call: they have rounds of their own, after the others."""
_TOLERANCE = 1e-5
_CHECKED_STEPS = 6
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Row:
    """What was measured of one case: name of a way → its µs, or why there are none."""

    case: Case
    times: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def compared(case: Case, rounds: int, folder: Path) -> Row:
    """Check and measure every way at one case."""
    torch.manual_seed(case.hidden)
    layer = Layer(case.kind, case.hidden).eval()
    artifact = edgernn.export_model(
        layer,
        folder / f"{case.kind}{case.hidden}.edgernn",
        inputs=(torch.zeros(2, 3, case.hidden),),
        force=True,
    )
    steps = _CHECKED_STEPS if case.by_steps else case.steps
    x = np.random.default_rng(case.hidden).standard_normal((case.batch, steps, case.hidden))
    x = x.astype(np.float32)
    row, calls = Row(case), {}
    for name, prepare in WAYS.items():
        try:
            run = prepare(case, layer, artifact, folder)
            _check(run, case, layer, x)
        except Unavailable as reason:
            row.reasons[name] = str(reason)
            continue
        given = run.prepare(np.ascontiguousarray(x[:, 0]) if case.by_steps else x)
        calls[name] = lambda run=run, given=given: run.call(given)
    for spinning in (False, True):
        group = {name: call for name, call in calls.items() if (name in _SPINNING) is spinning}
        if group:
            times = measure(group, rounds, clock="process")
            row.times |= {name: found.median * 1e6 for name, found in times.items()}
    return row


def _check(run: Run, case: Case, layer: Layer, x: np.ndarray) -> None:
    """Check that a way gives the numbers of eager torch.

    Raises:
        Unavailable: It does not.
    """
    with torch.inference_mode():
        expected = layer(torch.from_numpy(x)).numpy()
    if case.by_steps:
        rows = (np.ascontiguousarray(x[:, t]) for t in range(x.shape[1]))
        results = [np.array(run.to_array(run.call(run.prepare(row)))) for row in rows]
        found = np.stack([result.reshape(case.shape) for result in results], 1)
    else:
        found = run.to_array(run.call(run.prepare(x)))
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE:
        raise Unavailable(f"it gives other numbers than torch, by {difference:.1e}")


def shortfalls(rows: Iterable[Row]) -> list[str]:
    """Return where edgernn is not the fastest of all ways."""
    missed = []
    for row in rows:
        fastest = min(row.times, key=lambda name: row.times[name])
        if fastest != _US:
            ratio = row.times[_US] / row.times[fastest]
            missed.append(f"{title_of(row.case)}: {fastest} takes {1 / ratio:.2f} × of it")
    return missed


def title_of(case: Case) -> str:
    """Describe a case in a table's first column."""
    return f"{case.kind} {case.hidden}" + ("" if case.by_steps else f", batch {case.batch}")


def cells(row: Row, names: Sequence[str], bold: str) -> list[str]:
    """Return the cells of a row: µs, the shortest in bold; then the two ratios."""
    least = min(row.times.values())
    found = []
    for name in names:
        if name not in row.times:
            found.append("-")
            continue
        text = f"{row.times[name]:,.1f}" if row.times[name] < 100 else f"{row.times[name]:,.0f}"
        found.append(bold.format(text) if row.times[name] == least else text)
    return [title_of(row.case), *found, f"{row.times[_TORCH] / row.times[_US]:.1f}"]


def headings(names: Sequence[str]) -> list[str]:
    """Return the headings of a table."""
    return ["layer", *names, "torch : edgernn"]


def markdown(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return the rows as a table in Markdown, and the reasons for what it leaves out."""
    lines = [headings(names), ["---", *["---:"] * (len(names) + 1)]]
    lines += [cells(row, names, "**{}**") for row in rows]
    table = [f"| {' | '.join(line)} |" for line in lines]
    why: dict[str, list[str]] = {}
    for row in rows:
        for name, reason in row.reasons.items():
            if name in names:
                why.setdefault(f"{name}: {reason}", []).append(title_of(row.case))
    notes = [
        f"- {reason} ({'all' if len(cases) == len(rows) else ', '.join(cases)})."
        for reason, cases in why.items()
    ]
    return [*table, "", *([] if not notes else ["Left out:", "", *notes, ""])]


def machine() -> str:
    """Describe the machine and the versions in one paragraph."""
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.exists() else ""
    model = next((line.split(":")[1] for line in text.splitlines() if "model name" in line), "")
    extensions = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if name in text]
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cpu = " ".join(model.split()) or platform.processor() or platform.machine()
    return (
        f"{cpu} ({', '.join(extensions) or platform.machine()}), {platform.system()}, Python "
        f"{platform.python_version()}. {', '.join(found)}."
    )


def write_page(page: Path, parts: Mapping[str, Sequence[Row]]) -> None:
    """Replace what was measured in a page, between its two marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise click.UsageError(f"{page} lacks the marks {_BEGIN} and {_END}.")
    lines = [_BEGIN, "", f"Measured on: {machine()}", ""]
    for title, rows in parts.items():
        lines += [f"## {title}", "", *markdown(rows, _names(rows))]
    page.write_text(before + "\n".join([*lines, _END]) + after, encoding="utf-8")


def _names(rows: Sequence[Row]) -> list[str]:
    return [name for name in WAYS if any(name in row.times for row in rows)]


def _print(title: str, rows: Sequence[Row]) -> None:
    names = _names(rows)
    table = Table(title=title)
    for heading in headings(names):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*cells(row, names, "[bold]{}[/bold]"))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@click.option("--only", type=click.Choice(["step", "sequence"]), help="Measure these cases only.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(["LSTM", "GRU", "RNN"]))
@click.option("--hidden", "sizes", multiple=True, type=int, help="Measure these sizes only.")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "page", type=click.Path(exists=True, path_type=Path), metavar="PAGE.md")
@click.option("--check", is_flag=True, help="Exit with 1 where edgernn is not the fastest.")
def main(
    only: str | None,
    kinds: tuple[str, ...],
    sizes: tuple[int, ...],
    rounds: int,
    as_json: bool,
    page: Path | None,
    check: bool,
) -> None:
    """Compare edgernn with what else runs a recurrent layer."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    titles = {"µs per step": STEP_CASES, "µs for 100 steps in one call": SEQUENCE_CASES}
    parts: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for title, cases in titles.items():
            chosen = [
                case
                for case in cases
                if only in (None, "step" if case.by_steps else "sequence")
                and (not kinds or case.kind in kinds)
                and (not sizes or case.hidden in sizes)
            ]
            if chosen:
                done = track(chosen, title, console=Console(stderr=True), transient=True)
                parts[title] = [compared(case, rounds, Path(folder)) for case in done]
    rows = [row for part in parts.values() for row in part]
    if not rows:
        raise click.UsageError("There is no such case.")
    if as_json:
        click.echo(json.dumps([_as_json(row) for row in rows], indent=2))
    else:
        for title, part in parts.items():
            _print(title, part)
    if page is not None:
        write_page(page, parts)
    missed = shortfalls(rows)
    for line in missed:
        click.echo(line, err=True)
    sys.exit(1 if check and missed else 0)


def _as_json(row: Row) -> dict[str, Any]:
    return {**vars(row.case), "us": row.times, "left_out": row.reasons}


if __name__ == "__main__":
    main()
