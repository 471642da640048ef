"""The hosts that `edgernn embed` writes projects for, and how each is built and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["HOSTS", "Host"]


@dataclass(frozen=True)
class Host:
    """A language or platform that runs artifacts.

    Attributes:
        name: What `--host` takes.
        title: Its name for people.
        needs: What builds and runs a project, in a few words.
        build: The command that builds the project, `{folder}` being its folder.
        run: The command that runs it; the program replays the golden run.
        core: Where in the project the C core lies; None without it.
        more: Files and folders of other hosts that the project takes → where they lie in it.
        template: Its folder in `runtime/hosts`, where that has another name.
    """

    name: str
    title: str
    needs: str
    build: str
    run: str
    core: str | None = "."
    more: Mapping[str, str] = field(default_factory=dict)
    template: str = ""

    @property
    def is_native(self) -> bool:
        """Whether it loads ONNX Runtime's shared library."""
        return self.core is not None

    def lines(self, folder: str) -> tuple[str, str]:
        """Return the commands that build and run a project in a folder, quoted for a shell."""
        return self.build.format(folder=folder), self.run.format(folder=folder)


HOSTS = {
    host.name: host
    for host in (
        Host("c", "C", "a C11 compiler and make", "make -C {folder}", "{folder}/app"),
        Host(
            "cpp",
            "C++",
            "a C++17 compiler and CMake",
            "cmake -S {folder} -B {folder}/build && cmake --build {folder}/build",
            "{folder}/build/app",
            "core",
        ),
        Host(
            "rust",
            "Rust",
            "cargo and a C compiler",
            "cargo build -q --release --offline --manifest-path {folder}/Cargo.toml",
            "{folder}/target/release/app",
            "core",
        ),
        Host("go", "Go", "Go 1.19, a C compiler and make", "make -C {folder}", "{folder}/app"),
        Host(
            "java",
            "Java",
            "a JDK, from 17 on, a C compiler and make",
            "make -C {folder}",
            "java -jar {folder}/lib/app.jar",
            "native",
        ),
        Host(
            "csharp",
            "C#",
            ".NET or Mono, a C compiler and make",
            "make -C {folder}",
            "{folder}/app",
        ),
        Host(
            "swift",
            "Swift",
            "Swift, from 5.7 on, and make",
            "make -C {folder}",
            "{folder}/app",
            "Sources/CEdgernn",
        ),
        Host(
            "kotlin",
            "Kotlin",
            "kotlinc, a JDK, from 17 on, a C compiler and make",
            "make -C {folder}",
            "java -jar {folder}/lib/kotlin.jar",
            "java/native",
            {
                f"java/{name}": f"java/{name}"
                for name in ("Makefile", "README.md", "native", "src/edgernn", "src22")
            },
        ),
        Host(
            "node",
            "Node",
            "Node 18 and npm",
            "npm install --ignore-scripts --prefix {folder}",
            "node {folder}/app.mjs",
            None,
            template="js",
        ),
        Host(
            "web",
            "A web page",
            "Node 18 and npm",
            "npm install --ignore-scripts --prefix {folder}",
            "node {folder}/build.mjs --open",
            None,
            more={"js/edgernn.mjs": "edgernn.mjs"},
        ),
    )
}
"""Name → host."""
