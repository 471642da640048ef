"""The pages of docs/ that are read one by one: each of their code blocks runs alone, and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.page_blocks import Block, check_output, page_blocks, run

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("concepts", "export", "options", "contract", "security")
BLOCKS = [
    block
    for page in PAGES
    for block in page_blocks(DOCS / f"{page}.md")
    if block.language in ("python", "sh")
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs_alone_and_again(block: Block, tmp_path: Path) -> None:
    """A block runs in an empty folder, and again where it ran before, and prints what is shown."""
    for _ in range(2):
        printed = run(block, tmp_path)
        if block.output is not None:
            check_output(block, printed)


@pytest.mark.parametrize("page", ["concepts", "export"])
def test_page_has_blocks(page: str) -> None:
    """The pages that show code are read as pages with code."""
    assert [block for block in BLOCKS if block.page.stem == page]
