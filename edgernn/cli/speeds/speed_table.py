"""The table and the JSON of `edgernn bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgernn.cli.speeds.measure_speeds import Bench
from edgernn.cli.speeds.speed_text import microseconds, number_text, share_percent
from edgernn.cli.terminal_tables import facts, show, table
from edgernn.facts import size_text
from edgernn.runtime.measure.limits import Limits
from edgernn.runtime.measure.machine import machine_name, versions
from edgernn.runtime.measure.speed import Speed

__all__ = ["bench_json", "print_bench"]

Column = tuple[str, Callable[[Speed], str]]


def print_bench(bench: Bench) -> None:
    """Print the machine, its limits and what was measured."""
    columns = [column for column, is_shown in _columns(bench.speeds) if is_shown]
    show(
        facts(_facts(bench)),
        table(
            "Time of one call",
            [name for name, _ in columns],
            [[text(speed) for _, text in columns] for speed in bench.speeds],
        ),
    )


def bench_json(bench: Bench) -> dict[str, Any]:
    """Return all that was measured as a JSON object; times in seconds."""
    return {
        "artifact": str(bench.path),
        "machine": machine_name(),
        "versions": versions(),
        "threads": bench.options.threads,
        "limits": [
            {
                "precision": part.precision,
                "provider": part.provider,
                "weight_bytes": part.artifact.cost.weight_bytes,
                "memory_bytes_per_second": part.limits.memory,
                "weight_bytes_per_second": part.limits.weights,
                "multiply_adds_per_second": part.limits.multiply_adds,
            }
            for part in bench.parts
            if part.limits is not None
        ],
        "cells": [speed.to_json() for speed in bench.speeds],
    }


def _columns(speeds: Sequence[Speed]) -> list[tuple[Column, bool]]:
    """Return the columns, each with whether it says anything."""
    has_rate = any(speed.sample_rate for speed in speeds)
    has_eager = any(speed.eager for speed in speeds)
    has_forms = any(one.graph not in ("", "step", "sequence") for one in speeds)
    several = len({speed.cell.provider for speed in speeds}) > 1
    return [
        (("batch", lambda one: f"{one.cell.batch:,}"), True),
        (("chunk", lambda one: f"{one.cell.chunk:,}"), True),
        (("precision", lambda one: one.cell.precision), any(one.cell.precision for one in speeds)),
        (("provider", lambda one: one.cell.provider), several),
        (("graph", lambda one: one.graph), has_forms),
        (("median µs", lambda one: microseconds(one.times.median)), True),
        (("p99 µs", lambda one: microseconds(one.times.percentile(99))), True),
        (("steps/s", lambda one: number_text(one.steps_per_second)), True),
        (("× real time", lambda one: number_text(one.real_time_factor, 2)), has_rate),
        (("torch µs", lambda one: microseconds(one.eager.median) if one.eager else "-"), has_eager),
        (("× torch", lambda one: number_text(one.speedup, 2)), has_eager),
        (("% of limit", share_percent), True),
        (("limit", lambda one: one.bound.of), True),
    ]


def _facts(bench: Bench) -> list[tuple[str, str]]:
    """Return what was measured, and on what."""
    threads = bench.options.threads
    found = versions()
    packages = ("onnxruntime", "onnxruntime-gpu", *(("torch",) if bench.eager else ()))
    lines = [
        ("model", f"{bench.path.resolve().name}: {bench.parts[0].artifact.contract.source}"),
        ("machine", f"{machine_name()}; {threads} thread{'s' if threads > 1 else ''} used"),
        ("versions", ", ".join(f"{name} {found[name]}" for name in packages if name in found)),
    ]
    precisions = {part.precision for part in bench.parts}
    providers = {part.provider for part in bench.parts}
    for part in bench.parts:
        if part.limits is None:
            continue
        names = [part.precision] if len(precisions) > 1 else []
        names += [part.provider] if len(providers) > 1 else []
        line = _limits_line(part.limits, part.artifact.cost.weight_bytes)
        lines.append(("limits", " on ".join(names) + (": " if names else "") + line))
    return lines


def _limits_line(limits: Limits, weight_bytes: int) -> str:
    source = " from a cache" if limits.is_cached else ""
    return (
        f"memory {limits.memory / 1e9:.1f} GB/s; {size_text(weight_bytes)} of weights{source} "
        f"{limits.weights / 1e9:.1f} GB/s; "
        f"{limits.multiply_adds / 1e9:.1f} G float32 multiply-adds/s"
    )
