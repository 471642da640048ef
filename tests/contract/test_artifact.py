from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgernn.artifact import Artifact, staged
from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError, OutputExistsError
from edgernn.report import Check, Cost, ParityReport

H = Port("h_in", "float32", (1, "batch", 2))
STEP = Graph((H,), (Port("h_out", "float32", (1, "batch", 2)),))


def contract(family="f00d", notes=()):
    states = (State("h", "h_in", "h_out"),)
    return Contract(family, "demo", states, True, {"step": STEP}, notes=notes)


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
    with staged(path, **options) as folder:
        return fill(folder, path=path)


def refused(error, call, *arguments):
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.edgernn"


def test_what_is_written_is_read(path):
    """An artifact opened is the artifact written, with its paths."""
    written = write(path)
    artifact = Artifact.open(path)
    assert artifact == written
    assert artifact.step == path / "step.onnx"
    assert artifact.sequence is None
    assert artifact.golden == path / "golden"
    assert artifact.checked("step") == path / "step.onnx"


def test_an_artifact_may_be_moved_and_copied(path, tmp_path):
    """Nothing in the folder holds its own place."""
    write(path)
    path.rename(tmp_path / "elsewhere")
    assert Artifact.open(tmp_path / "elsewhere").checked("step").is_file()


def test_a_failure_leaves_nothing(path):
    """When the block fails, neither the folder nor anything beside it remains."""

    def failing():
        with staged(path) as folder:
            fill(folder)
            raise RuntimeError("parity")

    assert refused(RuntimeError, failing) == "parity"
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(path, monkeypatch):
    """When the disk is full on flushing, the artifact that was to be replaced stays whole."""
    write(path)
    before = (path / "contract.json").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replacing():
        with staged(path, force=True) as folder:
            fill(folder, contract("beef"))

    monkeypatch.setattr(os, "fsync", full)
    assert refused(OSError, replacing) == "[Errno 28] No space left on device"
    assert (path / "contract.json").read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_while_writing_leaves_nothing(path):
    """A write that the disk refuses leaves nothing behind."""

    def writing():
        with staged(path) as folder:
            (folder / "step.onnx").symlink_to("/dev/full")
            (folder / "step.onnx").write_bytes(b"x" * 100)

    assert refused(OSError, writing) == "[Errno 28] No space left on device"
    assert list(path.parent.iterdir()) == []


def test_a_failing_move_brings_the_old_one_back(path, monkeypatch):
    """When the new folder cannot take its place, the old one returns to it."""
    write(path)
    rename = Path.rename

    def breaking(self, target):
        if self.suffix == ".partial" and "-old" not in self.name:
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    def replacing():
        with staged(path, force=True) as folder:
            fill(folder, contract("beef"))

    monkeypatch.setattr(Path, "rename", breaking)
    assert refused(OSError, replacing) == "[Errno 5] broken"
    assert Artifact.open(path).contract.family == "f00d"
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, pathlib, signal, sys
from edgernn.artifact import staged
path, moment = pathlib.Path(sys.argv[1]), sys.argv[2]
rename = pathlib.Path.rename
def counted(self, target, seen=[]):
    seen.append(target)
    if moment == f"rename{len(seen)}":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.rename = counted
with staged(path, force=True) as folder:
    (folder / "contract.json").write_text("{}")
    if moment == "write":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["write", "rename1", "rename2"])
def test_a_kill_in_the_middle_loses_nothing(path, moment):
    """Killed at any moment, the next call finds the old artifact and clears the rest away."""
    write(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(path.parent.iterdir())) == 2
    with pytest.raises(OutputExistsError), staged(path):
        pass
    assert Artifact.open(path).contract.family == "f00d"
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_begins_alike_is_left_alone(path):
    """Clearing up after one artifact touches no other that is being written beside it."""
    with staged(path.with_name("m.edgernn-2")) as other:
        write(path)
        assert other.is_dir()
        fill(other)


def test_an_existing_folder_is_kept(path):
    """Without force a path that exists is refused and stays; with force it is replaced whole."""
    write(path)
    (path / "extra").touch()
    assert refused(OutputExistsError, write, path) == (
        f"`m.edgernn` exists already in `{path.parent}`. Give another name with -o, or replace "
        "it with --force."
    )
    assert (path / "extra").exists()
    write(path, force=True)
    assert not (path / "extra").exists()


def test_force_replaces_artifacts_only(path):
    """A folder that is not an artifact is never replaced."""
    path.mkdir()
    (path / "thesis.txt").touch()
    with pytest.raises(OutputExistsError) as caught:
        write(path, force=True)
    assert str(caught.value) == (
        f"`m.edgernn` in `{path.parent}` exists and is not an artifact; --force replaces artifacts "
        "only. Give another name with -o."
    )
    assert (path / "thesis.txt").exists()


def test_what_is_not_an_artifact_is_refused(path):
    """A missing path, a file and a folder without a contract are told apart."""
    end = "there is no `contract.json` in it. `edgernn export MODEL` writes an artifact."
    assert refused(ContractError, Artifact.open, path) == f"`{path}` does not exist: {end}"
    path.touch()
    assert refused(ContractError, Artifact.open, path) == f"`{path}` is not an artifact: {end}"
    path.unlink()
    path.mkdir()
    assert refused(ContractError, Artifact.open, path) == f"`{path}` is not an artifact: {end}"


def test_a_contract_that_does_not_parse_is_refused(path):
    """A truncated contract.json is refused with the parser's reason."""
    write(path)
    (path / "contract.json").write_text('{"contract": ')
    assert refused(ContractError, Artifact.open, path) == (
        f"`{path}` has a `contract.json` that cannot be read: "
        "Expecting value: line 1 column 14 (char 13)"
    )


def test_another_version_is_refused(path):
    """An artifact of another contract version is refused with both ways out."""
    write(path)
    table = json.loads((path / "contract.json").read_text())
    (path / "contract.json").write_text(json.dumps({**table, "contract": "2"}))
    assert refused(ContractError, Artifact.open, path) == (
        f"`{path}` is of contract version 2; this edgernn reads version 1. Export the model "
        "again, or install the edgernn that wrote it."
    )


@pytest.mark.parametrize("key", ["parity", "cost", "refusals", "sha256"])
def test_a_contract_without_a_key_is_refused(path, key):
    """Each key that the artifact adds to the contract must be there."""
    write(path)
    table = json.loads((path / "contract.json").read_text())
    del table[key]
    (path / "contract.json").write_text(json.dumps(table))
    assert refused(ContractError, Artifact.open, path) == (
        f"`{path}` has a `contract.json` that cannot be read (KeyError({key!r})). Export the "
        "model again."
    )


def test_a_changed_graph_is_refused(path):
    """A graph of this family whose digest differs was changed."""
    write(path)
    data = b"graph of family f00d, improved"
    (path / "step.onnx").write_bytes(data)
    promised = Artifact.open(path).digests["step.onnx"]
    assert refused(ContractError, Artifact.open(path).checked, "step") == (
        f"`{path / 'step.onnx'}` was changed after the export: its SHA-256 is "
        f"{hashlib.sha256(data).hexdigest()[:12]}…, the contract has {promised[:12]}…. Export the "
        "model again."
    )


def test_a_graph_of_another_artifact_is_refused(path):
    """A graph of another family is told apart from a changed one."""
    write(path)
    (path / "step.onnx").write_bytes(b"graph of family beef")
    assert refused(ContractError, Artifact.open(path).checked, "step") == (
        f"`{path / 'step.onnx'}` belongs to another artifact: it is not of family f00d as the "
        "contract beside it. Graphs of two exports must not be mixed; copy the whole folder."
    )


def test_changed_external_weights_are_refused(path):
    """The weights file that a graph refers to is checked with it."""
    write(path)
    (path / "weights.data").write_bytes(b"weights")
    table = json.loads((path / "contract.json").read_text())
    table["sha256"]["weights.data"] = hashlib.sha256(b"other").hexdigest()
    (path / "contract.json").write_text(json.dumps(table))
    assert refused(ContractError, Artifact.open(path).checked, "step") == (
        f"`{path / 'weights.data'}` was changed after the export: its SHA-256 is "
        f"{hashlib.sha256(b'weights').hexdigest()[:12]}…, the contract has "
        f"{hashlib.sha256(b'other').hexdigest()[:12]}…. Export the model again."
    )


def test_a_missing_graph_is_refused(path):
    """A graph that the contract promises and the folder lacks is refused by name."""
    write(path)
    (path / "step.onnx").unlink()
    assert refused(ContractError, Artifact.open(path).checked, "step") == (
        f"`{path / 'step.onnx'}` cannot be read: No such file or directory."
    )


def test_a_graph_that_was_never_there_is_refused_with_the_notes(path):
    """A kind that the contract does not have is refused with the contract's own reason."""
    with staged(path) as folder:
        fill(folder, contract(notes=("It is one cell.",)), path)
    assert refused(ContractError, Artifact.open(path).checked, "sequence") == (
        f"`{path}` has no sequence graph. It is one cell."
    )
