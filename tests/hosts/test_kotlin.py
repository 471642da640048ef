"""The project of Kotlin: its program, and the extension functions over the Java wrapper."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgernn
from edgernn.artifact import Artifact
from edgernn.hosts import HOSTS
from edgernn.runtime.embed import embed_artifact
from edgernn.runtime.providers import find_library
from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import DRIVERS

RULES = """\
hop null, source true
state [2, 1, 5], kept true
same true
ids int64 (2,)
error PROVIDER
"""
"""What Rules.kt prints."""


@pytest.fixture(scope="module")
def project(once: Once, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a second program, built as `edgernn embed` says."""
    lacks = [one for one in ("kotlinc", "javac", "cc", "make") if not shutil.which(one)]
    if lacks:
        pytest.skip(f"there is no `{'`, `'.join(lacks)}` here; scripts/hosts installs it")
    artifact = once("host-artifact-two_layer_gru", lambda x: write_artifact("two_layer_gru", x))
    folder = tmp_path_factory.mktemp("kotlin") / "my app"
    assert embed_artifact(Artifact.open(artifact / "model.edgernn"), HOSTS["kotlin"], folder)
    shutil.copy(DRIVERS / "Rules.kt", folder / "src")
    built = run(HOSTS["kotlin"].lines("'my app'")[0], folder.parent)
    assert (built.returncode, built.stderr) == (0, ""), built.stdout
    return folder


def run(line: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line as a user would."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        env={**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library())},
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_program_checks_itself(project: Path) -> None:
    """It replays the golden run and says how long a step takes; another model's run is found."""
    line = HOSTS["kotlin"].lines("'my app'")[1]
    ran = run(line, project.parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    names = [row[:14].strip() for row in ran.stdout.splitlines()]
    ways = ["whole", "by chunks", "by steps", "without state"]
    assert names == [*ways, "The model repr", "time"]
    file = project / "model.edgernn" / "golden" / "output.npy"
    np.save(file, np.load(file) + 0.5)
    assert run(line, project.parent).returncode == 1


def test_the_program_answers_lines(project: Path) -> None:
    """A line is a step; an empty one starts a new sequence; a wrong one ends the program."""
    line = HOSTS["kotlin"].lines("'my app'")[1] + " step"
    ran = run(line, project.parent, "1,2,3\n4 5 6\n\n1, 2, 3\n1,2\n")
    first, second, empty, again = ran.stdout.split("\n")[:-1]
    stream = edgernn.load(project / "model.edgernn", forms=False).stream()
    for answer, step in ((first, [[1, 2, 3]]), (second, [[4, 5, 6]])):
        expected = stream.step(np.array(step, np.float32))
        np.testing.assert_array_equal(np.array(answer.split(","), np.float32)[None], expected)
    assert (empty, again) == ("", first)
    message = "app: line 5: there are 2 numbers, too few for input float32 (1, 3)\n"
    assert (ran.returncode, ran.stderr) == (2, message)


def test_extension_functions(project: Path) -> None:
    """Default arguments, `use`, states and outputs by name, elements by place."""
    ran = run("java -cp lib/kotlin.jar RulesKt model.edgernn", project)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", RULES)
