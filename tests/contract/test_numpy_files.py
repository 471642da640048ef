"""Files of arrays that somebody else wrote: read as plain numbers, or refused with the reason."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgernn.numpy_files import NotArraysError, load_npy, load_npz, read_npy


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def of(shape: str, dtype: str = "'<f4'", data: bytes = b"") -> bytes:
    return npy(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n", data)


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.arange(3, dtype=">f8"),
        np.array(True),
        np.zeros((0, 4), np.float16),
    ],
    ids=["float32", "fortran", "big-endian", "scalar", "empty"],
)
def test_what_numpy_writes_is_read(tmp_path: Path, array: Any) -> None:
    """Arrays of numbers come back from a file, from a map of it, and from a pipe."""
    file = tmp_path / "x.npy"
    np.save(file, array)
    size = file.stat().st_size
    for read in (
        load_npy(file, size),
        load_npy(file, size, mapped=True),
        read_npy(io.BytesIO(saved(array))),
    ):
        np.testing.assert_array_equal(read, array, strict=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\x93NUMPY",
            "its header cannot be read (EOF: reading magic string, expected 8 bytes got 6)",
        ),
        (npy("{", version=b"\x03\x00"), "it is of version 3.0 of .npy"),
        (npy("{" * 500), None),
        (npy("(" * 9000), None),
        (npy("-" * 9000 + "1"), None),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1L"), None),
        (npy(b"\xff\x00\n"), None),
        (npy("__import__('os').abort()"), None),
        (of("(2, 3)", data=bytes(23)), "its header says 24 bytes of numbers, but 23 are there"),
        (of("(2, 3)", data=bytes(25)), "its header says 24 bytes of numbers, but 25 are there"),
        (
            of("(99999999999, 99999999999)"),
            "its header says 39,999,999,999,200,000,000,004 bytes of numbers, but 0 are there",
        ),
        (
            of("(0, 99999999999999999999)"),
            "its shape is (0, 99999999999999999999), which no array has",
        ),
        (of("(-1,)"), "its shape is (-1), which no array has"),
        (of("(True,)", data=bytes(4)), "its shape is (True), which no array has"),
        (
            of(f"({'1,' * 99})", data=bytes(4)),
            "its shape is (1, 1, 1, 1, 1, 1, 1, 1, …), which no array has",
        ),
        (of("(1,)", "'|O'", bytes(8)), "it holds object, not numbers"),
        (of("(1,)", "'<U2'", bytes(8)), "it holds <U2, not numbers"),
        (of("(1,)", "'<c8'", bytes(8)), "it holds complex64, not numbers"),
        (of("(1,)", "[('a', '<f4')]", bytes(4)), "it holds [('a', '<f4')], not numbers"),
        (of("(1,)", "'<M8[s]'", bytes(8)), "it holds datetime64[s], not numbers"),
        (of("(1,)", "'x9'"), None),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(
    tmp_path: Path, content: bytes, reason: str | None
) -> None:
    """Each broken header or size has a message, and no memory of the stated size is allocated."""
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    for mapped in (False, True):
        with pytest.raises(NotArraysError) as caught:
            load_npy(file, len(content), mapped)
        if reason is None:
            assert str(caught.value).startswith("its header cannot be read (")
        else:
            assert str(caught.value) == reason


def test_a_pipe_that_never_ends_is_left(tmp_path: Path) -> None:
    """At most one byte more than the header says is read from a pipe."""

    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            self.taken += size
            return bytes(size)

    endless = Endless()
    content = of("(2,)")

    class Joined:
        def __init__(self) -> None:
            self.head = io.BytesIO(content)

        def read(self, size: int) -> bytes:
            return self.head.read(size) or endless.read(size)

    with pytest.raises(NotArraysError) as caught:
        read_npy(Joined())  # type: ignore[arg-type]  # it reads, which is all that is asked of it
    assert str(caught.value) == "its header says 8 bytes of numbers, but 9 are there"
    assert endless.taken == 9


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def refused(content: bytes) -> str:
    with pytest.raises(NotArraysError) as caught:
        load_npz(io.BytesIO(content), len(content))
    return str(caught.value)


H = ("h.npy", saved(np.ones(3, np.float32)))


def test_archives_are_read() -> None:
    """Arrays are read by name, compressed or not."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = zipped(H, ("c.npy", saved(np.zeros(2))), method=method)
        arrays = load_npz(io.BytesIO(content), len(content))
        assert {name: array.tolist() for name, array in arrays.items()} == {
            "h": [1, 1, 1],
            "c": [0, 0],
        }


def test_broken_archives_are_refused() -> None:
    """Each kind of archive that does not hold arrays has a message."""
    assert refused(b"PK\x03\x04") == "File is not a zip file"
    assert refused(zipped(H)[:-30]) == "File is not a zip file"
    assert refused(zipped(("x.txt", b""))) == "its entry 'x.txt' is not a .npy file"
    assert refused(zipped(H, method=zipfile.ZIP_LZMA)) == (
        "its entry 'h.npy' is not compressed as NumPy compresses"
    )
    assert refused(zipped(("h.npy", H[1][:-1]))) == (
        "its header says 12 bytes of numbers, but 11 are there"
    )
    assert refused(zipped(("h.npy", of("(1,)", "'|O'", bytes(8))))) == (
        "it holds object, not numbers"
    )
    twice = zipped(H, ("i.npy", H[1])).replace(b"i.npy", b"h.npy")
    assert refused(twice) == "it has two entries named 'h.npy'"
    damaged = bytearray(zipped(H))
    damaged[damaged.index(b"\0\0\x80?")] ^= 1
    assert refused(bytes(damaged)) == "Bad CRC-32 for file 'h.npy'"
    encrypted = zipped(H).replace(
        b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"
    )
    assert "is encrypted, password required for extraction" in refused(encrypted)


def test_a_bomb_is_not_decompressed() -> None:
    """A file that would decompress beyond the limit is refused by its table of contents."""
    content = zipped(("h.npy", b""), method=zipfile.ZIP_DEFLATED)
    place = content.index(b"PK\x01\x02") + 24
    bomb = content[:place] + struct.pack("<I", 2**31) + content[place + 4 :]
    assert refused(bomb) == (
        "it decompresses to 2,048 MiB; the limit is 1,024 MiB, except without compression "
        "(numpy.savez)"
    )
    assert refused(zipped(H).replace(struct.pack("<I", len(H[1])), struct.pack("<I", 2**30))) == (
        "its entries have more bytes than the file"
    )
