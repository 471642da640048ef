"""The C core: ONNX Runtime's table, threads, allocations, mutated artifacts, its packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgernn
from edgernn.runtime.providers import find_library
from tests.conftest import Once
from tests.hosts.conftest import COMPILER, CORE, SANITIZERS, WARNINGS
from tests.nets import framed
from tests.nets.framed import Framed
from tests.nets.host_lstm import write_lstm

ROOT = Path(__file__).parents[2]
CASES = 60

Compile = Callable[..., Path]
"""From a source, and options, to the program that it gives with the core."""


@pytest.fixture(scope="module")
def compile_program(once: Once) -> Compile:
    """Compile a program with the core, once in a test run."""
    if not shutil.which(COMPILER):
        pytest.skip(f"there is no C compiler `{COMPILER}` on this machine")

    def build(source: Path, *options: str) -> Path:
        def fill(folder: Path) -> None:
            sources = (source, CORE / "edgernn.c")
            command: list[str | Path] = [
                COMPILER,
                *WARNINGS[:-1],
                "-I",
                CORE,
                *options,
                *sources,
                "-o",
            ]
            subprocess.run([*command, folder / "program", "-ldl", "-lm", "-lpthread"], check=True)

        return once(f"core-{source.stem}", fill) / "program"

    return build


def run(*command: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program over the core."""
    return subprocess.run(
        command,
        env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library())},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_places_are_those_of_the_header(tmp_path: Path) -> None:
    """The functions that are taken from ONNX Runtime's table have the places of its header."""
    found = subprocess.run(
        [ROOT / "scripts" / "header"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(found.stderr)
    header = f'-DEDGERNN_ONNXRUNTIME_HEADER="{found.stdout.strip()}/onnxruntime_c_api.h"'
    command: list[str | Path] = [COMPILER, "-std=c11", "-fsyntax-only", CORE / "edgernn.c"]
    subprocess.run([*command, header], check=True)
    wrong = tmp_path / "wrong.c"
    source = (CORE / "edgernn.c").read_text("utf-8")
    wrong.write_text(source.replace("X(24, SetIntraOpNumThreads", "X(23, SetIntraOpNumThreads"))
    command = [COMPILER, "-std=c11", "-fsyntax-only", "-I", CORE, wrong]
    refused = subprocess.run([*command, header], capture_output=True, text=True, check=False)
    assert "SetIntraOpNumThreads" in refused.stderr
    assert refused.returncode != 0


def test_streams_in_threads(compile_program: Compile, tmp_path: Path) -> None:
    """Streams of one model run in threads at the same time, without a race."""
    write_lstm(tmp_path / "lstm.edgernn")
    source = Path(__file__).with_name("threaded_streams.c")
    program = compile_program(source, "-g", "-fsanitize=thread")
    ran = run(program, tmp_path / "lstm.edgernn")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "equal\n", "")


def test_steps_allocate_nothing(compile_program: Compile, tmp_path: Path) -> None:
    """After the first step, the core calls malloc no more, also over resets."""
    wrapped = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
    program = compile_program(ROOT / "benchmarks" / "endurance_in_c.c", "-O1", wrapped)
    write_lstm(tmp_path / "lstm.edgernn")
    framed.write(tmp_path / "framed.edgernn", Framed(12, 4))
    for name in ("lstm", "framed"):
        ran = run(program, tmp_path / f"{name}.edgernn", "3000")
        assert (ran.returncode, ran.stderr) == (0, "")
        steps, allocations, *_ = ran.stdout.split()
        assert (steps, allocations) == ("3000", "0")


def test_mutated_artifacts(compile_program: Compile, tmp_path: Path) -> None:
    """A changed graph or a wrong call has a status and a message; none crashes or leaks."""
    program = compile_program(Path(__file__).with_name("fuzz_core.c"), *SANITIZERS.split())
    write_lstm(tmp_path / "lstm.edgernn")
    framed.write(tmp_path / "framed.edgernn", Framed(12, 4))
    for name in ("lstm", "framed"):
        ran = run(program, tmp_path / f"{name}.edgernn", "1000000", str(CASES))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith(f"{CASES} artifacts, ")
        counts = dict(part.rsplit(" ", 1) for part in ran.stdout.strip().split(", ")[3:])
        assert int(counts["contract"]) > 20
        assert int(counts["ok"]) > 100


def test_cmake_and_pkg_config(tmp_path: Path) -> None:
    """Another project finds the installed library in both ways."""
    lacks = [program for program in ("cmake", "pkg-config", "cc") if not shutil.which(program)]
    if lacks:
        pytest.skip(f"there is no `{'`, `'.join(lacks)}` here; scripts/hosts installs it")
    prefix, user = tmp_path / "prefix", tmp_path / "user"
    user.mkdir()
    shutil.copy(CORE / "app.c", user)
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(edgernn 1 REQUIRED)\n"
        "add_executable(user app.c)\ntarget_link_libraries(user edgernn::edgernn)\n"
    )
    for source, options in ((CORE, ["-DCMAKE_INSTALL_LIBDIR=lib"]), (user, [])):
        built = tmp_path / f"build-{source.name}"
        flags = [*options, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
        subprocess.run(
            ["cmake", "-S", source, "-B", built, *flags], check=True, capture_output=True
        )
        target = ["--target", "install"] if source == CORE else []
        subprocess.run(["cmake", "--build", built, *target], check=True, capture_output=True)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "edgernn"],
        env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    command: list[str | Path] = [
        COMPILER,
        "-std=c11",
        user / "app.c",
        "-o",
        tmp_path / "packaged",
        *flags,
    ]
    subprocess.run(command, check=True)
    artifact = write_lstm(tmp_path / "lstm.edgernn").path
    for program in (tmp_path / "build-user" / "user", tmp_path / "packaged"):
        ran = run(program, artifact)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "steps" in ran.stdout


def test_example_goes_on_where_it_stopped(compile_program: Compile, tmp_path: Path) -> None:
    """`examples/c/resume.c` keeps its stream in a file between two runs."""
    program = compile_program(ROOT / "examples" / "c" / "resume.c")
    artifact = write_lstm(tmp_path / "lstm.edgernn").path
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    expected = edgernn.load(artifact)(x)["output"].ravel()
    found: list[float] = []
    for part in (x[:, :2], x[:, 2:]):
        text = " ".join(map(str, part.ravel()))
        ran = run(program, artifact, tmp_path / "stream.state", text=text)
        assert (ran.returncode, ran.stderr) == (0, "")
        found += list(map(float, ran.stdout.split()))[: 4 * part.shape[1]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (tmp_path / "stream.state").write_bytes(b"damaged")
    ran = run(program, artifact, tmp_path / "stream.state", text="1 2 3")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "resume: The snapshot does not fit: it is too short. Restore what edgernn_snapshot wrote "
        "for a stream of this artifact and batch.\n"
    )
