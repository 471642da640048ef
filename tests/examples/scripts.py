"""The examples' scripts, run in this process as `python examples/NAME/train.py` would."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from click.testing import CliRunner

from edgernn.cli import main
from tests.conftest import Once

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str) -> ModuleType:
    """Import the script of the example `name`."""
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / name / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(name: str, folder: Path, *options: str) -> str:
    """Run the script of the example `name` in `folder`; return what it prints."""
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    try:
        return _invoke(script(name).main, folder, *options)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(random)


def train_once(name: str, folder: Path, once: Once) -> str:
    """Do the same with what the script left when it ran for the first time."""

    def fill(target: Path) -> None:
        (target / "printed.txt").write_text(train(name, target), "utf-8")

    trained = once(f"trained-{name}", fill)
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    return (trained / "printed.txt").read_text("utf-8")


def edgernn(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run the command line in `folder`; return its standard output."""
    return _invoke(main, folder, *arguments, stdin=stdin)


def _invoke(command: Any, folder: Path, *arguments: str, stdin: str | None = None) -> str:
    with contextlib.chdir(folder):
        result = CliRunner().invoke(command, list(arguments), stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
