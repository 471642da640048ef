"""docs/hosts.md: programs in several runtimes run the artifact of its first block."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.page_blocks import Block, page_blocks, play, run
from tests.matrix.board import PYTHON

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hosts.md"
OTHER_RUNTIMES = ("OpenVINO", "tract", "OpenCV")


def section(title: str) -> list[Block]:
    """Return the blocks below a heading; below the first for the page's beginning."""
    text = PAGE.read_text("utf-8")
    starts = {
        match[1]: text[: match.start()].count("\n") + 1
        for match in re.finditer(r"^##? (.+)$", text, re.M)
    }
    after = [line for line in starts.values() if line > starts[title]]
    stop = min(after, default=text.count("\n") + 1)
    return [block for block in page_blocks(PAGE) if starts[title] < block.line < stop]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifact that the first block writes."""
    path = tmp_path_factory.mktemp("hosts")
    (block,) = section("Running in other runtimes")
    run(block, path)
    return path


def test_python(folder: Path) -> None:
    """A stream prints what the page shows."""
    play(section("Python with edgernn"), folder)


def test_onnxruntime(folder: Path) -> None:
    """ONNX Runtime alone reproduces the golden run."""
    (block,) = section("Python with ONNX Runtime alone")
    assert "assert_allclose" in block.text
    run(block, folder)


@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/matrix has not made .venv-matrix")
@pytest.mark.parametrize("title", OTHER_RUNTIMES)
def test_other_runtime(title: str, folder: Path) -> None:
    """So does another runtime, without edgernn and torch."""
    (block,) = section(title)
    assert "assert_allclose" in block.text
    subprocess.run([PYTHON, "-c", block.text], cwd=folder, check=True, timeout=120)
