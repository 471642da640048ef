"""Projects of other languages: what is copied, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError, InputError
from edgernn.hosts import HOSTS
from edgernn.runtime import embed
from edgernn.runtime.embed import embed_artifact
from tests.nets.host_lstm import write_lstm

TEMPLATES = Path(embed.__file__).parent / "hosts"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """An artifact with another tolerance than most."""
    return replace(write_lstm(tmp_path / "lstm.edgernn"), tolerance=0.003)


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_project_is_complete(artifact: Artifact, tmp_path: Path, host) -> None:
    """It has the template, the core, the artifact and ONNX Runtime's library with its licence."""
    project = tmp_path / "app"
    assert embed_artifact(artifact, host, project)
    template = TEMPLATES / (host.template or host.name)
    for file in template.rglob("*"):
        assert (project / file.relative_to(template)).exists()
    for file in artifact.path.rglob("*"):
        assert (project / "model.edgernn" / file.relative_to(artifact.path)).exists()
    assert (project / "README.md").is_file()
    assert host.is_native == (project / "lib" / "LICENSE").exists()
    if host.is_native:
        for name in ("edgernn.h", "edgernn.c"):
            assert (project / host.core / name).read_bytes() == (
                TEMPLATES / "c" / name
            ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app", "lstm.edgernn"]


@pytest.mark.parametrize(
    "host", [host for host in HOSTS.values() if host.name != "web"], ids=lambda host: host.name
)
def test_the_tolerance_is_filled(artifact: Artifact, tmp_path: Path, host) -> None:
    """The one marked place of a program has the tolerance; the web page reads it itself."""
    embed_artifact(artifact, host, tmp_path / "app")
    marked = [
        line
        for file in (tmp_path / "app").rglob("*")
        if file.is_file() and (tmp_path / "app" / "model.edgernn") not in file.parents
        for line in file.read_bytes().decode("utf-8", "replace").splitlines()
        if "edgernn embed: tolerance" in line
    ]
    assert len(marked) == 1
    assert "3e-03" in marked[0]


def test_only_files_of_the_contract_are_copied(artifact: Artifact, tmp_path: Path) -> None:
    """What else is in the folder stays there; a changed graph, a text as an array are refused."""
    (tmp_path / "secret.txt").write_text("secret")
    (artifact.path / "notes.txt").symlink_to(tmp_path / "secret.txt")
    embed_artifact(artifact, HOSTS["c"], tmp_path / "app")
    model = tmp_path / "app" / "model.edgernn"
    assert sorted(path.name for path in model.iterdir()) == [
        *("contract.json", "golden", "sequence.onnx", "step.onnx"),
    ]
    file = artifact.golden / "x.npy"
    file.unlink()
    file.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ContractError, match=r"`.*/golden/x.npy` of the golden run cannot be read"):
        embed_artifact(artifact, HOSTS["c"], tmp_path / "other")
    (artifact.path / "step.onnx").write_bytes(b"changed")
    with pytest.raises(ContractError, match=r"step\.onnx"):
        embed_artifact(artifact, HOSTS["c"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_a_library_the_project_is_not_complete(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ONNX Runtime is not installed, the caller is told."""
    monkeypatch.setattr(embed, "find_library", lambda: None)
    assert not embed_artifact(artifact, HOSTS["c"], tmp_path / "app")
    assert not (tmp_path / "app" / "lib").exists()


def test_reduced_graphs(artifact: Artifact, tmp_path: Path) -> None:
    """Graphs in ONNX Runtime's format replace the others; the operators are listed."""
    embed_artifact(artifact, HOSTS["c"], tmp_path / "app", reduced=True)
    model = tmp_path / "app" / "model.edgernn"
    assert sorted(file.name for file in model.glob("s*.*")) == ["sequence.ort", "step.ort"]
    operators = (tmp_path / "app" / "required_operators_and_types.config").read_text("utf-8")
    assert "LSTM" in operators
    assert str(tmp_path) not in operators


def test_refusals_leave_nothing(artifact: Artifact, tmp_path: Path) -> None:
    """Folders that cannot be written, and reduced graphs for JavaScript."""
    inside = artifact.path / "app"
    with pytest.raises(InputError) as caught:
        embed_artifact(artifact, HOSTS["c"], inside)
    assert str(caught.value) == (
        f"`{inside}` is inside the artifact to copy. Give another folder with `path`."
    )
    with pytest.raises(InputError) as caught:
        embed_artifact(artifact, HOSTS["web"], tmp_path / "app", reduced=True)
    assert str(caught.value) == (
        "`web` takes no reduced graphs: its ONNX Runtime comes from npm as it is."
    )
    blocked = tmp_path / "file" / "app"
    blocked.parent.write_text("a file")
    with pytest.raises(InputError) as caught:
        embed_artifact(artifact, HOSTS["c"], blocked)
    assert (
        str(caught.value) == f"`{blocked}` cannot be written: `{blocked.parent}` is not a folder."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "lstm.edgernn"]


def test_a_copy_that_fails_leaves_nothing(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder appears only when it is complete."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy", fail)
    with pytest.raises(InputError, match="No space left on device"):
        embed_artifact(artifact, HOSTS["c"], tmp_path / "app")
    assert [path.name for path in tmp_path.iterdir()] == ["lstm.edgernn"]
