"""What the hosts of the pages need: ONNX Runtime for Node, and its header for C."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["build_programs", "node_modules"]

ROOT = Path(__file__).parents[2]
NODE = ROOT / "build" / "node"


def build_programs(folder: Path) -> None:
    """Build the programs of `examples/c` in the checkout; `tests/hosts` does so once, too."""
    subprocess.run([ROOT / "examples" / "c" / "build"], check=True)


def node_modules() -> Path:
    """Return a folder with onnxruntime-node, installed once per checkout as the pages say."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program} on this machine")
    NODE.mkdir(parents=True, exist_ok=True)
    with FileLock(NODE / "lock"):
        if not (NODE / "node_modules" / "onnxruntime-node").exists():
            done = subprocess.run(
                ["npm", "install", "onnxruntime-node", "--ignore-scripts", "--prefix", NODE],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"npm cannot install onnxruntime-node: {done.stderr.strip()[-200:]}")
    return NODE / "node_modules"
