"""Where results go: files whole or not at all, devices, pipes and links as they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgernn.cli.data_files.output_file import OutputFile
from edgernn.errors import EdgernnError
from tests.cli.conftest import Invoke
from tests.cli.runs import ROOT, X, close, load, refused
from tests.nets.small_artifacts import expected

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
RUN = ("run", "--input", "x.npy")


@pytest.fixture
def x(features: Path) -> None:
    np.save("x.npy", X)


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash with `edgernn` in it."""
    function = f'edgernn() {{ "{sys.executable}" -m edgernn "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", function + command],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


@pytest.mark.usefixtures("x")
@pytest.mark.parametrize("option", ["--output", "--state-out"])
def test_a_file_that_exists_is_kept(edgernn: Invoke, option: str) -> None:
    """A file is replaced with --force only, and nothing runs before that is known."""
    Path("y.npz").write_text("thesis")
    refused(
        edgernn(*RUN, option, "y.npz"),
        f"`y.npz` exists already. Give another name with {option}, or replace it with --force.",
    )
    assert Path("y.npz").read_text() == "thesis"
    assert edgernn(*RUN, option, "y.npz", "--force").exit_code == 0
    name, result = ("output", 0) if option == "--output" else ("h", 1)
    close(load("y.npz")[name], expected(X)[result])


@pytest.mark.usefixtures("x")
def test_a_running_state_is_replaced(edgernn: Invoke) -> None:
    """The file that a state came from takes the next one, without --force, under any name."""
    np.savez("s.npz", h=np.zeros((1, 2, 3), np.float32))
    Path("link").symlink_to("s.npz")
    for name in ("s.npz", "link"):
        before = load("s.npz")["h"]
        assert edgernn(*RUN, "--state-in", "s.npz", "--state-out", name).exit_code == 0
        close(load("s.npz")["h"], expected(X, before)[1])
    assert Path("link").is_symlink()


@pytest.mark.usefixtures("x")
def test_one_file_for_both_is_refused(edgernn: Invoke) -> None:
    """Outputs and state do not go to one file, unless it keeps neither."""
    options = ("--output", "y.npz", "--state-out", "./y.npz")
    refused(edgernn(*RUN, *options), "--output and --state-out are the same file.", 2)
    nowhere = ("--output", os.devnull, "--state-out", os.devnull)
    assert edgernn(*RUN, *nowhere).exit_code == 0


@pytest.mark.usefixtures("x")
def test_places_that_take_no_file(edgernn: Invoke) -> None:
    """A folder, a missing folder and a file in place of one are told before the model runs."""
    Path("y.csv").mkdir()
    Path("f").touch()
    Path("loop.csv").symlink_to("loop.csv")
    for option in ("--output", "--state-out"):
        refused(edgernn(*RUN, option, "y.csv"), f"`y.csv` is a folder; {option} takes a file.")
        refused(
            edgernn(*RUN, option, "no/y.csv"),
            "`no/y.csv` cannot be written: No such file or directory.",
        )
        refused(edgernn(*RUN, option, "f/y.csv"), "`f/y.csv` cannot be written: Not a directory.")
        refused(
            edgernn(*RUN, option, "loop.csv", "--force"),
            "`loop.csv` cannot be written: it is a link that leads to itself.",
        )
    assert sorted(os.listdir()) == ["f", "features.edgernn", "loop.csv", "x.npy", "y.csv"]


@unix
@pytest.mark.usefixtures("x")
def test_links_and_permissions_stay(edgernn: Invoke) -> None:
    """What a link leads to is replaced, on its own disk, and keeps its permissions."""
    Path("store").mkdir()
    Path("store/real").write_text("old")
    Path("store/real").chmod(0o640)
    Path("y.npy").symlink_to("store/real")
    Path("z.npy").symlink_to("store/new")
    for name in ("y.npy", "z.npy"):
        assert edgernn(*RUN, "--output", name, "--force").exit_code == 0
        assert Path(name).is_symlink()
        close(np.load(name), expected(X)[0])
    assert stat.S_IMODE(Path("store/real").stat().st_mode) == 0o640
    assert sorted(os.listdir("store")) == ["new", "real"]


@unix
@pytest.mark.usefixtures("x")
@pytest.mark.parametrize("name", ["pipe", "pipe.npy", "pipe.npz", "pipe.csv", "pipe.jsonl"])
def test_a_named_pipe_is_written_into(edgernn: Invoke, name: str) -> None:
    """A pipe stays one and gets the bytes that a file would; without a suffix, the input's kind."""
    os.mkfifo(name)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path(name).read_bytes()))
    reader.start()
    np.save("x.npy", X[:1])
    result = edgernn(*RUN, "--output", name)
    reader.join()
    assert (result.output, result.exit_code) == ("", 0)
    assert stat.S_ISFIFO(Path(name).stat().st_mode)
    suffix = Path(name).suffix or ".npy"
    assert edgernn(*RUN, "--output", f"y{suffix}").exit_code == 0
    if suffix == ".npz":
        Path("got.npz").write_bytes(got[0])
        close(load("got.npz")["output"], load("y.npz")["output"])
    else:
        assert got == [Path(f"y{suffix}").read_bytes()]


@unix
@pytest.mark.usefixtures("x")
def test_descriptors_go_on_where_they_are() -> None:
    """/dev/stdout, /dev/fd/N and links to them go on where the process itself would write."""
    Path("out").symlink_to("/dev/stdout")
    rows = "printf '1,2\\n3,4\\n' | edgernn run --input - "
    plain = shell(rows).stdout
    assert plain
    assert shell(f"{rows} --output out --state-out /dev/fd/4 4>/dev/null | cat").stdout == plain
    Path("log").write_bytes(b"before\n")
    assert shell(f"{{ {rows} --output /dev/stdout; echo after; }} >> log").stderr == b""
    assert Path("log").read_bytes() == b"before\n" + plain + b"after\n"
    assert shell(f"{rows} --output /dev/fd/77").stderr.decode() == (
        "Error: `/dev/fd/77` cannot be written: Bad file descriptor.\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.usefixtures("x")
def test_a_device_stays_a_device(edgernn: Invoke) -> None:
    """A device is written into: one swallows everything, the other has no space."""
    assert edgernn(*RUN, "--output", "/dev/null", "--force").exit_code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    refused(
        edgernn(*RUN, "--output", "/dev/null", "--state-out", "/dev/full"),
        "The operating system refused: No space left on device.",
    )
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_what_appears_meanwhile_is_kept(folder: Path) -> None:
    """A file that somebody else writes while the model runs is not replaced."""

    def write() -> None:
        with OutputFile(Path("y.npy")).open() as opened:
            opened.stream.write(b"ours")
            Path("y.npy").write_bytes(b"theirs")

    with pytest.raises(EdgernnError) as caught:
        write()
    assert str(caught.value) == (
        "`y.npy` exists already. Give another name with --output, or replace it with --force."
    )
    assert (Path("y.npy").read_bytes(), os.listdir()) == (b"theirs", ["y.npy"])


def test_a_read_only_file_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be written is not replaced either."""
    Path("y.npy").write_bytes(b"theirs")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(EdgernnError) as caught:
        OutputFile(Path("y.npy"), replace=True).check()
    assert str(caught.value) == "`y.npy` cannot be written: it is read-only."


def test_an_interrupt_leaves_the_old_file(folder: Path) -> None:
    """Ctrl-C in the middle leaves what was there, and nothing beside it."""
    Path("y.npy").write_bytes(b"old")

    def write() -> None:
        with OutputFile(Path("y.npy"), replace=True).open() as opened:
            opened.stream.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (Path("y.npy").read_bytes(), os.listdir()) == (b"old", ["y.npy"])


KILLED = """
import os, pathlib, signal, sys
from edgernn.cli.data_files.output_file import OutputFile
with OutputFile(pathlib.Path("y.npy"), replace=True).open() as opened:
    opened.stream.write(b"new")
    print("writing", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@unix
def test_what_killed_runs_left_is_cleared(folder: Path) -> None:
    """The next run clears what a killed one left, and nothing of one that lives or of others."""
    Path("y.npy").write_bytes(b"old")
    Path(".y.npy-2-abc.part").mkdir()  # of a file `y.npy-2`
    other = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    with other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"writing\n"
        OutputFile(Path("y.npy"), replace=True).check()
        assert len(os.listdir()) == 3
        other.stdin.write(b"\n")
    assert len(os.listdir()) == 3
    assert Path("y.npy").read_bytes() == b"old"
    OutputFile(Path("y.npy"), replace=True).check()
    assert sorted(os.listdir()) == [".y.npy-2-abc.part", "y.npy"]
