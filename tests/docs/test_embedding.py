"""docs/embedding.md: the page is played from top to bottom, and names every host."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from edgernn.hosts import HOSTS
from tests.docs.page_blocks import page_blocks, play

PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"


def test_page_is_what_a_reader_sees(tmp_path: Path) -> None:
    """An artifact becomes a project in C, which checks itself and runs numbers."""
    if not shutil.which("cc") or not shutil.which("make"):
        pytest.skip("there is no C compiler `cc` or no `make` on this machine")
    play(page_blocks(PAGE), tmp_path)


def test_every_host_is_in_the_table() -> None:
    """The table has the hosts of `edgernn embed` in their order."""
    rows = re.findall(r"^\| \[(\w+)\]\(\.\./runtime/hosts/", PAGE.read_text("utf-8"), re.M)
    assert sorted(rows) == sorted(HOSTS)
