"""docs/supported.md: written from the trials, and read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.nets.kinds import KINDS
from tests.supported.trials import BOTH, NOTHING, SEQUENCE_ONLY, TABLES

__all__ = ["PAGE", "Cell", "Results", "cells", "read", "written"]

PAGE = Path(__file__).parents[2] / "docs" / "supported.md"

Cell = tuple[str, str, str]
Results = Mapping[Cell, str]
"""(table, kind, column) → what its trial gave."""

_PLAIN = (BOTH, SEQUENCE_ONLY, NOTHING)

_HEAD = f"""# What is supported

This page lists which layers, cells and loops can be exported, with which options, initial states
and model files. Each cell is one export of a small model, with the parity check against eager
torch:

- `{BOTH}`: both graphs.
- `{SEQUENCE_ONLY}`: only a sequence graph, because the model runs backward or computes its initial
  state from the data.
- A number: a refusal, with its message below the table.
- `{NOTHING}`: torch does not have it, or cannot save it.

`scripts/supported` makes this page.
"""


def cells() -> Iterator[Cell]:
    """Yield every cell of the page."""
    for name, table in TABLES.items():
        for kind in KINDS:
            for column in table.columns:
                yield name, kind, column


def written(results: Results) -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for name, table in TABLES.items():
        parts += [f"## {table.heading}\n", f"{table.text}\n", _table(name, results)]
    return "\n".join(parts)


def _table(name: str, results: Results) -> str:
    columns = list(TABLES[name].columns)
    reasons: list[str] = []
    lines = [_row(["", *columns]), _row(["---"] + [":-:"] * len(columns))]
    for kind in KINDS:
        found = [_mark(results[name, kind, column], reasons) for column in columns]
        lines.append(_row([kind, *found]))
    notes = [f"{place}. {reason}" for place, reason in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *notes, ""] if notes else [*lines, ""])


def _mark(result: str, reasons: list[str]) -> str:
    if result in _PLAIN:
        return result
    if result not in reasons:
        reasons.append(result)
    return str(reasons.index(result) + 1)


def _row(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def read(text: str) -> dict[Cell, str]:
    """Return the results that a page was written from."""
    results: dict[Cell, str] = {}
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    for (name, _), section in zip(TABLES.items(), sections, strict=True):
        reasons = dict(re.findall(r"^(\d+)\. (.*)$", section, re.M))
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
        columns = rows[0]
        for kind, *marks in rows[2:]:
            for column, mark in zip(columns, marks, strict=True):
                results[name, kind, column] = reasons.get(mark, mark)
    return results
