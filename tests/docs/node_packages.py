"""The packages of npm that programs on the pages need."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

__all__ = ["node_modules"]

ROOT = Path(__file__).parents[2]


def node_modules() -> Path:
    """Return the folder of the packages that scripts/hosts installs."""
    folder = ROOT / "build" / "npm" / "node_modules"
    if not shutil.which("node") or not (folder / "onnxruntime-node").exists():
        pytest.skip("there is no Node or no onnxruntime-node here; scripts/hosts installs them")
    return folder
