"""Writing where something stands already, or is killed, or finds the disk full."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import OutputExistsError
from tests.export.expected_refusal import refusal
from tests.nets.tagger import IDS, StatefulTagger

ROOT = Path(__file__).parents[2]


def test_an_existing_folder_is_kept(tmp_path):
    """What stands at the target stays, byte for byte, unless it is to be replaced."""
    target = tmp_path / "m.edgernn"
    edgernn.export_model(StatefulTagger(), target, inputs=(IDS,), verify=False)
    before = {file: file.stat() for file in tmp_path.rglob("*")}
    assert refusal(
        OutputExistsError, lambda: edgernn.export_model(StatefulTagger(), target, inputs=(IDS,))
    ) == (
        f"`m.edgernn` exists already in `{tmp_path}`. Give another name with `path`, or replace "
        "it with force=True."
    )
    assert {file: file.stat() for file in tmp_path.rglob("*")} == before


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights that determine their model, in a folder of its own."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"rnn": nn.LSTM(4, 8), "head": nn.Linear(8, 3)})
    folder = tmp_path / "cli"
    folder.mkdir()
    torch.save(net.state_dict(), folder / "m.pt")
    return folder / "m.pt"


def command(weights: Path, **options: Any) -> subprocess.Popen[str]:
    """Start `edgernn export` beside the weights."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgernn.cli", "export", weights.name, "--assume-plain"],
        cwd=weights.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("number", "status", "left"),
    [
        (signal.SIGTERM, 143, ["m.pt"]),
        (signal.SIGKILL, -9, [".m.edgernn-….partial", ".m.edgernn.lock", "m.pt"]),
    ],
)
def test_a_kill_in_the_middle_of_a_write_leaves_no_artifact(weights, number, status, left):
    """A terminated export cleans up after itself; a killed one's litter is gone after the next."""
    process = command(weights)
    while not list(weights.parent.glob(".m.edgernn-*/sequence.onnx")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == status
    entries = sorted(entry.name for entry in weights.parent.iterdir())
    assert [re.sub(r"-\w+\.", "-….", name) for name in entries] == left
    edgernn.export_model(weights, weights.parent / "m.edgernn", assume_plain=True)
    assert sorted(entry.name for entry in weights.parent.iterdir()) == ["m.edgernn", "m.pt"]


def test_a_disk_that_takes_no_more_leaves_nothing(weights):
    """Where the operating system refuses to write on, nothing is left and the reason is told."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    process = command(weights, preexec_fn=limit)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr.splitlines()) == (
        1,
        "",
        ["Exporting m.pt …", "Error: The operating system refused: File too large."],
    )
    assert [entry.name for entry in weights.parent.iterdir()] == ["m.pt"]
