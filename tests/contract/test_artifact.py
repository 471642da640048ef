"""The folder of an artifact, as it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from tests.contract.filled import contract, fill, refused, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.edgernn"


def test_what_is_written_is_read(path):
    """An opened artifact equals the one that was written, with its paths."""
    written = write(path)
    artifact = Artifact.open(path)
    assert artifact == written
    assert artifact.step == path / "step.onnx"
    assert artifact.sequence is None
    assert artifact.golden == path / "golden"
    assert artifact.checked("step") == path / "step.onnx"


def test_an_artifact_may_be_moved_and_copied(path, tmp_path):
    """A moved folder is the same artifact."""
    write(path)
    path.rename(tmp_path / "elsewhere")
    assert Artifact.open(tmp_path / "elsewhere").checked("step").is_file()


def test_what_is_not_an_artifact_is_refused(path):
    """A missing path, a file and a folder without a contract have different messages."""
    end = "there is no `contract.json` in it. `edgernn export MODEL` writes an artifact."
    assert refused(ContractError, Artifact.open, path) == f"`{path}` does not exist: {end}"
    path.touch()
    assert refused(ContractError, Artifact.open, path) == (
        f"`{path}` is a file, and an artifact is a folder. `edgernn export MODEL` writes one for "
        "the file of a model."
    )
    path.unlink()
    path.mkdir()
    assert refused(ContractError, Artifact.open, path) == f"`{path}` is not an artifact: {end}"


def test_a_contract_that_does_not_parse_is_refused(path):
    """A truncated contract.json is refused with the parser's reason."""
    write(path)
    (path / "contract.json").write_text('{"contract": ')
    assert refused(ContractError, Artifact.open, path) == (
        f"`{path}` has a `contract.json` that cannot be read: "
        "Expecting value: line 1 column 14 (char 13). Export the model again."
    )


def test_another_version_is_refused(path):
    """An artifact of another contract version is refused with both remedies."""
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
        f"`{path}` has a contract that cannot be read: `{key}` is missing. Export the model again."
    )


def test_a_tolerance_may_be_missing(path):
    """An artifact that names none has that of its parity report, or else that of float32."""
    write(path)
    table = json.loads((path / "contract.json").read_text())
    assert table.pop("tolerance") == 1e-5
    table["parity"]["tolerance"] = 0.5
    for parity, tolerance in ((table["parity"], 0.5), (None, 1e-5)):
        (path / "contract.json").write_text(json.dumps({**table, "parity": parity}))
        assert Artifact.open(path).tolerance == tolerance
    (path / "contract.json").write_text(json.dumps({**table, "tolerance": 0.25}))
    assert Artifact.open(path).tolerance == 0.25


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
    """A graph of another family has another message than a changed one."""
    write(path)
    (path / "step.onnx").write_bytes(b"graph of family beef")
    assert refused(ContractError, Artifact.open(path).checked, "step") == (
        f"`{path / 'step.onnx'}` belongs to another artifact: its family is not f00d, as in "
        "`contract.json`. Graphs of two exports must not be mixed; copy the whole folder."
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


def test_a_step_graph_that_was_never_there_is_refused_with_the_reason(path):
    """A step graph that the contract does not have is refused with the contract's own reason."""
    no_step = "layer `lstm` is bidirectional."
    write(path)
    promise = replace(contract(), graphs={}, no_step=no_step)
    artifact = replace(Artifact.open(path), contract=promise)
    assert refused(ContractError, artifact.checked, "step") == (
        f"`{path}` has no step graph: {no_step}"
    )


def test_a_sequence_graph_that_was_never_there_is_refused(path):
    """A missing sequence graph has no reason."""
    with atomic_folder(path) as folder:
        fill(folder, contract(), path)
    assert refused(ContractError, Artifact.open(path).checked, "sequence") == (
        f"`{path}` has no sequence graph."
    )


def test_a_folder_that_was_exported_anew_is_told(path):
    """An artifact that was replaced after it was opened has a message of its own."""
    write(path)
    before = Artifact.open(path)
    with atomic_folder(path, force=True) as folder:
        fill(folder, contract("beef"))
    assert refused(ContractError, before.checked, "step") == (
        f"`{path}` was exported again after it was loaded. Load it again."
    )
    assert Artifact.open(path).checked("step").is_file()
