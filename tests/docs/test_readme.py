"""The README: what a reader sees who pastes it from top to bottom."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.docs.page_blocks import check_output, page_blocks, play, run

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def length_of_last_line(text: str) -> str:
    """Return `text` with the length of its last line in place of it."""
    return re.sub(r"(.+)\n\Z", lambda line: f"{len(line[1])} characters\n", text)


def test_blocks_print_what_is_shown(tmp_path: Path) -> None:
    """The first block trains, exports and runs, the second one continues in Python.

    The text that a trained model writes depends on the machine's rounding, its length does not.
    """
    for name in ("examples", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    first, second, scripts = page_blocks(README)
    assert first.output is not None
    shown = replace(first, output=length_of_last_line(first.output))
    check_output(shown, length_of_last_line(run(first, tmp_path)))
    play([second], tmp_path)
    assert scripts.text == "scripts/demo\nscripts/test\n"


def test_first_output_is_near_the_top() -> None:
    """Install and first commands begin within the first twenty lines."""
    assert page_blocks(README)[0].line <= 20
