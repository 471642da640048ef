"""The C programs on models in hops: whole hops, outputs of other rates, steps not defined yet."""

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
    programs: Path, tmp_path: Path, model: nn.Module, spec: str, numbers: int
) -> None:
    """Both programs give what edgernn gives, and see where the state is not fed back."""
    path, library = tmp_path / "m.edgernn", programs / "libonnxruntime.so"
    edgernn.export_model(model.eval(), path, inputs=[spec])
    for options, code in (((), 0), (("--no-feedback",), 1)):
        ran = run(programs / "golden", *options, library, path)
        assert (ran.returncode, ran.stderr) == (code, "")
        assert len(ran.stdout.splitlines()) == 3
    x = np.random.default_rng(1).normal(size=(6, numbers)).astype(np.float32)
    lines = "".join(",".join(map(str, hop)) + "\n" for hop in x)
    ran = run(programs / "step", library, path, lines=lines)
    assert (ran.returncode, ran.stderr) == (0, "")
    stream = edgernn.load(path).stream()
    ports = ExamplePorts(edgernn.load(path).contract)
    sizes = ports.sizes(ports.contract.data_inputs("step")[0])
    for line, hop in zip(ran.stdout.splitlines(), x, strict=True):
        found = stream.step(hop.reshape(sizes))
        arrays = found.values() if isinstance(found, dict) else [found]
        wanted = [float(n) for array in arrays if array is not None for n in array.ravel()]
        np.testing.assert_allclose([float(n) for n in line.split(",") if n], wanted, atol=1e-5)


def test_the_end_of_positions(programs: Path, tmp_path: Path) -> None:
    """A step after the last position is refused; an empty line starts a new sequence."""
    path, library = tmp_path / "m.edgernn", programs / "libonnxruntime.so"
    edgernn.export_model(Positions(), path, inputs=[SIGNAL], verify=False)
    ran = run(programs / "step", library, path, lines="1,2,3\n" * 41)
    assert (ran.returncode, len(ran.stdout.splitlines())) == (2, 40)
    assert ran.stderr == (
        "step: a sequence has at most 40 steps, where the positions of `position_in` end. Start a "
        "new one with an empty line\n"
    )
    ran = run(programs / "step", library, path, lines="1,2,3\n" * 40 + "\n" + "1,2,3\n")
    first, *_, last = ran.stdout.splitlines()
    assert (ran.returncode, first) == (0, last)


def test_hops_without_a_step_graph(programs: Path, tmp_path: Path) -> None:
    """A line is no hop of the sequence graph; with the step graph, as the message says, it is."""
    path, library = tmp_path / "net.edgernn", programs / "libonnxruntime.so"
    framed.write(path, Framed(12, 4), ("sequence",))
    ran = run(programs / "step", library, path, lines="1,2,3,4\n")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"step: `{path}` takes hops of 4 steps, which need step.onnx. Export it with a step graph\n"
    )
    framed.write(tmp_path / "both.edgernn", Framed(12, 4))
    ran = run(programs / "step", library, tmp_path / "both.edgernn", lines="1,2,3,4\n1,2\n")
    assert ran.stderr == "step: line 2 has 2 values, but a hop takes 4 of `x`\n"


def test_outputs_that_count_no_hops_are_compared_whole(programs: Path, tmp_path: Path) -> None:
    """Where the state does not carry, an output has any number of rows for the steps."""
    path = tmp_path / "m.edgernn"
    edgernn.export_model(Whole(), path, inputs=[SIGNAL], verify=False)
    for difference, code in ((0, 0), (1, 1)):
        output = np.load(path / "golden" / "output.npy")
        output.flat[-1] += difference
        np.save(path / "golden" / "output.npy", output)
        ran = run(programs / "golden", programs / "libonnxruntime.so", path)
        assert (ran.returncode, ran.stderr) == (code, "")
