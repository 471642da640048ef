"""Artifact folders with stand-ins for graphs, and what is said where one is refused."""

from __future__ import annotations

import hashlib
import json

import pytest

from edgernn.artifact import Artifact
from edgernn.contract import Contract, Graph, Port, State
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from edgernn.report import Check, Cost, ParityReport

H = Port("h_in", "float32", (1, "batch", 2))
STEP = Graph((H,), (Port("h_out", "float32", (1, "batch", 2)),))


def contract(family="f00d"):
    """Return the contract of one step graph with one state."""
    states = (State("h", "h_in", "h_out"),)
    return Contract(family, "demo", states, True, {"step": STEP})


def fill(folder, promise=None, path=None):
    """Write into a folder what an artifact needs; the graph is a stand-in of some bytes."""
    promise = promise or contract()
    data = b"graph of family " + promise.family.encode()
    (folder / "step.onnx").write_bytes(data)
    (folder / "golden").mkdir()
    (folder / "golden" / "h_in.npy").write_bytes(b"x")
    parity = ParityReport("torch", 1e-5, (Check("steps", "step", 1, 9, "zero", 1e-7),))
    digests = {"step.onnx": hashlib.sha256(data).hexdigest()}
    artifact = Artifact(path or folder, promise, parity, Cost(1, 2, 3, 4), {"x": "y"}, digests)
    (folder / "contract.json").write_text(json.dumps(artifact.to_json()), "utf-8")
    return artifact


def write(path, **options):
    """Write such an artifact as the export does; return it."""
    with atomic_folder(path, **options) as folder:
        return fill(folder, path=path)


def refused(error, call, *arguments):
    """Return the message of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)
