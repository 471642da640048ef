"""The page of the examples: its commands run and print what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.page_blocks import Block, check_output, page_blocks, run

ROOT = Path(__file__).parents[2]
FIRST, *BLOCKS = page_blocks(ROOT / "examples" / "README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the first block makes, in a clone."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("examples", "LICENSE"):
        (clone / name).symlink_to(ROOT / name)
    run(FIRST, clone)
    return clone / "build" / "examples"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.text.split("/")[3])
def test_example_prints_what_is_shown(block: Block, folder: Path) -> None:
    """Each example trains, exports and runs."""
    printed = run(block, folder)
    if block.output is not None:
        check_output(block, printed)


def test_every_example_is_listed() -> None:
    """Every folder of examples/ is in the table, and all but C and the tutorial's have commands."""
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    text = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert {name for name in folders if f"| [{name}]({name}" not in text} == set()
    assert {block.text.split("/")[3] for block in BLOCKS} == folders - {"c", "forecaster"}
    assert sum(block.output is not None for block in BLOCKS) == len(BLOCKS) - 1  # char's is random
