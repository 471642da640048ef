"""Folders that appear under their name only when they are whole, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import InputError, OutputExistsError
from edgernn.export.artifact_files import atomic_replace
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from tests.contract.filled import contract, fill, refused, write

ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.edgernn"


def test_a_failure_leaves_nothing(path):
    """When the block fails, neither the folder nor anything beside it remains."""

    def failing():
        with atomic_folder(path) as folder:
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
        with atomic_folder(path, force=True) as folder:
            fill(folder, contract("beef"))

    monkeypatch.setattr(os, "fsync", full)
    assert refused(OSError, replacing) == "[Errno 28] No space left on device"
    assert (path / "contract.json").read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_while_writing_leaves_nothing(path):
    """A write that the disk refuses leaves nothing behind."""

    def writing():
        with atomic_folder(path) as folder:
            (folder / "step.onnx").symlink_to("/dev/full")
            (folder / "step.onnx").write_bytes(b"x" * 100)

    assert refused(OSError, writing) == "[Errno 28] No space left on device"
    assert list(path.parent.iterdir()) == []


def test_a_failing_move_brings_the_old_one_back(path, monkeypatch):
    """Where folders cannot be exchanged and the new one cannot move in, the old one returns."""
    write(path)
    rename = Path.rename

    def breaking(self, target):
        if self.suffix == ".partial" and "-old" not in self.name:
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    def replacing():
        with atomic_folder(path, force=True) as folder:
            fill(folder, contract("beef"))

    monkeypatch.setattr(atomic_replace, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", breaking)
    assert refused(OSError, replacing) == "[Errno 5] broken"
    assert Artifact.open(path).contract.family == "f00d"
    assert list(path.parent.iterdir()) == [path]


# Kills a process at each operation on files in turn, and tries what it left.
KILLED = """
import itertools, os, pathlib, signal, sys
from edgernn.artifact import Artifact
from edgernn.errors import ContractError, OutputExistsError
from edgernn.export.artifact_files import atomic_replace
from tests.contract.filled import contract, fill, write
path = pathlib.Path(sys.argv[1])
exchanges = sys.argv[2] == "exchanged"
if not exchanges:
    atomic_replace._exchange = lambda one, other: False
write(path)

def replace(last):
    seen = itertools.count(1)
    def hook(event, arguments):
        if event in KINDS and next(seen) == last:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    with atomic_replace.atomic_folder(path, force=True) as folder:
        fill(folder, contract("beef"))
    os._exit(0)

KINDS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.scandir"}
away = 0
for last in itertools.count(1):
    child = os.fork() or replace(last)
    status = os.waitpid(child, 0)[1]
    try:
        Artifact.open(path).checked("step")
    except ContractError:
        away += 1
    try:
        with atomic_replace.atomic_folder(path):
            print("taken for free")
    except OutputExistsError:
        pass
    family = Artifact.open(path).checked("step") and Artifact.open(path).contract.family
    if [*path.parent.iterdir()] != [path] or family not in ("f00d", "beef"):
        print("left", sorted(os.listdir(path.parent)), family)
    if status == 0:
        print("beef" == family, away, last > 20)
        break
    write(path, force=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("way", "away"), [("exchanged", 0), ("renamed", 1)])
def test_a_kill_at_any_moment_loses_nothing(path, way, away):
    """Killed at any moment, the old or the new artifact is there whole, and the rest is cleared.

    Only where folders cannot be exchanged, the old one is away between two renames, until the
    next call.
    """
    done = python(KILLED, path, way)
    assert done.stdout.splitlines() == [f"True {away} True"], done.stderr


# Four processes replace one artifact again and again, while this one reads it.
RACING = """
import os, pathlib, sys
from edgernn.artifact import Artifact
from edgernn.errors import OutputExistsError
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from tests.contract.filled import contract, fill, write
path = pathlib.Path(sys.argv[1])
write(path)

def replace(family):
    done = 0
    while done < 3:
        try:
            with atomic_folder(path, force=True) as folder:
                fill(folder, contract(family))
            done += 1
        except OutputExistsError as error:
            assert str(error).startswith("`m.edgernn` in `"), error
            assert " is being written by another export." in str(error), error
    os._exit(0)

children = [os.fork() or replace(f"f00{number}") for number in range(4)]
seen = 0
while children:
    Artifact.open(path)
    seen += 1
    ended = [child for child in children if os.waitpid(child, os.WNOHANG)[0]]
    children = [child for child in children if child not in ended]
Artifact.open(path).checked("step")
print([*path.parent.iterdir()] == [path], seen > 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="one operation exchanges folders on Linux")
def test_processes_at_one_target(path):
    """Of several calls for one target one goes ahead, the others are refused, and nothing mixes."""
    done = python(RACING, path)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_target_that_is_being_written_is_refused(path):
    """A second call is refused at once and touches nothing of the first one's."""
    with atomic_folder(path) as folder:
        fill(folder)
        assert refused(OutputExistsError, write, path) == (
            f"`m.edgernn` in `{path.parent}` is being written by another export. Wait until that "
            "has ended, or give another name with `path`."
        )
        assert (folder / "contract.json").is_file()
    assert list(path.parent.iterdir()) == [path]
    assert Artifact.open(path).contract.family == "f00d"


def test_a_link_stays_a_link(path, tmp_path):
    """Where the target is a link, the folder that it leads to is replaced."""
    store = tmp_path / "store"
    store.mkdir()
    path.symlink_to("store/m1")
    write(path)
    with pytest.raises(OutputExistsError):
        write(path)
    with atomic_folder(path, force=True) as folder:
        fill(folder, contract("beef"))
    assert Artifact.open(store / "m1").contract.family == "beef"
    assert path.readlink() == Path("store/m1")
    assert [list(tmp_path.iterdir()), list(store.iterdir())] in (
        [[path, store], [store / "m1"]],
        [[store, path], [store / "m1"]],
    )


def test_folders_above_are_made_and_unmade(path):
    """Missing folders above the target are made, and are gone where nothing was written."""
    deep = path / "a" / "b"

    def failing():
        with atomic_folder(deep):
            raise RuntimeError("parity")

    assert refused(RuntimeError, failing) == "parity"
    assert not path.exists()
    write(deep)
    assert Artifact.open(deep).contract.family == "f00d"


def test_a_place_that_takes_no_folder_is_refused(path):
    """Where nothing can be written, the system's reason is told."""
    path.touch()
    assert refused(InputError, write, path / "m") == (
        f"`{path / 'm'}` cannot be written: `{path}` is not a folder."
    )


def test_names_of_no_folder_are_refused(path):
    """The root, a name with NUL and a link that leads to itself are no places to write to."""
    assert refused(InputError, write, "/") == ("`/` cannot be written: it has no folder above it.")
    assert refused(InputError, write, f"{path}\0") == (
        f"`{str(path) + chr(0)!r}` cannot be written: its name holds a NUL character."
    )
    path.symlink_to(path.name)
    with pytest.raises(OutputExistsError):
        write(path)
    assert path.is_symlink()


def test_what_appears_meanwhile_is_kept(path):
    """A folder that somebody else made at the target while the block ran is not replaced."""

    def writing():
        with atomic_folder(path) as folder:
            fill(folder)
            path.mkdir()
            (path / "thesis.txt").touch()

    with pytest.raises(OutputExistsError):
        writing()
    assert [entry.name for entry in path.iterdir()] == ["thesis.txt"]
    assert list(path.parent.iterdir()) == [path]


def test_permissions_are_kept(path):
    """A new artifact may be read by whom the system's mask lets; a replaced one as before."""
    write(path)
    path.with_name("other").mkdir()
    assert path.stat().st_mode == path.with_name("other").stat().st_mode
    path.chmod(0o750)
    write(path, force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_name_that_begins_alike_is_left_alone(path):
    """Clearing up after one artifact touches no other that is being written beside it."""
    with atomic_folder(path.with_name("m.edgernn-2")) as other:
        write(path)
        assert other.is_dir()
        fill(other)


def test_an_existing_folder_is_kept(path):
    """Without force a path that exists is refused and stays; with force it is replaced whole."""
    write(path)
    (path / "extra").touch()
    assert refused(OutputExistsError, write, path) == (
        f"`m.edgernn` exists already in `{path.parent}`. Give another name with `path`, or replace "
        "it with force=True."
    )
    assert (path / "extra").exists()
    write(path, force=True)
    assert not (path / "extra").exists()


@pytest.mark.parametrize("names", [["thesis.txt"], ["contract.json", "thesis.txt"], []])
def test_force_replaces_artifacts_only(path, names):
    """What is not an artifact is never replaced: a folder, one with some contract.json, a file."""
    for name in names:
        path.mkdir(exist_ok=True)
        (path / name).touch()
    if not names:
        path.write_text("thesis")
    with pytest.raises(OutputExistsError) as caught:
        write(path, force=True)
    assert str(caught.value) == (
        f"`m.edgernn` in `{path.parent}` exists and is not an artifact; force=True replaces "
        "artifacts only. Give another name with `path`."
    )
    assert path.read_text() == "thesis" if not names else (path / "thesis.txt").exists()
