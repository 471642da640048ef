"""Run every trial, two at a time, and print docs/supported.md: python -m tests.supported."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track

from tests.supported.page import cells, written
from tests.supported.trials import result

_AT_ONCE = 2


def main() -> None:
    """Print the page."""
    notes, order = Console(stderr=True), list(cells())
    with ProcessPoolExecutor(_AT_ONCE, multiprocessing.get_context("spawn")) as pool:
        found = track(
            pool.map(result, *zip(*order, strict=True)), "trials", len(order), console=notes
        )
        results = dict(zip(order, found, strict=True))
    print(written(results), end="")


if __name__ == "__main__":
    main()
