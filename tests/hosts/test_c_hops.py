"""The C programs on models in hops: whole hops, outputs of other rates, steps not defined yet."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.hosts.conftest import COMPILER, SANITIZERS, Build
from tests.nets import framed
from tests.nets.framed import Framed

NETS = [Framed(12, 4), Framed(12, 4, 4, 4), Framed(4, 1)]


@pytest.fixture(scope="session")
def programs(build: Build) -> Path:
    """The folder of the programs, which fail where they do what C does not define."""
    return build(COMPILER, SANITIZERS)


def run(program: Path, *arguments: str | Path, lines: str = "") -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [program, *arguments]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("graphs", [("sequence", "step"), ("sequence",), ("step",)], ids="+".join)
@pytest.mark.parametrize("net", NETS, ids=str)
def test_golden_run(programs: Path, tmp_path: Path, net: Framed, graphs: tuple[str, ...]) -> None:
    """The recording is replayed in hops, from the first step on that is defined."""
    framed.write(tmp_path / "net.edgernn", net, graphs)
    library = programs / "libonnxruntime.so"
    result = run(programs / "golden", library, tmp_path / "net.edgernn")
    assert (result.returncode, result.stderr) == (0, "")
    forms = 2 * ("sequence" in graphs) + ("step" in graphs)  # whole, by chunks; by steps
    assert len(result.stdout.splitlines()) == forms
    control = run(programs / "golden", "--no-feedback", library, tmp_path / "net.edgernn")
    assert (control.returncode, control.stderr) == (1, "")


@pytest.mark.parametrize("net", NETS, ids=str)
def test_step(programs: Path, tmp_path: Path, net: Framed) -> None:
    """A line is a hop; values that are not defined yet are left empty, in every sequence anew."""
    framed.write(tmp_path / "net.edgernn", net)
    x = np.random.default_rng(3).normal(size=(1, 9 * net.hop)).astype(np.float32)
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in x.reshape(-1, net.hop))
    result = run(
        programs / "step",
        programs / "libonnxruntime.so",
        tmp_path / "net.edgernn",
        lines=f"{lines}\n{lines}",
    )
    assert (result.returncode, result.stderr) == (0, "")
    first, between, second = np.split(np.array(result.stdout.split("\n")[:-1]), [9, 10])
    assert (between.tolist(), second.tolist()) == ([""], first.tolist())
    wanted = net.reference(x)
    scores = wanted["scores"][0, : 9 - net.delay]
    for late, line in enumerate(first.tolist(), -net.delay):
        row = line.split(",")
        if late < 0:
            assert set(row) == {""}
            continue
        got = [float(cell) for cell in row]
        np.testing.assert_allclose(got[:3], scores[late], atol=1e-5)
        wave = wanted["wave"][0, late * net.hop : (late + 1) * net.hop]
        np.testing.assert_allclose(got[3 : 3 + net.hop], wave, atol=1e-5)
        np.testing.assert_allclose(got[-3:], scores[late], atol=1e-5)
