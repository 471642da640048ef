"""The C program on models in hops: whole hops, outputs of other rates, steps not defined yet."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.export.artifact_files.example_ports import ExamplePorts
from tests.hosts.conftest import COMPILER, SANITIZERS, Build
from tests.hosts.test_c import control, differences, replay
from tests.models.dual_paths import TimeFirst
from tests.nets import framed
from tests.nets.framed import Framed
from tests.nets.hop_models import Decoder, FramedGru, Positions

NETS = [Framed(12, 4), Framed(12, 4, 4, 4), Framed(4, 1)]

SIGNAL, WAVE = "x:float32[batch,sequence,3]", "wave:float32[batch,sequence]"
BINS = "x:float32[batch,sequence,5,4]"


class Whole(nn.Module):
    """A layer in both directions over frames, whose outputs are not as many as its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(3, 6, 8, 4)
        self.gru = nn.GRU(6, 5, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 10) for x (batch, steps, 3)."""
        output: torch.Tensor = self.gru(self.frames(x.transpose(1, 2)).transpose(1, 2))[0]
        return output


@pytest.fixture(scope="session")
def sanitized(build: Build) -> Path:
    """The program, which fails where it does what C does not define."""
    return build(COMPILER, SANITIZERS) / "app"


def step(program: Path, artifact: Path, lines: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [program, "step", artifact]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("graphs", [("sequence", "step"), ("sequence",), ("step",)], ids="+".join)
@pytest.mark.parametrize("net", NETS, ids=str)
def test_golden_run(sanitized: Path, tmp_path: Path, net: Framed, graphs: tuple[str, ...]) -> None:
    """The recording is replayed in hops, from the first step on that is defined."""
    framed.write(tmp_path / "net.edgernn", net, graphs)
    result = replay(sanitized, tmp_path / "net.edgernn")
    assert (result.returncode, result.stderr) == (0, "")
    assert list(differences(result.stdout)) == (
        ["whole", "chunks", "steps"] if "sequence" in graphs else ["steps"]
    )
    assert control(result.stdout) > 1e-3


@pytest.mark.parametrize("net", NETS, ids=str)
def test_step(sanitized: Path, tmp_path: Path, net: Framed) -> None:
    """A line is a hop; values that are not defined yet are left empty, in every sequence anew."""
    framed.write(tmp_path / "net.edgernn", net)
    x = np.random.default_rng(3).normal(size=(1, 9 * net.hop)).astype(np.float32)
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in x.reshape(-1, net.hop))
    result = step(sanitized, tmp_path / "net.edgernn", f"{lines}\n{lines}")
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


@pytest.mark.parametrize(
    ("model", "spec", "numbers"),
    [
        (FramedGru(3, 1), SIGNAL, 3),
        (FramedGru(4, 4), SIGNAL, 12),
        (FramedGru(5, 2, 2), SIGNAL, 6),
        (Decoder(), WAVE, 4),
        (Positions(), SIGNAL, 3),
        (TimeFirst(), BINS, 20),
    ],
    ids=["delay", "hop", "tail", "decoder", "positions", "bins"],
)
def test_exported_models(
    sanitized: Path, tmp_path: Path, model: nn.Module, spec: str, numbers: int
) -> None:
    """The program gives what edgernn gives, and sees where the state is not fed back."""
    path = tmp_path / "m.edgernn"
    edgernn.export_model(model.eval(), path, inputs=[spec])
    ran = replay(sanitized, path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(differences(ran.stdout)) == 3
    assert control(ran.stdout) > 1e-3
    x = np.random.default_rng(1).normal(size=(6, numbers)).astype(np.float32)
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in x)
    ran = step(sanitized, path, lines)
    assert (ran.returncode, ran.stderr) == (0, "")
    stream = edgernn.load(path).stream()
    ports = ExamplePorts(edgernn.load(path).contract)
    sizes = ports.sizes(ports.contract.data_inputs("step")[0])
    for line, hop in zip(ran.stdout.splitlines(), x, strict=True):
        found = stream.step(hop.reshape(sizes))
        arrays = found.values() if isinstance(found, dict) else [found]
        wanted = [float(n) for array in arrays if array is not None for n in array.ravel()]
        np.testing.assert_allclose([float(n) for n in line.split(",") if n], wanted, atol=1e-5)


def test_the_end_of_positions(sanitized: Path, tmp_path: Path) -> None:
    """A step after the last position is refused; an empty line starts a new sequence."""
    path = tmp_path / "m.edgernn"
    edgernn.export_model(Positions(), path, inputs=[SIGNAL], verify=False)
    ran = step(sanitized, path, "1,2,3\n" * 41)
    assert (ran.returncode, len(ran.stdout.splitlines())) == (2, 40)
    assert ran.stderr == (
        "app: State `position` counts the steps of a sequence up to 40, the end of a table of the "
        "model; it has counted 40, and 1 more came. Start a new sequence with edgernn_reset.\n"
    )
    ran = step(sanitized, path, "1,2,3\n" * 40 + "\n" + "1,2,3\n")
    first, *_, last = ran.stdout.splitlines()
    assert (ran.returncode, first) == (0, last)


def test_hops_without_a_step_graph(sanitized: Path, tmp_path: Path) -> None:
    """A line is a hop of the sequence graph as of the step graph."""
    x = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in x)
    answers = []
    for graphs in (("sequence",), ("sequence", "step")):
        path = tmp_path / f"{len(graphs)}.edgernn"
        framed.write(path, Framed(12, 4), graphs)
        ran = step(sanitized, path, lines)
        assert (ran.returncode, ran.stderr) == (0, "")
        rows = [[float(x) for x in line.split(",") if x] for line in ran.stdout.splitlines()]
        answers.append(rows)
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    ran = step(sanitized, path, "1,2,3,4\n1,2\n")
    assert ran.stderr == "app: line 2 has 2 values, but a hop takes 4\n"


def test_outputs_that_count_no_hops_are_compared_whole(sanitized: Path, tmp_path: Path) -> None:
    """Where the state does not carry, an output has any number of rows for the steps."""
    path = tmp_path / "m.edgernn"
    edgernn.export_model(Whole(), path, inputs=[SIGNAL], verify=False)
    for difference, code in ((0, 0), (1, 1)):
        output = np.load(path / "golden" / "output.npy")
        output.flat[-1] += difference
        np.save(path / "golden" / "output.npy", output)
        ran = replay(sanitized, path)
        assert (ran.returncode, ran.stderr) == (code, "")
