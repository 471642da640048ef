"""What is special to the C++ header and to the Rust crate."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgernn.runtime.providers import find_library
from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import ROOT, compile_with, copy_crate

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def artifact(once: Once) -> Path:
    """A model of tokens with a vocabulary."""
    folder = once("host-artifact-characters", lambda folder: write_artifact("characters", folder))
    return folder / "model.edgernn"


def run(*command: str | Path, cwd: Path | None = None, **variables: str | Path) -> str:
    """Run a command that succeeds and return its standard output."""
    given = {name: str(value) for name, value in variables.items()}
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library()), **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("compiler", "c_compiler", "standard"),
    [("g++", "gcc", "c++17"), ("clang++", "clang", "c++20")],
)
def test_cpp(artifact: Path, tmp_path: Path, compiler: str, c_compiler: str, standard: str) -> None:
    """Moves, calls that must not compile, exceptions and threads; no memory is misused or lost."""
    if not (shutil.which(compiler) and shutil.which(c_compiler)):
        pytest.skip(f"there is no `{compiler}` here; scripts/hosts installs it")
    sanitized = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic")
    core, folder = ROOT / "c", tmp_path
    compile_with(
        c_compiler, "-std=c11", *sanitized, "-c", core / "edgernn.c", "-o", folder / "core.o"
    )
    compile_with(
        compiler,
        f"-std={standard}",
        *sanitized,
        *strict,
        f"-I{core}",
        f"-I{ROOT / 'cpp'}",
        HERE / "native_streams.cpp",
        folder / "core.o",
        "-o",
        folder / "streams",
        *("-ldl", "-lm", "-lpthread"),
    )
    assert run(folder / "streams", artifact) == "right\n"


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate as a project has it, with the tests of this folder."""
    if not (shutil.which("cargo") and shutil.which("cc")):
        pytest.skip("there is no `cargo`, `cc` here; scripts/hosts installs it")
    folder = tmp_path_factory.mktemp("crate") / "edgernn"
    copy_crate(folder)
    (folder / "tests").mkdir()
    shutil.copy(HERE / "native_streams.rs", folder / "tests" / "streams.rs")
    return folder


def test_rust(crate: Path, artifact: Path) -> None:
    """The tests of the crate pass; what its documentation shows compiles, or fails as it says."""
    output = run("cargo", "test", "--offline", cwd=crate, ARTIFACT=artifact)
    assert "8 passed; 0 failed" in output
    for example in ("compile ... ok", "compile fail ... ok"):
        assert example in output
    assert "FAILED" not in output


def test_rust_is_tidy(crate: Path) -> None:
    """The crate is formatted, and clippy has nothing to say."""
    for tool in ("cargo-clippy", "rustfmt"):
        if not shutil.which(tool):
            pytest.skip(f"there is no `{tool}` here; rustup installs it")
    run("cargo", "clippy", "-q", "--offline", "--all-targets", "--", "-D", "warnings", cwd=crate)
    run("cargo", "fmt", "--check", cwd=crate)
