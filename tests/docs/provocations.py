"""Calls that are refused with a message of docs/troubleshooting.md, and calls that are not."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from click.testing import CliRunner
from torch import nn

from edgernn import EdgernnError, export_model, load
from edgernn.cli import main
from tests.docs import troubled_models as models
from tests.nets.torch_onnx import from_torch

__all__ = [
    "Call",
    "X",
    "changed",
    "command",
    "export",
    "in_folder",
    "model",
    "plain_onnx",
    "prepare",
    "retrained",
    "run_csv",
    "state",
    "with_file",
    "without_onnxruntime",
    "without_torch",
]

Call = Callable[[], object]

X = np.ones((1, 2, 3), np.float32)
CODE = """import torch


class Net(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.rnn = torch.nn.GRU(3, size, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


def net():
    return Net(4)
"""
TRAINS = f"{CODE}\n\ntorch.save(net().state_dict(), 'trained.pt')\n"


def prepare(folder: Path) -> None:
    """Write what the cases use: artifacts, weights, code."""
    torch.manual_seed(0)
    export_model(models.lstm(), folder / "lstm.edgernn")
    export_model(models.lstm(bidirectional=True), folder / "both.edgernn")
    export_model(models.Tagger(), folder / "tagger.edgernn")
    export_model(models.Tagger(11), folder / "text.edgernn", vocabulary=list("abcdefghijk"))
    torch.save(models.lstm(), folder / "module.pt")
    torch.save(models.Tagger().state_dict(), folder / "tagger.pt")
    torch.save(nn.GRU(3, 4, batch_first=True).state_dict(), folder / "gru.pt")
    prefixed = {f"rnn.{key}": value for key, value in nn.GRU(3, 4).state_dict().items()}
    torch.save(prefixed, folder / "net.pt")
    (folder / "net.py").write_text(CODE, "utf-8")
    (folder / "train.py").write_text(TRAINS, "utf-8")
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    np.save(folder / "x.npy", X)


def export(model: object, **options: Any) -> Call:
    """Return the export of a model to a folder of its own."""
    given: Any = model
    return lambda: export_model(given, **{"path": "out.edgernn", "force": True, **options})


def command(*arguments: str) -> Call:
    """Return a command, which raises its message where it is refused."""

    def call() -> None:
        result = CliRunner().invoke(main, list(arguments))
        if result.exit_code:
            raise EdgernnError(result.stderr.rpartition("Error: ")[2])

    return call


def run_csv(text: str) -> Call:
    """Return `edgernn run` on a CSV file of this content."""

    def call() -> None:
        Path("x.csv").write_text(text, "utf-8")
        command("run", "lstm.edgernn", "--input", "x.csv")()

    return call


def with_file(name: str, content: bytes, then: Call) -> Call:
    """Return a call that first writes a file."""

    def call() -> None:
        Path(name).write_bytes(content)
        then()

    return call


def changed() -> None:
    """Load an artifact with a graph that has a further byte."""
    shutil.copytree("lstm.edgernn", "changed.edgernn")
    with Path("changed.edgernn/sequence.onnx").open("ab") as file:
        file.write(b" ")
    load("changed.edgernn")(X)


def plain_onnx() -> None:
    """Load an ONNX file of torch's."""
    from_torch(Path("plain.onnx"), nn.GRU(3, 4), (torch.ones(2, 1, 3),), dynamo=False)
    load("plain.onnx")


def model(name: str = "lstm") -> Any:
    """Load an artifact."""
    return load(f"{name}.edgernn")


def retrained() -> nn.LSTM:
    """Return the layer of `lstm.edgernn` with other weights."""
    layer = models.lstm()
    with torch.no_grad():
        layer.get_parameter("bias_ih_l0").add_(0.1)
    return layer


def state(**arrays: Any) -> Call:
    """Return a run from a state."""
    return lambda: model().run({"input": X}, arrays)


def in_folder(name: str, then: Call) -> Call:
    """Return a call with another current folder."""

    def call() -> None:
        with contextlib.chdir(name):
            then()

    return call


def without_onnxruntime() -> None:
    """Load an artifact where ONNX Runtime is not installed."""
    with mock.patch.dict(sys.modules, {"onnxruntime": None}):
        load("lstm.edgernn")


def without_torch() -> None:
    """Export where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import edgernn; edgernn.export_model"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    raise EdgernnError(result.stderr.rpartition("MissingExtraError: ")[2])
