"""The recipes run as they stand in docs/recipes.md, each after the layer that most start from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.matrix.board import PYTHON

TEXT = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text("utf-8")
FIRST, *SECTIONS = re.split(r"^## ", TEXT, flags=re.M)
RECIPES = {section.partition("\n")[0]: section for section in SECTIONS}
ELSEWHERE = ("OpenVINO", "tract", "OpenCV")


def code(section: str) -> str:
    """Return the Python of a section."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first block writes."""
    path = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        exec(code(FIRST), {})
    return path


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ELSEWHERE])
def test_recipe(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe runs, what it asserts holds, and it asserts something."""
    monkeypatch.chdir(folder)
    source = code(RECIPES[name])
    assert "assert_allclose" in source
    exec(source, {})


@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/matrix has not made .venv-matrix")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_recipe_for_another_runtime(name: str, folder: Path) -> None:
    """The same where that runtime is, without edgernn and torch."""
    source = code(RECIPES[name])
    assert "assert_allclose" in source
    subprocess.run([PYTHON, "-c", source], cwd=folder, check=True, timeout=120)
