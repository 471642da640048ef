"""The tutorial, played from an empty folder, command by command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.node_packages import node_modules
from tests.docs.page_blocks import Block, page_blocks, play, run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


def section(number: int) -> list[Block]:
    """Return the blocks of a section; 0 is what comes before the first."""
    text = PAGE.read_text("utf-8")
    starts = [text[: match.start()].count("\n") for match in re.finditer(r"^## \d+\. ", text, re.M)]
    first, last = [0, *starts][number], [*starts, text.count("\n")][number]
    return [block for block in page_blocks(PAGE) if first < block.line <= last]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder in a clone, after the sections that train, export and inspect."""
    clone = tmp_path_factory.mktemp("clone")
    (clone / "examples").symlink_to(ROOT / "examples")
    path = clone / "build" / "forecaster"
    path.mkdir(parents=True)
    for number in (1, 2, 3):
        play(section(number), path)
    return path


@pytest.mark.parametrize("number", [4, 6])
def test_section_prints_what_it_shows(number: int, folder: Path) -> None:
    """Files, and the app in Python: what is printed is what the page shows."""
    play(section(number), folder)


def test_picture_is_that_of_the_page(folder: Path) -> None:
    """docs/images/forecaster.svg is what the command in section 3 draws."""
    shown = (PAGE.parent / "images" / "forecaster.svg").read_text("utf-8")
    assert (folder / "forecaster.svg").read_text("utf-8") == shown


def test_forecast(folder: Path) -> None:
    """The model goes on by itself as the page shows, and draws a PNG."""
    play(section(5), folder)
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_javascript(folder: Path) -> None:
    """The app in Node prints what the page shows."""
    write, *rest = section(7)
    run(write, folder)
    (folder / "js-app" / "node_modules").symlink_to(node_modules())
    play(rest, folder)


def test_c(folder: Path) -> None:
    """The project in C is built and prints what the page shows."""
    if not shutil.which("cc") or not shutil.which("make"):
        pytest.skip("there is no C compiler `cc` or no `make` on this machine")
    play(section(8), folder)


def test_first_block_makes_the_folder(tmp_path: Path) -> None:
    """The block before section 1 ends in the folder that the paths of section 8 start from."""
    (block,) = section(0)
    assert block.text.splitlines()[-2:] == ["mkdir -p build/forecaster", "cd build/forecaster"]


def test_training_script_is_the_example() -> None:
    """`train.py` on the page is examples/forecaster/train.py."""
    script = next(block for block in page_blocks(PAGE) if block.file == "train.py")
    assert script.text == (ROOT / "examples" / "forecaster" / "train.py").read_text("utf-8")
