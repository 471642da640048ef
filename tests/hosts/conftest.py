"""The C programs of `examples/c`, built."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgernn.runtime.providers import find_library
from tests.conftest import Once

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"
COMPILER = os.environ.get("CC", "cc")
SANITIZERS = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"

Build = Callable[[str, str], Path]
"""From a compiler and its flags to the folder of the programs built with them."""


@pytest.fixture(scope="session")
def build(once: Once) -> Build:
    """Build in a folder of the test run; the header is downloaded once per checkout."""

    def run(*arguments: str | Path, **variables: str) -> None:
        if not shutil.which(variables["CC"]):
            pytest.skip(f"there is no C compiler `{variables['CC']}` on this machine")
        built = subprocess.run(
            [EXAMPLE / "build", *arguments],
            env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library()), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (built.returncode, built.stderr) == (0, "")

    def build_once(compiler: str, flags: str) -> Path:
        once("c", lambda folder: run(CC=compiler))
        header = str(EXAMPLE.parents[1] / "build" / "c" / "include")
        return once(
            f"c-{Path(compiler).name}{'-sanitized' * bool(flags)}",
            lambda folder: run(folder, CC=compiler, CFLAGS=flags, ONNXRUNTIME_INCLUDE=header),
        )

    return build_once


@pytest.fixture(scope="session")
def program(build: Build) -> Path:
    """The program that replays golden runs."""
    return build(COMPILER, "") / "golden"
