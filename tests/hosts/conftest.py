"""The program of the C host, built."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgernn.runtime.providers import find_library
from tests.conftest import Once

CORE = Path(__file__).parents[2] / "runtime" / "hosts" / "c"
COMPILER = os.environ.get("CC", "cc")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
SANITIZERS = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"

Build = Callable[[str, str], Path]
"""From a compiler and its flags to the folder of the program built with them."""


@pytest.fixture(scope="session")
def build(once: Once) -> Build:
    """Build in a folder of the test run, with ONNX Runtime's library beside the program."""

    def build_once(compiler: str, flags: str) -> Path:
        if not shutil.which(compiler):
            pytest.skip(f"there is no C compiler `{compiler}` on this machine")

        def fill(folder: Path) -> None:
            sources = (CORE / "app.c", CORE / "edgernn.c")
            command: list[str | Path] = [
                compiler,
                *WARNINGS,
                *flags.split(),
                *sources,
                "-o",
                folder / "app",
            ]
            subprocess.run([*command, "-ldl", "-lm"], check=True)
            library = find_library()
            assert library is not None
            (folder / "libonnxruntime.so").symlink_to(library)

        return once(f"c-{Path(compiler).name}{'-sanitized' * ('sanitize' in flags)}", fill)

    return build_once


@pytest.fixture(scope="session")
def program(build: Build) -> Path:
    """The program, which replays golden runs and runs lines of numbers."""
    return build(COMPILER, "-O2") / "app"
