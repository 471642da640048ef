"""Projects that `edgernn embed` writes, built and run as it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgernn
from edgernn.artifact import Artifact
from edgernn.hosts import HOSTS, Host
from edgernn.runtime.embed import embed_artifact
from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact, write_policy

PROGRAMS = {
    "c": ("cc", "make"),
    "cpp": ("c++", "cmake"),
    "rust": ("cargo", "cc"),
    "go": ("go", "cc"),
    "java": ("javac", "cc"),
    "csharp": ("mcs", "mono", "cc"),
    "node": ("node",),
}
"""Host → the programs that it takes here; tests of their own run the web page and Kotlin."""

NAME = "'my app'"
"""The folder of the projects, quoted for a shell."""

NODE_MODULES = Path(__file__).parents[2] / "build" / "npm" / "node_modules"


@pytest.fixture(scope="module")
def artifact(once: Once) -> Artifact:
    """Hops of 4 samples and three outputs that come later."""
    folder = once("host-artifact-hops", lambda folder: write_artifact("hops", folder))
    return Artifact.open(folder / "model.edgernn")


def shell(line: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line as a user would, without the variables that a developer may have set."""
    variables = {name: value for name, value in os.environ.items() if name != "ONNXRUNTIME_LIBRARY"}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        env=variables,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=list(PROGRAMS))
def project(
    request: pytest.FixtureRequest, artifact: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Host, Path]:
    """A project, built by its first line; its folder has a space in its name."""
    host = HOSTS[request.param]
    if lacks := [one for one in PROGRAMS[host.name] if not shutil.which(one)]:
        pytest.skip(f"there is no `{'`, `'.join(lacks)}` here; scripts/hosts installs it")
    folder = tmp_path_factory.mktemp(host.name) / "my app"
    assert embed_artifact(artifact, host, folder)
    if host.name == "node":  # its first line installs these
        (folder / "node_modules").symlink_to(NODE_MODULES)
        return host, folder
    built = shell(host.lines(NAME)[0], folder.parent)
    assert (built.returncode, built.stderr) == (0, ""), built.stdout
    return host, folder


def test_the_second_line_checks_itself(project: tuple[Host, Path]) -> None:
    """The program replays the golden run and says how long a step takes."""
    host, folder = project
    ran = shell(host.lines(NAME)[1], folder.parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    for word in ("whole", "chunks", "steps", "without state", "µs per step"):
        assert word in ran.stdout


def test_numbers_from_standard_input(project: tuple[Host, Path], artifact: Artifact) -> None:
    """A line is one hop; it is answered by a line of the outputs, empty where not defined."""
    host, folder = project
    hops = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in hops)
    ran = shell(f"{host.lines(NAME)[1]} step", folder.parent, lines)
    assert (ran.returncode, ran.stderr) == (0, "")
    stream = edgernn.load(artifact.path, forms=False).stream()
    for line, hop in zip(ran.stdout.splitlines(), hops, strict=True):
        outputs = stream.step(hop[None])
        assert isinstance(outputs, dict)
        expected = [x for array in outputs.values() if array is not None for x in array.ravel()]
        numbers = [float(word) for word in line.split(",") if word]
        np.testing.assert_allclose(numbers, expected, rtol=0, atol=1e-5)


def test_a_changed_graph_is_found(project: tuple[Host, Path]) -> None:
    """A program whose model gives other numbers than were recorded ends with 1."""
    host, folder = project
    file = folder / "model.edgernn" / "golden" / "scores.npy"
    kept = file.read_bytes()
    np.save(file, np.load(file) + 0.5)
    ran = shell(host.lines(NAME)[1], folder.parent)
    file.write_bytes(kept)
    assert ran.returncode == 1


def test_a_wrong_line_ends_it(project: tuple[Host, Path]) -> None:
    """Too few numbers are an error with a message; what came before is answered."""
    host, folder = project
    ran = shell(f"{host.lines(NAME)[1]} step", folder.parent, "0,0,0,0\n1,2\n")
    assert ran.returncode == 2
    assert len(ran.stdout.splitlines()) == 1
    assert "2" in ran.stderr


def test_inputs_of_several_types(project: tuple[Host, Path], once: Once) -> None:
    """Numbers, ids and flags stand side by side in a line; a program takes any model."""
    host, folder = project
    policy = once("host-artifact-policy", write_policy) / "model.edgernn"
    kept = (folder / "model.edgernn").rename(folder / "kept")
    shutil.copytree(policy, folder / "model.edgernn")
    checked = shell(host.lines(NAME)[1], folder.parent)
    ran = shell(f"{host.lines(NAME)[1]} step", folder.parent, "0.5,-1,2,1\n0.5,-1,2,0\n")
    shutil.rmtree(folder / "model.edgernn")
    kept.rename(folder / "model.edgernn")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert (ran.returncode, ran.stderr) == (0, "")
    stream = edgernn.load(policy, forms=False).stream()
    for line, done in zip(ran.stdout.splitlines(), (True, False), strict=True):
        outputs = stream.step(np.array([[0.5, -1]], np.float32), np.array([2]), np.array([done]))
        assert isinstance(outputs, dict)
        expected = np.concatenate([*map(np.ravel, outputs.values())])
        found = [float(word) for word in line.split(",")]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
