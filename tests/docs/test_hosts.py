"""docs/hosts.md: programs in several languages and runtimes run the artifact of its first block."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgernn
from tests.conftest import Once
from tests.docs.host_programs import build_programs, node_modules
from tests.docs.page_blocks import Block, check_output, page_blocks, play, run
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
    (block,) = section("Running in other hosts")
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


def test_node(folder: Path) -> None:
    """Node prints what edgernn prints."""
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(node_modules())
    blocks = section("JavaScript in Node")
    play(blocks, folder)
    (ours,) = section("Python with edgernn")
    assert blocks[-1].output == ours.output


def test_hops(folder: Path) -> None:
    """A model in hops, fed chunks of any size in Node, gives what edgernn gives."""
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(node_modules())
    blocks = section("Models in hops")
    play(blocks, folder)
    samples = np.sin(np.arange(1000) / 10).astype(np.float32)
    scores = edgernn.load(folder / "detector.edgernn")(samples[None])
    shown = re.findall(r"\d\.\d{4}", blocks[-1].output or "")
    assert shown == [f"{score:.4f}" for score in scores[0]]


def test_browser_page_is_the_program_for_node() -> None:
    """The page for a browser steps as the program for Node does."""
    (page,) = section("JavaScript in a browser")
    (program,) = (block for block in section("JavaScript in Node") if block.file == "app.mjs")
    step = re.search(r"async function step.*?\n}\n", program.text, re.S)
    assert step is not None
    assert "".join(step[0].split()) in "".join(page.text.split())


def test_c(folder: Path, once: Once) -> None:
    """The programs in C are built, replay the golden run, and print what edgernn prints."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler `cc` on this machine")
    once("c", build_programs)
    shutil.copytree(ROOT / "examples" / "c", folder / "examples" / "c", dirs_exist_ok=True)
    build = folder / "build" / "c"
    build.mkdir(parents=True, exist_ok=True)
    if not (build / "include").exists():
        (build / "include").symlink_to(ROOT / "build" / "c" / "include")
    golden, steps = section("C")
    assert "max difference" in run(golden, folder)
    check_output(steps, run(steps, folder))
