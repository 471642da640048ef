"""What stands where a file is asked for: every reader says so in a sentence, and none hangs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edgernn
from edgernn.artifact import Artifact
from edgernn.cli.chunk_runner import read_state
from edgernn.cli.data_files.sequence_reader import open_sequence
from edgernn.contract import Port
from edgernn.errors import EdgernnError
from edgernn.export.analysis.file_analysis import analyse_file
from edgernn.export.source.load_source import load_source
from edgernn.export.source.module_factory import import_code
from edgernn.runtime.port_axes import PortAxes
from edgernn.vocabulary import Vocabulary


def _input(path: Path) -> None:
    axes = {"x": PortAxes.of(Port("x", "float32", ("batch", "sequence", 2)))}
    with open_sequence(str(path), axes, None, None):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "load": edgernn.load,
    "Artifact.open": Artifact.open,
    "inspect": analyse_file,
    "export": load_source,
    "--vocabulary": Vocabulary.from_file,
    "--state-in": read_state,
    "--input": _input,
    "--module": lambda path: import_code(f"{path}:Net"),
}
SPECIAL = ("pipe", "folder", "socket", "nowhere", "circle", "device", "x/y", "a" * 300, "a\0b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one of everything that is no file."""
    folder = tmp_path_factory.mktemp("special")
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "x").touch()
    for link, target in (("nowhere", "z"), ("circle", "circle"), ("device", "/dev/zero")):
        (folder / link).symlink_to(target)
    for name in ("pipe", "device"):
        (folder / f"{name}.py").symlink_to(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
        yield folder


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
@pytest.mark.parametrize("name", SPECIAL, ids=ascii)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_said_to_be_none(folder: Path, reader: str, name: str) -> None:
    """Pipes, devices, sockets, folders, broken links and impossible names are sentences."""
    path = folder / f"{name}.py" if reader == "--module" else folder / name
    with pytest.raises(EdgernnError) as caught:
        READERS[reader](path)
    message = str(caught.value)
    assert f"`{path}`" in message
    assert message.endswith(".")


def test_pipes_that_the_shell_opened_are_read() -> None:
    """`--input /dev/fd/N`, as the shell writes <(command), is a pipe on purpose."""
    out, into = os.pipe()
    os.write(into, b"1,2\n3,4\n")
    os.close(into)
    axes = {"x": PortAxes.of(Port("x", "float32", ("batch", "sequence", 2)))}
    try:
        with open_sequence(f"/dev/fd/{out}", axes, None, None) as sequence:
            (chunk,) = sequence.chunks
    finally:
        os.close(out)
    assert chunk["x"].tolist() == [[[1, 2], [3, 4]]]
