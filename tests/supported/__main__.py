"""Run every trial and print docs/supported.md: python -m tests.supported."""

from __future__ import annotations

from rich.console import Console
from rich.progress import track

from edgernn.export.proof.eager import one_thread
from tests.supported.page import cells, written
from tests.supported.trials import result


def main() -> None:
    notes = Console(stderr=True)
    with one_thread():
        found = {cell: result(*cell) for cell in track(list(cells()), "trials", console=notes)}
    print(written(found), end="")


if __name__ == "__main__":
    main()
