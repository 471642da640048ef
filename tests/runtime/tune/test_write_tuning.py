"""A choice of forms, written into an artifact so that it is whole at every moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError, InputError
from edgernn.runtime.tune.write_tuning import form_file, remove_tuning, write_tuning
from edgernn.tuned import Tuned
from tests.nets.tunings import COPY, copied_form, tuning

pytestmark = pytest.mark.forms


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their names in it."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_choice_is_written_and_removed_again(tmp_path: Path) -> None:
    """A form's file has its digest; without the tuning, the folder is as the export left it."""
    path, copy = copied_form(tmp_path)
    before = content(path)
    tuned = write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    assert tuned.to_json() == Artifact.open(path).to_json()
    assert tuned.forms == tuning().forms
    assert tuned.tuned == Tuned((), (tuning(),))
    assert tuned.checked_form(tuned.forms[0]).read_bytes() == copy.read_bytes()
    assert remove_tuning(tuned).tuned is None
    assert content(path).keys() == before.keys()
    assert remove_tuning(Artifact.open(path)).forms == ()


def test_each_provider_has_a_choice_of_its_own(tmp_path: Path) -> None:
    """Tuning again replaces the choice for that provider, and removes what no form uses."""
    path, copy = copied_form(tmp_path)
    artifact = write_tuning(Artifact.open(path), tuning("cuda"), {COPY: copy})
    artifact = write_tuning(
        artifact, tuning(file="forms/step-other.onnx"), {"forms/step-other.onnx": copy}
    )
    assert [form.provider for form in artifact.forms] == ["cuda", "cpu"]
    artifact = write_tuning(artifact, tuning("cuda", "step.onnx"), {})
    assert [form.file for form in artifact.forms] == ["forms/step-other.onnx", "step.onnx"]
    assert [file.name for file in (path / "forms").iterdir()] == ["step-other.onnx"]


@pytest.mark.parametrize("last", [0, 1])
def test_a_process_that_is_killed_leaves_the_artifact_as_it_was(
    last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before contract.json is replaced nothing has changed; what is left is removed later."""
    path, copy = copied_form(tmp_path)
    before, replace = Artifact.open(path), Path.replace
    done: list[Path] = []

    def killed(self: Path, target: Path) -> Path:
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(target)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_tuning(before, tuning(), {COPY: copy})
    assert Artifact.open(path).to_json() == before.to_json()
    (path / ".contract.json-1f2e3d4c.partial").touch()  # what no handler removes after SIGKILL
    (path / "forms" / ".step-copy.onnx-1f2e3d4c.partial").touch()
    other = "forms/step-other.onnx"
    write_tuning(before, tuning(file=other), {other: copy})
    assert [file.name for file in (path / "forms").iterdir()] == ["step-other.onnx"]
    assert not [*path.glob(".*")]


def test_what_cannot_be_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forms of a choice that was not written are removed; those from before stay."""
    path, copy = copied_form(tmp_path)
    artifact = write_tuning(Artifact.open(path), tuning("cuda"), {COPY: copy})
    before, replace = content(path), Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "contract.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    other = "forms/step-other.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(InputError) as caught:
            write_tuning(artifact, tuning(file=other), {other: copy})
    assert str(caught.value) == f"`{path}` cannot be written: No space left on device."
    assert content(path) == before


def test_forms_behind_a_link_are_not_touched(tmp_path: Path) -> None:
    """An artifact of someone else must not have files elsewhere removed."""
    path, copy = copied_form(tmp_path)
    artifact = write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    elsewhere = (path / "forms").rename(tmp_path / "elsewhere")
    (elsewhere / "notes.txt").write_text("mine")
    (path / "forms").symlink_to(elsewhere)
    for write in (
        lambda: remove_tuning(artifact),
        lambda: write_tuning(artifact, tuning(file="step.onnx"), {}),
    ):
        with pytest.raises(InputError) as caught:
            write()
        assert str(caught.value) == (
            f"`{path / 'forms'}` is a link; forms are written and removed only in a folder of the "
            "artifact itself. Put the folder there that the link leads to."
        )
    assert {file.name for file in elsewhere.iterdir()} == {"notes.txt", "step-copy.onnx"}


def test_an_artifact_that_was_exported_meanwhile_is_not_touched(tmp_path: Path) -> None:
    """The choice is of the graphs that were measured."""
    path, copy = copied_form(tmp_path)
    measured = Artifact.open(path)
    now = write_tuning(measured, tuning("cuda"), {COPY: copy})
    with pytest.raises(ContractError) as caught:
        write_tuning(measured, tuning(), {COPY: copy})
    assert str(caught.value) == f"`{path}` was changed while it was tuned. Tune it again."
    assert Artifact.open(path).to_json() == now.to_json()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The message has the reason of the system."""
    path, copy = copied_form(tmp_path)
    path.chmod(0o500)
    with pytest.raises(InputError) as caught:
        write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    path.chmod(0o700)
    assert str(caught.value) == f"`{path}` cannot be written: Permission denied."


def test_a_new_form_never_replaces_another(tmp_path: Path) -> None:
    """A form with another content gets a file of its own."""
    path, copy = copied_form(tmp_path)
    artifact = write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    assert form_file(artifact, "step-copy", copy.read_bytes()) == COPY
    assert form_file(artifact, "step-copy", b"other") == "forms/step-copy-2.onnx"
    assert form_file(artifact, "step-new", b"other") == "forms/step-new.onnx"
