"""Programs that drive the hosts: each runs artifacts in its language, a command a line.

A driver reads one command a line and answers it with one line: `ok`, with values, or `error KIND
MESSAGE`. A tensor is `NAME:DTYPE:SHAPE:HEX`, its elements in hexadecimal, `-` for an output that is
not defined yet.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from edgernn.runtime.providers import find_library
from tests.conftest import Once

__all__ = [
    "HOSTS",
    "ROOT",
    "Driver",
    "Host",
    "HostError",
    "as_tensor",
    "compile_with",
    "copy_crate",
    "from_tensor",
    "node_modules",
]

ROOT = Path(__file__).parents[2] / "runtime" / "hosts"
DRIVERS = Path(__file__).parent / "drivers"

Array = NDArray[Any]
Tensors = dict[str, Array | None]
"""Name of an output → its elements, None where it is not defined yet."""


class HostError(Exception):
    """What a host answered in place of a result.

    Attributes:
        kind: The kind of error: contract, provider, input, state or memory.
        message: Its sentence.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


class Driver:
    """A running driver of one host; a context manager that ends it."""

    def __init__(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library()), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        rest = self._process.stdout.read()
        assert (self._process.wait(timeout=60), rest) == (0, "")
        self._process.stdout.close()

    def ask(self, *words: str) -> str:
        """Send a command and return the answer without its `ok`.

        Raises:
            HostError: The answer is an error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().removesuffix("\n")
        verdict, _, text = answer.partition(" ")
        if verdict == "error":
            raise HostError(*text.split(" ", 1))
        assert verdict == "ok", f"{words[0]} was answered by {answer!r}"
        return text

    def open(self, artifact: Path, *provider: str) -> None:
        """Open an artifact, or one of its graphs."""
        self.ask("open", str(artifact), *provider)

    def stream(self, batch: int = 1) -> None:
        """Open a stream; the driver has one at a time."""
        self.ask("stream", str(batch))

    def call(self, way: str, **arrays: ArrayLike) -> Tensors:
        """Step, feed, finish or run."""
        answer = self.ask(way, *(as_tensor(name, array) for name, array in arrays.items()))
        return dict(map(from_tensor, answer.split()))

    def state(self, name: str) -> Array:
        """Return a state by the name of its input."""
        found = from_tensor(self.ask("state", name))[1]
        assert found is not None
        return found

    def set_state(self, name: str, array: ArrayLike) -> None:
        """Set a state by the name of its input."""
        self.ask("set_state", as_tensor(name, array))

    def counts(self) -> tuple[int, int]:
        """Return the steps of the sequence so far, and those that are kept for a hop."""
        steps, rest = map(int, self.ask("counts").split())
        return steps, rest

    def facts(self) -> dict[str, str]:
        """Return hop, carries, vocabulary and provider."""
        return dict(fact.split("=", 1) for fact in self.ask("facts").split())

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [int(id_) for id_ in self.ask("encode", text.encode().hex()).split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return bytes.fromhex(self.ask("decode", *map(str, ids))).decode()

    def resident_bytes(self) -> int:
        """Return the memory that the process has, on Linux."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def check(self, golden: Path) -> dict[str, float]:
        """Return the differences of the golden run: whole, chunks, steps, without_state."""
        names = ("whole", "chunks", "steps", "without_state")
        return dict(zip(names, map(float, self.ask("check", str(golden)).split()), strict=True))


def as_tensor(name: str, array: ArrayLike) -> str:
    """Write an array as a word of a command."""
    numbers = np.asarray(array)
    shape = ",".join(map(str, numbers.shape))
    return f"{name}:{numbers.dtype}:{shape}:{numbers.tobytes().hex()}"


def from_tensor(word: str) -> tuple[str, Array | None]:
    """Read an array from a word of an answer."""
    name, dtype, shape, data = word.rsplit(":", 3)
    if data == "-":
        return name, None
    sizes = [int(size) for size in shape.split(",") if size]
    return name, np.frombuffer(bytes.fromhex(data), dtype).reshape(sizes)


def compile_with(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a compiler, which must not print anything."""
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), ran.stdout + ran.stderr


def copy_template(host: str, project: Path, core: str = ".") -> None:
    """Copy a host's template and the C core into a project, as `edgernn embed` does."""
    shutil.copytree(ROOT / host, project)
    for name in ("edgernn.h", "edgernn.c"):
        shutil.copy(ROOT / "c" / name, project / core)


def _build_c(folder: Path) -> list[str | Path]:
    sources = (DRIVERS / "driver.c", ROOT / "c" / "edgernn.c")
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", ROOT / "c")
    libraries = ("-ldl", "-lm", "-lpthread")
    compile_with("cc", *flags, *sources, "-o", folder / "driver", *libraries)
    return ["{folder}/driver"]


def _build_cpp(folder: Path) -> list[str | Path]:
    core = folder / "core.o"
    compile_with("cc", "-std=c11", "-O2", "-c", ROOT / "c" / "edgernn.c", "-o", core)
    flags = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
    headers = (f"-I{ROOT / 'c'}", f"-I{ROOT / 'cpp'}")
    libraries = ("-ldl", "-lm", "-lpthread")
    driver = (DRIVERS / "driver.cpp", core, "-o", folder / "driver")
    compile_with("c++", *flags, *headers, *driver, *libraries)
    return ["{folder}/driver"]


def copy_crate(folder: Path) -> None:
    """Copy the Rust crate with the core, as a project has it."""
    shutil.copytree(ROOT / "rust", folder, ignore=shutil.ignore_patterns("target"))
    (folder / "core").mkdir()
    for name in ("edgernn.c", "edgernn.h"):
        shutil.copy(ROOT / "c" / name, folder / "core")


def _build_rust(folder: Path) -> list[str | Path]:
    copy_crate(folder / "crate")
    (folder / "crate" / "examples").mkdir()
    shutil.copy(DRIVERS / "driver.rs", folder / "crate" / "examples")
    manifest = folder / "crate" / "Cargo.toml"
    compile_with(
        *("cargo", "build", "-q", "--offline", "--example", "driver"),
        *("--manifest-path", manifest, "--target-dir", folder / "target"),
    )
    return ["{folder}/target/debug/examples/driver"]


def node_modules() -> Path:
    """Return the folder of the packages of npm; skip where scripts/hosts did not install them."""
    default = Path(__file__).parents[2] / "build" / "npm" / "node_modules"
    folder = Path(os.environ.get("EDGERNN_NODE_MODULES", default))
    if not (folder / "onnxruntime-node").is_dir():
        pytest.skip(f"there is no onnxruntime-node in `{folder}`; scripts/hosts installs it")
    return folder


def _build_node(folder: Path) -> list[str | Path]:
    return ["env", f"EDGERNN_NODE_MODULES={node_modules()}", "node", DRIVERS / "driver.mjs"]


def _build_browser(folder: Path) -> list[str | Path]:
    variables = (f"EDGERNN_NODE_MODULES={node_modules()}", f"PYTHONPATH={ROOT.parents[1]}")
    return ["env", *variables, sys.executable, "-m", "tests.hosts.drivers.browser_driver"]


def _build_go(folder: Path) -> list[str | Path]:
    project = folder / "project"
    copy_template("go", project)
    (project / "cmd" / "driver").mkdir()
    shutil.copy(DRIVERS / "driver.go", project / "cmd" / "driver" / "main.go")
    compile_with("gofmt", "-l", project)
    compile_with("go", "vet", "./...", cwd=project)
    output = folder / "driver"
    compile_with("go", "build", "-buildvcs=false", "-o", output, "./cmd/driver", cwd=project)
    return ["{folder}/driver"]


def _build_csharp(folder: Path) -> list[str | Path]:
    project = folder / "project"
    copy_template("csharp", project)
    compile_with("make", "--silent", "libedgernn.so", cwd=project)
    sources = [*(set(project.glob("*.cs")) - {project / "Program.cs"}), DRIVERS / "driver.cs"]
    flags = ("-unsafe", "-optimize", "-langversion:latest", "-warnaserror")
    compile_with("mcs", *flags, f"-out:{project / 'driver.exe'}", *sources)
    return ["mono", "{folder}/project/driver.exe"]


def _build_swift(folder: Path) -> list[str | Path]:
    project = folder / "project"
    copy_template("swift", project, "Sources/CEdgernn")
    shutil.copy(DRIVERS / "driver.swift", project / "Sources" / "app" / "main.swift")
    subprocess.run(["make", "app"], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return ["{folder}/project/app"]


def _build_java(folder: Path) -> list[str | Path]:
    javac = shutil.which("javac")
    assert javac
    return _compile_java(folder, Path(javac).resolve().parents[1], "jni")


def _build_java_foreign(folder: Path) -> list[str | Path]:
    """Build with a JDK that has foreign functions; the core has no C code of Java's then."""
    for jdk in (Path(os.environ.get("JAVA_HOME", ".")), *Path("/usr/lib/jvm").glob("*")):
        release = (jdk / "release").read_text("utf-8") if (jdk / "release").is_file() else ""
        version = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
        if version and int(version[1]) >= 22 and (jdk / "bin" / "javac").is_file():
            return _compile_java(folder, jdk, "foreign")
    pytest.skip("there is no JDK from 22 on here, neither in /usr/lib/jvm nor as JAVA_HOME")


def _compile_java(folder: Path, jdk: Path, binding: str) -> list[str | Path]:
    """Compile the wrapper and its programs into a folder, with the native library beside them."""
    java, is_jni = ROOT / "java", binding == "jni"
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fPIC", "-shared")
    headers = [f"-I{path}" for path in (ROOT / "c", jdk / "include", jdk / "include" / "linux")]
    native = [ROOT / "c" / "edgernn.c", *[java / "native" / "edgernn_jni.c"] * is_jni]
    library = folder / "libedgernn.so"
    compile_with("cc", *flags, *headers, *native, "-o", library, "-ldl", "-lm", "-lpthread")
    release = ("--release", "17" if is_jni else "22")
    places = [java / "src" / "edgernn", DRIVERS, *[java / "src22" / "edgernn"] * (not is_jni)]
    sources = [file for place in places for file in place.glob("*.java")]
    options = ("-encoding", "UTF-8", "-Xlint:all", "-Werror", "-J-XX:TieredStopAtLevel=1")
    compile_with(jdk / "bin" / "javac", *options, *release, "-d", folder, *sources)
    access = [] if is_jni else ["--enable-native-access=ALL-UNNAMED"]
    command = (f"-Dedgernn.binding={binding}", "-XX:+UseSerialGC", "-cp", "{folder}", "Driver")
    return [jdk / "bin" / "java", *access, *command]


@dataclass(frozen=True)
class Host:
    """How the driver of a host is built and run.

    Attributes:
        name: Its name, as in `edgernn embed --host`; two drivers of one host differ after a dash.
        needs: The programs that it takes.
        build: From an empty folder to the command that runs the driver, `{folder}` being its place.
        closeness: The largest difference from Python's numbers; 0 for the same bits.
        variables: More variables of the driver's environment.
    """

    name: str
    needs: tuple[str, ...]
    build: Callable[[Path], list[str | Path]]
    closeness: float = 0
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, once: Once) -> list[str]:
        """Build the driver once in a test run, and return the command that starts it.

        The test is skipped where a program is missing.
        """
        lacks = [program for program in self.needs if not shutil.which(program)]
        if lacks:
            pytest.skip(f"there is no `{'`, `'.join(lacks)}` here; scripts/hosts installs it")

        def build(folder: Path) -> None:
            command = [str(word) for word in self.build(folder)]
            (folder / "command.json").write_text(json.dumps(command), "utf-8")

        folder = once(f"driver-{self.name}", build)
        command = json.loads((folder / "command.json").read_text("utf-8"))
        return [word.replace("{folder}", str(folder)) for word in command]

    def start(self, once: Once) -> Driver:
        """Build the driver once in a test run and start it; skip where a program is missing."""
        return Driver(self.command(once), self.variables)


HOSTS = {
    host.name: host
    for host in [
        Host("c", ("cc",), _build_c),
        Host("go", ("go", "cc"), _build_go),
        Host("csharp", ("mcs", "mono", "cc", "make"), _build_csharp),
        Host("cpp", ("c++", "cc"), _build_cpp),
        Host("rust", ("cargo", "cc"), _build_rust),
        Host("node", ("node",), _build_node, closeness=1e-6),
        Host("browser", ("chromium", "chromedriver"), _build_browser, closeness=1e-6),
        *([Host("swift", ("swift", "make"), _build_swift)] if shutil.which("swift") else []),
        Host("java", ("javac", "cc"), _build_java),
        Host("java-foreign", ("cc",), _build_java_foreign),
    ]
}
