"""`app step` of the C host: an artifact run on numbers from standard input, one step per line."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import edgernn
from edgernn.cli import main
from tests.hosts.conftest import COMPILER, SANITIZERS, Build
from tests.nets.call_counter import CallCounter
from tests.nets.learned_start import LearnedStart

LINES = "1,-2,3\n4 5 6\n0.5, 0.25,\t0\n"


@pytest.fixture(scope="session", params=sorted({COMPILER, "clang"}))
def step(request: pytest.FixtureRequest, build: Build) -> Path:
    """The program, which fails where it leaks memory or does what C does not define."""
    return build(request.param, SANITIZERS) / "app"


def run(step: Path, artifact: Path, lines: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [step, "step", artifact]
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False)


def numbers(lines: str) -> list[list[float]]:
    """Return the numbers of each line."""
    return [[float(number) for number in line.split(",") if number] for line in lines.splitlines()]


class Learned(LearnedStart):
    """Two layers, a learned initial state, two inputs and two outputs."""

    def forward(self, ids: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return scores for `ids` (batch, steps) and `x` (batch, steps, 2)."""
        output = self.scores(ids, x)
        return {"scores": output, "positive": output[:, :, :2] > 0}


class Counter(nn.Module):
    """Takes an integer that is not an id."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 2, batch_first=True)

    def forward(self, count: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 2) for counts (batch, steps, 1)."""
        output: torch.Tensor = self.gru(count.float())[0]
        return output


class Mean(nn.Module):
    """Takes any number of points in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 3) for points (batch, steps, points, 2)."""
        output: torch.Tensor = self.gru(x.mean(2))[0]
        return output


class Tagger(nn.Module):
    """Scores for each of 11 ids."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 6) for ids (batch, steps)."""
        output: torch.Tensor = self.lstm(self.embedding(ids))[0]
        return output


Export = Callable[..., Path]
"""From the name of a model and options to its artifact."""

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...] | None]] = {
    "lstm": (lambda: nn.LSTM(3, 4, 2), None),
    "bidirectional": (lambda: nn.GRU(3, 4, bidirectional=True), None),
    "learned": (Learned, (torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, 2))),
    "tagger": (Tagger, (torch.zeros(1, 5, dtype=torch.int64),)),
    "counter": (Counter, (torch.ones(1, 3, 1, dtype=torch.int64),)),
    "mean": (Mean, None),
    "counted calls": (CallCounter, (torch.ones(1, 5, 3),)),
}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export a model with options, once in this file."""

    @functools.cache
    def exported(name: str, **options: Any) -> Path:
        make, inputs = MODELS[name]
        torch.manual_seed(0)
        given = options.pop("inputs", inputs)
        folder = tmp_path_factory.mktemp(name) / "m.edgernn"
        return edgernn.export_model(
            make().eval(), folder, inputs=given, verify=False, **options
        ).path

    return exported


@pytest.mark.parametrize("options", [{}, {"graph": "sequence"}, {"graph": "step"}], ids=str)
def test_rows_of_numbers(
    step: Path, export: Export, tmp_path: Path, options: dict[str, str]
) -> None:
    """The outputs are those of `edgernn run`, from whichever graph there is."""
    artifact = export("lstm", **options)
    (tmp_path / "in.csv").write_text(LINES.replace(" ", ",").replace("\t", "").replace(",,", ","))
    expected = CliRunner().invoke(main, ["run", str(artifact), "--input", str(tmp_path / "in.csv")])
    assert expected.exit_code == 0
    ran = run(step, artifact, LINES)
    assert (ran.returncode, ran.stderr) == (0, "")
    np.testing.assert_allclose(numbers(ran.stdout), numbers(expected.stdout), atol=1e-6)


def test_ids(step: Path, export: Export, tmp_path: Path) -> None:
    """A model of symbols takes their ids."""
    artifact = export("tagger")
    (tmp_path / "in.csv").write_text("3\n10\n0\n3\n")
    expected = CliRunner().invoke(main, ["run", str(artifact), "--input", str(tmp_path / "in.csv")])
    ran = run(step, artifact, "3\n10\n0\n3\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    np.testing.assert_allclose(numbers(ran.stdout), numbers(expected.stdout), atol=1e-6)
    refused = run(step, artifact, "3\n11\n")
    assert (refused.returncode, numbers(refused.stdout)) == (2, numbers(ran.stdout)[:1])
    assert refused.stderr == (
        "app: value 1 of line 2 is `11`, but `ids` takes ids from 0 to 10. Give finite numbers, "
        "separated by commas or white space\n"
    )


def test_several_inputs_and_outputs(step: Path, export: Export, tmp_path: Path) -> None:
    """A line has the values of every input, an answer those of every output, in their order."""
    artifact = export("learned")
    steps = [{"ids": 3, "x": [0.5, -1]}, {"ids": 0, "x": [2, 1]}, {"ids": 6, "x": [0, 0]}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, steps)))
    arguments = ["run", str(artifact), "--input", str(tmp_path / "in.jsonl")]
    expected = [
        json.loads(line) for line in CliRunner().invoke(main, arguments).stdout.splitlines()
    ]
    ran = run(step, artifact, "3 .5 -1\n0 2 1\n6 0 0\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [[*answer["scores"], *answer["positive"]] for answer in expected]
    assert len(rows) == 3
    np.testing.assert_allclose(numbers(ran.stdout), rows, atol=1e-6)


def test_constant_batch(step: Path, export: Export) -> None:
    """A line has the values of all sequences; each starts from the learned state."""
    one = numbers(run(step, export("learned"), "1 .5 -1\n0 2 1\n").stdout)
    artifact = export("learned", batch_size=3, steps=4)
    ran = run(step, artifact, "1 1 1 .5 -1 .5 -1 .5 -1\n0,0,0,2,1,2,1,2,1")
    assert (ran.returncode, ran.stderr) == (0, "")
    for answer, alone in zip(numbers(ran.stdout), one, strict=True):
        scores, positive = answer[:15], answer[15:]
        np.testing.assert_allclose(scores, alone[:5] * 3, atol=1e-6)
        np.testing.assert_allclose(positive, alone[5:] * 3)


def test_an_empty_line_starts_again(step: Path, export: Export) -> None:
    """The state goes from line to line until an empty one; the answer to that is empty."""
    ran = run(step, export("learned"), "3 .5 -1\n3 .5 -1\n \t\r\n3 .5 -1\r\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, empty, again = ran.stdout.splitlines()
    assert first != second
    assert (empty, again) == ("", first)


def test_without_golden_arrays(step: Path, export: Export, tmp_path: Path) -> None:
    """Only the graph is read: its contract is in its metadata."""
    artifact = tmp_path / "graph.edgernn"
    artifact.mkdir()
    shutil.copy(export("lstm") / "step.onnx", artifact)
    expected = run(step, export("lstm"), LINES).stdout
    ran = run(step, artifact, LINES)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", expected)


def test_answers_at_once(step: Path, export: Export) -> None:
    """Each line is answered before the next one is written, through pipes as well."""
    command: list[str | Path] = [step, "step", export("lstm")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in LINES.splitlines():
            process.stdin.write(f"{line}\n")
            assert len(numbers(process.stdout.readline())[0]) == 4
        process.stdin.close()
        assert process.wait() == 0


GIVE = "Give finite numbers, separated by commas or white space"
WRONG = {
    "4,5": "line 2 has 2 values, but a step takes 3",
    "4,5,6,7": "line 2 has more than the 3 values that a step takes",
    "4,5,6,": "line 2 ends with a comma, not a value",
    "4,,6": f"value 2 of line 2 is ``, but `input` takes numbers. {GIVE}",
    "4,b,6": f"value 2 of line 2 is `b`, but `input` takes numbers. {GIVE}",
    "4,5,6x": f"value 3 of line 2 is `6x`, but `input` takes numbers. {GIVE}",
    "nan,5,6": f"value 1 of line 2 is `nan`, but `input` takes numbers. {GIVE}",
    "4,5,-inf": f"value 3 of line 2 is `-inf`, but `input` takes numbers. {GIVE}",
    "4,5,1e39": f"value 3 of line 2 is `1e39`, but `input` takes numbers. {GIVE}",
    "4,5,\0006": "line 2 has a NUL byte. Give text",
}


@pytest.mark.parametrize("line", WRONG, ids=repr)
def test_wrong_lines(step: Path, export: Export, line: str) -> None:
    """A line that is not one step ends the program; what came before it is answered."""
    artifact = export("lstm")
    before = run(step, artifact, "1,-2,3\n").stdout
    ran = run(step, artifact, f"1,-2,3\n{line}\n4,5,6\n")
    assert (ran.returncode, ran.stdout) == (2, before)
    assert ran.stderr == f"app: {WRONG[line]}\n"


@pytest.mark.parametrize("line", ["1.5", "9223372036854775808", "x"])
def test_integers(step: Path, export: Export, line: str) -> None:
    """An integer port takes integers of its range only."""
    artifact = export("counter")
    assert run(step, artifact, "-3\n9223372036854775807\n").returncode == 0
    ran = run(step, artifact, f"{line}\n")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"app: value 1 of line 1 is `{line}`, but `count` takes integers. {GIVE}\n"
    )


def test_resets_and_bools(step: Path, export: Export) -> None:
    """`reset`, a bool, is 0 or 1."""
    artifact = export("lstm", reset=True)
    ran = run(step, artifact, "1,-2,3,0\n1,-2,3,0\n1,-2,3,1\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, third = ran.stdout.splitlines()
    assert first == third != second
    ran = run(step, artifact, "1,-2,3,2\n")
    assert ran.stderr == f"app: value 4 of line 1 is `2`, but `reset` takes 0 or 1. {GIVE}\n"


def test_float16_is_refused(step: Path, export: Export) -> None:
    """Ports of a type that C lacks are refused by name."""
    ran = run(step, export("lstm", precision="float16"), LINES)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "app: `input` is of a type that is not read here; float32, float64, int64, int32 and bool "
        "are\n"
    )


def test_models_without_a_step_are_refused(step: Path, export: Export) -> None:
    """A state that does not carry on, and calls of several steps, have no single step."""
    assert run(step, export("bidirectional"), LINES).stderr == (
        "app: The model cannot run as a stream, so `edgernn_step` does not run it: its state "
        "cannot be carried from one chunk to the next. Give it whole sequences: edgernn_run.\n"
    )
    assert run(step, export("lstm", graph="sequence", steps=4), LINES).stderr == (
        "app: The model has no step graph, and its sequence graph takes 4 steps at a time. Feed it "
        "chunks: edgernn_feed.\n"
    )


def test_a_call_of_one_step(step: Path, export: Export) -> None:
    """A model that keeps memory from call to call runs lines as calls of one step."""
    model = edgernn.load(export("counted calls"), forms=False)
    ran = run(step, export("counted calls"), LINES)
    assert (ran.returncode, ran.stderr) == (0, "")
    stream = model.stream()
    rows = np.array([[1, -2, 3], [4, 5, 6], [0.5, 0.25, 0]], np.float32)
    expected = [stream.feed(row[None, None]).ravel() for row in rows]
    np.testing.assert_allclose(numbers(ran.stdout), expected, atol=1e-6)


def test_axes_of_any_size_are_refused(step: Path, export: Export) -> None:
    """A line has a constant number of values."""
    artifact = export("mean", inputs=("x:float32[batch,sequence,points,2]",))
    assert run(step, artifact, LINES).stderr == (
        "app: axis `points` of `x` has any size, but a line has a constant number of values\n"
    )


def test_folders_without_graphs_are_refused(step: Path, tmp_path: Path) -> None:
    """A folder without graphs, and a call with too many arguments, say what is wrong."""
    assert run(step, tmp_path, "").stderr == (
        f"app: `{tmp_path}` has neither sequence.onnx nor step.onnx. Give the folder of an "
        "artifact, or one of its graphs.\n"
    )
    ran = subprocess.run([step, "a", "b", "c"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (2, "app: usage: app [step] [ARTIFACT]\n")
