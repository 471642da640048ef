"""Archives that torch wrote, read within bounds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from edgernn.errors import SourceError
from edgernn.export.source.zip_archive import ZipArchive, write_archive

ENTRIES = {"data.pkl": b"pickle", "data/0": b"\0" * 1000}


def archive(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["file", "bytes"])
def test_entries_have_names_below_the_top_folder(tmp_path: Path, kind: str):
    """From a file and its bytes, in their order."""
    content = archive({f"model/{name}": data for name, data in ENTRIES.items()})
    file = tmp_path / "m.pt"
    file.write_bytes(content)
    with ZipArchive(file if kind == "file" else content, "`m.pt`") as opened:
        assert opened.names == tuple(ENTRIES)
        assert {name: opened.read(name) for name in opened.names} == ENTRIES
        assert [opened.size(name) for name in opened.names] == [6, 1000]


def test_what_is_written_is_read_again():
    """Checked entries make an archive that torch opens."""
    with ZipArchive(write_archive(ENTRIES).getvalue(), "`m.pt`") as opened:
        assert {name: opened.read(name) for name in opened.names} == ENTRIES


def test_an_archive_cut_short_is_refused():
    """By its size, as a download that ended."""
    content = archive({"model/data.pkl": b"pickle"})[:60]
    with pytest.raises(SourceError) as caught:
        ZipArchive(content, "`m.pt`")
    assert str(caught.value) == (
        "`m.pt` is a zip archive cut short: it has 60 bytes and no table of contents at its end. "
        "Save or download it again."
    )


def test_an_entry_that_unpacks_to_very_much_is_refused():
    """Weights are stored as they are; nothing torch writes is packed like that."""
    bomb = archive({"model/data/0": b"\0" * (8 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(SourceError):
        ZipArchive(bomb, "`m.pt`")
