"""What is special to the C++ header and to the Rust crate."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgernn.runtime.providers import find_library
from tests.conftest import Once
from tests.docs.page_blocks import page_blocks
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


STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT / 'c'}", f"-I{ROOT / 'cpp'}")


def skip_without(*programs: str) -> None:
    """Skip the test where a program is not installed."""
    if lacks := [program for program in programs if not shutil.which(program)]:
        pytest.skip(f"there is no `{'`, `'.join(lacks)}` here; scripts/hosts installs it")


def test_cpp(artifact: Path, tmp_path: Path) -> None:
    """Moves, exceptions, threads and forms of inputs; no memory is misused or lost."""
    skip_without("clang", "clang++")
    sanitized = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    core, program = tmp_path / "core.o", tmp_path / "streams"
    compile_with("clang", "-std=c11", *sanitized, "-c", ROOT / "c" / "edgernn.c", "-o", core)
    sources = (HERE / "native_streams.cpp", core, "-o", program, "-ldl", "-lm", "-lpthread")
    compile_with("clang++", "-std=c++20", *sanitized, *STRICT, *sources)
    assert run(program, artifact) == "right\n"


@pytest.mark.parametrize(("compiler", "standard"), [("g++", "c++20"), ("clang++", "c++17")])
def test_cpp_is_tidy(tmp_path: Path, compiler: str, standard: str) -> None:
    """Programs compile without a warning, with std::span and without; so does the README's."""
    skip_without(compiler)
    readme = tmp_path / "readme.cpp"
    readme.write_text(page_blocks(ROOT / "cpp" / "README.md", "cpp")[0].text)
    sources = (ROOT / "cpp" / "app" / "main.cpp", HERE / "native_streams.cpp", readme)
    compile_with(compiler, f"-std={standard}", "-fsyntax-only", "-Wconversion", *STRICT, *sources)


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate as a project has it, with the tests of this folder."""
    skip_without("cargo", "cc")
    folder = tmp_path_factory.mktemp("crate") / "edgernn"
    copy_crate(folder)
    (folder / "tests").mkdir()
    shutil.copy(HERE / "native_streams.rs", folder / "tests" / "streams.rs")
    return folder


def test_rust(crate: Path, artifact: Path) -> None:
    """The tests of the crate pass; what its documentation shows compiles, or fails as it says."""
    output = run("cargo", "test", "--offline", cwd=crate, ARTIFACT=artifact)
    assert "9 passed; 0 failed" in output
    for example in ("compile ... ok", "compile fail ... ok"):
        assert example in output
    assert "FAILED" not in output


def test_rust_is_tidy(crate: Path) -> None:
    """The crate is formatted, and clippy has nothing to say."""
    skip_without("cargo-clippy", "rustfmt")
    run("cargo", "clippy", "-q", "--offline", "--all-targets", "--", "-D", "warnings", cwd=crate)
    run("cargo", "fmt", "--check", cwd=crate)
