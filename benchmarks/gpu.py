"""Check and measure edgernn on an NVIDIA GPU, beside eager torch with cuDNN on the same GPU.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --part parity --part pool
    python -m benchmarks.gpu --provider cpu --quick      # tests the program itself

Each part runs in a process of its own with a limit of its own, the most valuable first; what a part
measured until it failed or ran out of time is kept. All results go into `gpu.json` and `gpu.txt`,
written anew after every part. Times are the wall's, from an array on the host to an array on the
host. The exit code is 1 where a part failed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_parts import PARTS, Setting

_PACKAGES = ("edgernn", "numpy", "torch", "onnx", "onnxruntime-gpu", "onnxruntime")
_LEAST_S = 15.0
_SECONDS = 430.0


@click.command()
@click.option("--provider", default="cuda", show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice([*PARTS]), default=[*PARTS])
@click.option("--quick", is_flag=True, help="Small models.")
@click.option(
    "--seconds",
    default=_SECONDS,
    show_default=True,
    help="For all parts together; more gives each of them more.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("OUT", "build/gpu")),
    help="The folder of the results.  [default: $OUT, or build/gpu]",
)
@click.option("--rows", type=click.Path(path_type=Path), hidden=True)
@click.option("--models", type=click.Path(path_type=Path), hidden=True)
def main(
    provider: str,
    parts: tuple[str, ...],
    quick: bool,
    seconds: float,
    out: Path,
    rows: Path | None,
    models: Path | None,
) -> None:
    """Run the parts, and print and write their tables."""
    if rows is not None and models is not None:
        _run_here(parts[0], Setting(provider, models, quick), rows)
        return
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    results: dict[str, Any] = {"machine": _machine(), "provider": provider, "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in parts:
            limit = min(PARTS[name][1] * seconds / _SECONDS, end - time.monotonic())
            arguments = ["--provider", provider, *(["--quick"] if quick else [])]
            results["parts"][name] = _run_apart(name, arguments, Path(folder), limit)
            _write(results, out)
    sys.exit(any(part["failure"] for part in results["parts"].values()))


def _run_here(name: str, setting: Setting, rows: Path) -> None:
    """Run a part and write its rows as lines of JSON."""
    with rows.open("w") as file:
        for row in PARTS[name][0](setting):
            print(json.dumps(row, ensure_ascii=False), file=file, flush=True)


def _run_apart(name: str, arguments: list[str], folder: Path, limit: float) -> dict[str, Any]:
    """Run a part in another process; return its rows, its time, and why it failed."""
    if limit < _LEAST_S:
        return {"rows": [], "seconds": 0.0, "failure": "no time was left"}
    rows, log, began = folder / f"{name}.jsonl", folder / f"{name}.log", time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, *arguments]
    command += ["--rows", str(rows), "--models", str(folder / "models")]
    (folder / "models").mkdir(exist_ok=True)
    failure = ""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            if code := process.wait(limit):
                failure = f"exit code {code}: {log.read_text(errors='replace')[-2000:]}"
        except subprocess.TimeoutExpired:
            failure = f"stopped after {limit:.0f} s"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with processes that it started
        process.wait()
    lines = rows.read_text().splitlines() if rows.exists() else []
    return {
        "rows": [json.loads(line) for line in lines if line.endswith("}")],
        "seconds": round(time.monotonic() - began, 1),
        "failure": failure,
    }


def _machine() -> dict[str, str]:
    """Return the GPU, the processor and the versions."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    try:
        query = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        ]
        gpu = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip()
    except OSError:
        gpu = "none"
    return {"GPU": gpu, "system": platform.platform(), "cores": str(os.cpu_count()), **versions}


def _write(results: dict[str, Any], out: Path) -> None:
    """Write all results so far, and print those of the last part."""
    (out / "gpu.json").write_text(json.dumps(results, indent=1, ensure_ascii=False))
    with (out / "gpu.txt").open("w") as file:
        console = Console(file=file, width=180)
        for name, value in results["machine"].items():
            console.print(f"{name}: {value}", highlight=False)
        for name, part in results["parts"].items():
            _show(console, name, part)
    name, part = list(results["parts"].items())[-1]
    _show(Console(), name, part)


def _show(console: Console, name: str, part: dict[str, Any]) -> None:
    """Print the table of a part."""
    columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
    table = Table(title=f"{name}, {part['seconds']} s", title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in part["rows"]:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    console.print(table)
    if part["failure"]:
        console.print(f"{name} failed: {part['failure']}", markup=False)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if abs(value) < 0.1 else f"{value:,.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} ×{count}" for name, count in value.items())
    return str(value)


if __name__ == "__main__":
    main()
