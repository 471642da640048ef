"""Artifacts in a folder that is also the current one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgernn.cli import main
from tests.nets import small_artifacts

Invoke = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and a terminal 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def edgernn() -> Invoke:
    """Run the command line in this process."""

    def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, list(args), stdin, prog_name="edgernn")

    return invoke


@pytest.fixture
def hello(folder: Path) -> Path:
    """The character model that answers `hello` with `ohlol`."""
    return small_artifacts.hello(folder / "hello.edgernn")


@pytest.fixture
def features(folder: Path) -> Path:
    """The model of 2 features with a learned initial state."""
    return small_artifacts.features(folder / "features.edgernn")


@pytest.fixture
def pair(folder: Path) -> Path:
    """The model of two inputs and two outputs."""
    return small_artifacts.pair(folder / "pair.edgernn")
