"""What stands where a file should: each kind is a sentence, none hangs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edgernn.errors import InputError
from edgernn.regular_files import read_bytes, read_text, regular_file_size


def refused(path: Path, most: int = 10) -> str:
    with pytest.raises(InputError) as caught:
        read_bytes(path, "`x`", InputError, most)
    return str(caught.value)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """A file of exactly the limit is read, one of a byte more is not."""
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    assert read_bytes(file, "`x`", InputError, 10) == b"0123456789"
    assert regular_file_size(file, "`x`", InputError) == 10
    file.write_bytes(b"0123456789a")
    assert refused(file) == "`x` is too large: it has 11 bytes; at most 10 bytes are read."


def test_links_are_followed(tmp_path: Path) -> None:
    """A link to a file is read as that file; a broken link is a missing file."""
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to("x")
    (tmp_path / "nowhere").symlink_to("y")
    (tmp_path / "circle").symlink_to("circle")
    assert read_bytes(tmp_path / "link", "`x`", InputError, 10) == b"1"
    assert refused(tmp_path / "nowhere") == "`x` cannot be read: No such file or directory."
    assert refused(tmp_path / "circle") == "`x` cannot be read: Too many levels of symbolic links."


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Folders, pipes, devices and sockets have different messages, and none is opened."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        assert refused(tmp_path / "socket") == "`x` cannot be read: it is a socket, not a file."
    assert refused(tmp_path) == "`x` cannot be read: it is a folder, not a file."
    assert refused(tmp_path / "pipe") == "`x` cannot be read: it is a named pipe, not a file."
    assert refused(Path("/dev/zero")) == "`x` cannot be read: it is a device, not a file."


def test_names_that_no_file_has_are_refused(tmp_path: Path) -> None:
    """A NUL, a name that is too long and a path through a file have messages."""
    (tmp_path / "x").touch()
    assert refused(Path("a\0b")) == "`x` cannot be read: its name holds a NUL character."
    assert refused(Path("a" * 300)) == "`x` cannot be read: File name too long."
    assert refused(tmp_path / "x" / "y") == "`x` cannot be read: Not a directory."


def test_text_is_utf_8(tmp_path: Path) -> None:
    """The message has the position of other bytes."""
    (tmp_path / "x").write_bytes(b"a\xff")
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / "x", "`x`", InputError, 10)
    assert str(caught.value) == (
        "`x` is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 1: invalid start "
        "byte."
    )
