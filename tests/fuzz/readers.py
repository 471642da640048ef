"""Every reader of edgernn, as one call with one damaged file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import edgernn
from edgernn.artifact import Artifact
from edgernn.cli import main
from edgernn.export.analysis.file_analysis import analyse_file
from edgernn.export.source.load_source import load_source
from edgernn.runtime import golden_replay
from edgernn.vocabulary import Vocabulary

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True)
class Reader:
    """One kind of file and what reads it.

    Attributes:
        file: Its path in the corpus.
        read: Reads it, in a folder that is the current one; raises what edgernn raises.
        every: It takes part in every so many rounds: what reads slowly takes part in few.
    """

    file: str
    read: Callable[[Path], object]
    every: int = 1


def _command(*arguments: str, stdin: Path | None = None) -> None:
    """Run the command line; what is neither success nor a sentence is raised."""
    content = stdin.read_bytes() if stdin else None
    result = CliRunner().invoke(main, list(arguments), content, prog_name="edgernn")
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    said = result.stderr.strip().splitlines()
    if result.exit_code and not (said and said[-1].startswith("Error: ")):
        raise AssertionError(f"exit code {result.exit_code} and no sentence: {said[-1:]}")


def _artifact(path: Path) -> object:
    """Open an artifact, replay its golden run, and describe it."""
    folder = path.parent if path.suffix == ".json" else path.parents[1]
    Artifact.open(folder)
    _command("inspect", str(folder))
    return golden_replay.golden_report(edgernn.load(folder))


def _graph(path: Path) -> object:
    """Open a graph in an artifact whose digest is that of the damaged file."""
    folder = path.parent
    table = json.loads((folder / "contract.json").read_text())
    table["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "contract.json").write_text(json.dumps(table))
    return golden_replay.golden_report(edgernn.load(folder))


def _single(path: Path) -> object:
    """Open a graph alone, and start a stream from it."""
    return edgernn.load(path).stream()


def _vocabulary(path: Path) -> object:
    return Vocabulary.from_file(path).to_lines()


def _input(path: Path) -> None:
    _command("run", "features.edgernn", "--input", str(path), "--chunk", "2")


def _piped(path: Path) -> None:
    _command("run", "features.edgernn", "--input", "-", stdin=path)


def _state(path: Path) -> None:
    _command("run", "features.edgernn", "--input", "x.npy", "--state-in", str(path))


def _text(path: Path) -> None:
    _command("run", "hello.edgernn", "--text", "-", stdin=path)


def _model(path: Path) -> Any:
    return load_source(path, assume_plain=True)


READERS: dict[str, Reader] = {
    "contract": Reader("hello.edgernn/contract.json", _artifact),
    "learned contract": Reader("features.edgernn/contract.json", _artifact),
    "graph of an artifact": Reader("hello.edgernn/step.onnx", _graph),
    "graph alone": Reader("hello.edgernn/sequence.onnx", _single),
    "golden array": Reader("features.edgernn/golden/x.npy", _artifact),
    "inspected graph": Reader("foreign.onnx", analyse_file),
    "foreign graph": Reader("foreign.onnx", _model),
    "graph with weights beside": Reader("external/graph.onnx", _model),
    "vocabulary": Reader("vocabulary.txt", _vocabulary),
    "vocabulary in JSON": Reader("vocabulary.json", _vocabulary),
    ".npy": Reader("x.npy", _input),
    ".npz": Reader("x.npz", _input),
    ".csv": Reader("x.csv", _input),
    ".jsonl": Reader("x.jsonl", _input),
    ".npy in a pipe": Reader("x.npy", _piped),
    ".npz in a pipe": Reader("x.npz", _piped),
    "text": Reader("text.txt", _text),
    "state": Reader("state.npz", _state),
    "state_dict": Reader("weights.pt", _model),
    "legacy state_dict": Reader("legacy.pt", _model),
    "safetensors": Reader("weights.safetensors", _model),
    "TorchScript archive": Reader("scripted.pt", _model, every=2),
    "torch.export archive": Reader("program.pt2", _model, every=4),
}
"""Name of a kind of file → its reader."""
