"""The pages of docs/ that are read one by one: each of their code blocks runs alone, and again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.page_blocks import Block, check_output, page_blocks, run

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("concepts", "export", "run", "streaming", "recipes", "options", "contract", "security")
BLOCKS = [
    block
    for page in PAGES
    for block in page_blocks(DOCS / f"{page}.md")
    if block.language in ("python", "sh")
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs_alone(block: Block, tmp_path: Path) -> None:
    """A block runs in an empty folder and prints what is shown."""
    printed = run(block, tmp_path)
    if block.output is not None:
        check_output(block, printed)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs_again(block: Block) -> None:
    """Whatever in a block writes a file replaces one that exists."""
    if block.language == "sh":
        writing = re.findall(
            r"^edgernn (?:export|.* --(?:output|state-out|plot) ).*$", block.text, re.M
        )
        assert [line for line in writing if " --force" not in line] == []
    else:
        calls = block.text.count("export_model(")
        assert block.text.count("force=True") == calls


@pytest.mark.parametrize("page", ["concepts", "export", "run", "streaming", "recipes"])
def test_page_has_blocks(page: str) -> None:
    """The pages that show code are read as pages with code."""
    assert [block for block in BLOCKS if block.page.stem == page]
