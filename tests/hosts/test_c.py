"""The C host: its program built, and golden runs replayed with it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import edgernn
from tests.conftest import Once
from tests.hosts.conftest import CORE
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import HOSTS, HostError
from tests.nets.host_lstm import write_lstm


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return write_lstm(tmp_path / "lstm.edgernn").path


def replay(program: Path, artifact: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Replay the golden run of the artifact in folder `artifact` with the C program."""
    return subprocess.run(
        [program, artifact],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def differences(output: str) -> dict[str, float]:
    """Return what the program printed: how the model was run → the largest difference."""
    lines = re.findall(r"^(?:by )?(whole|chunks|steps) +max difference ([^\s,]+)", output, re.M)
    return {way: float(difference) for way, difference in lines}


def control(output: str) -> float:
    """Return the difference of the run that does not feed the state back."""
    (difference,) = re.findall(r"^without state +max difference ([^\s,]+)", output, re.M)
    return float(difference)


def refusal(run: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a run that failed before it printed anything."""
    assert (run.returncode, run.stdout) == (2, "")
    return run.stderr.removeprefix("app: ").removesuffix("\n")


def test_golden_run_agrees(program: Path, artifact: Path) -> None:
    """Both graphs reproduce the recording whole, by chunks and by steps."""
    run = replay(program, artifact)
    assert (run.returncode, run.stderr) == (0, "")
    found = differences(run.stdout)
    assert list(found) == ["whole", "chunks", "steps"]
    assert max(found.values()) < 1e-6


def test_without_feedback_the_run_differs(program: Path, artifact: Path) -> None:
    """A host that does not feed the state back is found out."""
    assert control(replay(program, artifact).stdout) > 1e-2


@pytest.mark.parametrize("port", ["output", "last", "h_out", "c_out"])
def test_every_output_is_compared(program: Path, artifact: Path, port: str) -> None:
    """One number changed in the recording of any output or final state is found."""
    file = artifact / "golden" / f"{port}.npy"
    array = np.load(file)
    array.flat[-1] += 0.5
    np.save(file, array)
    run = replay(program, artifact)
    assert run.returncode == 1
    assert differences(run.stdout) == dict.fromkeys(differences(run.stdout), 0.5)


def test_nan_counts_as_difference(program: Path, artifact: Path) -> None:
    """A recording that holds NaN where the graph gives a number differs without bound."""
    file = artifact / "golden" / "output.npy"
    array = np.load(file)
    array[0, 0, 0] = np.nan
    np.save(file, array)
    run = replay(program, artifact)
    assert run.returncode == 1
    assert set(differences(run.stdout).values()) == {float("inf")}


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_one_graph_alone(program: Path, artifact: Path, kind: str) -> None:
    """An artifact with one graph is replayed by that graph; a step graph needs time in front."""
    (artifact / {"sequence": "step", "step": "sequence"}[kind]).with_suffix(".onnx").unlink()
    if kind == "step":
        for file in (artifact / "golden" / "x.npy", artifact / "golden" / "output.npy"):
            np.save(file, np.load(file).swapaxes(0, 1).copy())
    run = replay(program, artifact)
    assert (run.returncode, run.stderr) == (0, "")
    ways = {"sequence": ["whole", "chunks", "steps"], "step": ["steps"]}[kind]
    assert list(differences(run.stdout)) == ways
    assert max(differences(run.stdout).values()) < 1e-6


@pytest.mark.parametrize("rows", ["batch*sequence", "sequence*batch"])
def test_rows_of_batch_and_steps(program: Path, artifact: Path, rows: str) -> None:
    """An axis that counts both batch and steps is read with its first symbol outside."""
    model = onnx.load(str(artifact / "sequence.onnx"))
    before = {"batch*sequence": "batch_major", "sequence*batch": "y_t"}[rows]
    next(node for node in model.graph.node if "output" in node.output).output[:] = ["batch_major"]
    model.graph.node.append(onnx.helper.make_node("Reshape", [before, "flat"], ["output"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 4]), "flat"))
    flat = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [rows, 4])
    model.graph.output[0].CopyFrom(flat)
    onnx.save(model, str(artifact / "sequence.onnx"))
    file = artifact / "golden" / "output.npy"
    output = np.load(file)
    np.save(file, (output.swapaxes(0, 1) if before == "y_t" else output).reshape(-1, 4))
    run = replay(program, artifact)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(differences(run.stdout)) == 3


def test_state_that_does_not_carry_is_not_chunked(program: Path, artifact: Path) -> None:
    """Where `edgernn.carry` is `no`, the sequence graph is run whole only."""
    for kind in ("sequence", "step"):
        rewrite(artifact / f"{kind}.onnx", "edgernn.carry", "no")
    run = replay(program, artifact)
    assert list(differences(run.stdout)) == ["whole"]


def test_bounds_are_kept(program: Path, artifact: Path) -> None:
    """A chunk of more steps than a call takes is divided; one of fewer is refused."""
    rewrite(artifact / "sequence.onnx", "edgernn.most.sequence", "3")
    assert len(differences(replay(program, artifact).stdout)) == 3
    rewrite(artifact / "sequence.onnx", "edgernn.most.sequence", "9")
    rewrite(artifact / "sequence.onnx", "edgernn.least.sequence", "8")
    assert refusal(replay(program, artifact)) == (
        "The golden run has 7 steps, but the sequence graph takes at least 8. Export the model "
        "again."
    )


def test_graph_of_another_artifact_is_refused(program: Path, artifact: Path) -> None:
    """Graphs of two families are not run as one artifact."""
    rewrite(artifact / "step.onnx", "edgernn.family", "0" * 16)
    assert refusal(replay(program, artifact)) == (
        f"`{artifact}/step.onnx` is of family {'0' * 16}, `{artifact}/sequence.onnx` of "
        f"{'5ca1ab1e' * 2}. Graphs of two exports must not be mixed; copy the whole folder."
    )


def test_other_contract_version_is_refused(program: Path, artifact: Path) -> None:
    """A graph of another contract version is not run."""
    rewrite(artifact / "sequence.onnx", "edgernn.contract", "2")
    assert refusal(replay(program, artifact)) == (
        f"`{artifact}/sequence.onnx` is of contract version 2; this edgernn reads version 1. "
        "Export the model again, or build with the edgernn.c of the edgernn that wrote it."
    )


def test_states_that_are_no_pairs_are_refused(program: Path, artifact: Path) -> None:
    """`edgernn.states` is a list of IN:OUT; anything else is not guessed at."""
    rewrite(artifact / "sequence.onnx", "edgernn.states", "h_in:h_out,c_in")
    assert refusal(replay(program, artifact)) == (
        f"`{artifact}/sequence.onnx` has a contract that cannot be read: `states` is "
        "`h_in:h_out,c_in`; expected pairs, as h_in:h_out,c_in:c_out. Export the model again."
    )


def test_state_without_its_port_is_refused(program: Path, artifact: Path) -> None:
    """A state whose port is not in the graph is not run without feedback."""
    rewrite(artifact / "sequence.onnx", "edgernn.states", "h_in:h_out,c_in:c")
    assert refusal(replay(program, artifact)) == (
        f"`{artifact}/sequence.onnx` has a contract that cannot be read: the sequence graph has no "
        "pair of ports for the state `c_in:c`. Export the model again."
    )


def test_library_that_is_not_onnxruntime_is_refused(program: Path, artifact: Path) -> None:
    """The library is loaded at run time; what is not ONNX Runtime is an error, not a crash."""
    run = replay(program, artifact, ONNXRUNTIME_LIBRARY=str(artifact / "contract.json"))
    assert refusal(run).startswith(f"`{artifact}/contract.json` is not ONNX Runtime: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("name", ["", "sequence.onnx"])
def test_pipes_are_no_graphs(program: Path, tmp_path: Path, name: str) -> None:
    """A path of what is no regular file is refused at once: to read a pipe would wait for ever."""
    (tmp_path / "a.edgernn").mkdir()
    path = tmp_path / "a.edgernn" / name if name else tmp_path / "pipe"
    os.mkfifo(path)
    given = path.parent if name else path
    run = subprocess.run([program, given], capture_output=True, text=True, check=False, timeout=60)
    assert refusal(run) == (
        f"`{given}` has neither sequence.onnx nor step.onnx. Give the folder of an artifact, or "
        "one of its graphs."
    )


def test_messages_of_one_step_and_of_no_name(once: Once) -> None:
    """One step is no `steps`, and a missing argument has its name."""
    folder = once("host-artifact-hops", lambda folder: write_artifact("hops", folder))
    with HOSTS["c"].start(once) as driver:
        driver.open(folder / "model.edgernn")
        hop = driver.facts()["hop"]
        driver.stream()
        with pytest.raises(HostError) as caught:
            driver.call("run", wave=np.zeros((1, 1), np.float32))
        assert caught.value.message == (
            f"The sequence has 1 step; the model takes hops of {hop} steps. Give at least one hop, "
            "or feed a stream: edgernn_feed."
        )
        with pytest.raises(HostError) as caught:
            driver.set_state("", np.zeros(1, np.float32))
        assert caught.value.message == (
            "`name` is NULL. Give the stream, the name of a state's input and its value."
        )


def test_nothing_about_the_model_is_written_in_the_program() -> None:
    """The sources name no port, and they parse no JSON."""
    for file in ("app.c", "edgernn.c"):
        source = (CORE / file).read_text("utf-8")
        for word in ('"h_in"', '"c_in"', '"h_out"', "json", '"x"', '"output"'):
            assert word not in source, file


class Tagger(nn.Module):
    """Ids to one score vector per step and one for the whole sequence, batch-first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.rnn = nn.GRU(5, 6, num_layers=2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, hidden = self.rnn(self.embedding(ids))
        return self.head(output), self.head(hidden[-1])


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        pytest.param(nn.LSTM(4, 6), torch.randn(5, 3, 4), id="time-major"),
        pytest.param(nn.RNN(4, 6), torch.randn(5, 4), id="unbatched"),
        pytest.param(Tagger(), torch.randint(0, 11, (3, 5)), id="tagger"),
    ],
)
def test_exported_model(
    program: Path, tmp_path: Path, model: nn.Module, inputs: torch.Tensor
) -> None:
    """What the export writes of a module, a program that knows only the contract can run."""
    folder = edgernn.export_model(model.eval(), tmp_path / "a.edgernn", inputs=(inputs,)).path
    run = replay(program, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(differences(run.stdout)) == 3
    assert control(run.stdout) > 1e-3


def test_lengths(program: Path, tmp_path: Path) -> None:
    """In parts, an input of lengths holds the steps of the part."""
    folder = edgernn.export_model(nn.LSTM(4, 6), tmp_path / "a.edgernn", lengths=True).path
    run = replay(program, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(differences(run.stdout)) == 3


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["chunks", "steps"]),
        ({"batch_size": 3}, ["chunks", "steps"]),
        ({"batch_size": 3, "graph": "sequence"}, ["chunks"]),
        ({"lengths": True}, ["chunks", "steps"]),
    ],
    ids=["any batch", "batch 3", "no step graph", "lengths"],
)
def test_constant_steps(
    program: Path, tmp_path: Path, options: dict[str, Any], found: list[str]
) -> None:
    """A graph of a number of steps is run by as many; its axes are found by their names."""
    folder = edgernn.export_model(
        Tagger().eval(),
        tmp_path / "a.edgernn",
        inputs=(torch.zeros(2, 5, dtype=torch.int64),),
        steps=4,
        verify=False,
        **options,
    ).path
    run = replay(program, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert list(differences(run.stdout)) == found
    assert control(run.stdout) > 1e-3


class Rows(nn.Module):
    """One row for each step of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.rnn(x)[0]
        return output.reshape(-1, 6)


def test_rows_of_constant_steps(program: Path, tmp_path: Path) -> None:
    """An axis of batch times a number of steps is read by its name, `batch*sequence`."""
    path, inputs = tmp_path / "a.edgernn", (torch.randn(2, 5, 4),)
    folder = edgernn.export_model(Rows(), path, inputs=inputs, steps=4, verify=False).path
    run = replay(program, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert list(differences(run.stdout)) == ["chunks", "steps"]


def test_constant_steps_that_do_not_carry(program: Path, tmp_path: Path) -> None:
    """The golden run of a bidirectional layer is one call."""
    layer = nn.GRU(4, 6, bidirectional=True)
    path = tmp_path / "a.edgernn"
    folder = edgernn.export_model(layer, path, steps=4, batch_size=2, verify=False).path
    run = replay(program, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert list(differences(run.stdout)) == ["whole"]


def rewrite(graph: Path, key: str, value: str) -> None:
    """Change or add one entry of a graph's metadata."""
    model = onnx.load(str(graph))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, key: value})
    onnx.save(model, str(graph))
