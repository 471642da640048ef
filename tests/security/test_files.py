"""No weights file runs code, hangs, or takes more memory than it has bytes for."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from edgernn.errors import EdgernnError, SourceError
from edgernn.export.source.load_source import load_source
from tests.archive_entries import entries_of, written
from tests.security.hostile import Touch, exported, scripted


def _saved(value: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


PICKLES: dict[str, Callable[[Path], bytes]] = {
    "a module": lambda canary: _saved(Touch(canary)),
    "a module in the format before zip files": lambda canary: _saved(Touch(canary), zipped=False),
    "weights with an object beside": lambda canary: _saved(
        {"state_dict": nn.LSTM(4, 3).state_dict(), "callback": Touch(canary)}
    ),
    "a pickle of Python's own": lambda canary: pickle.dumps(Touch(canary)),
}


@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_is_not_run(what: str, tmp_path: Path) -> None:
    """What a pickle asks for is named before any of it runs; `trust` runs it."""
    path, canary = tmp_path / "m.pt", tmp_path / "canary"
    path.write_bytes(PICKLES[what](canary))
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert str(info.value) == (
        f"`{path}` is a pickle that asks for code: `posix.mkdir`. Unpickling runs whatever the "
        "file says, so it is not done unasked. If you trust its origin, repeat with trust=True; or "
        "save model.state_dict() and export that."
    )
    assert not canary.exists()
    if what != "a pickle of Python's own":
        with pytest.raises(SourceError) if "beside" not in what else warnings.catch_warnings():
            load_source(path, trust=True)
        assert canary.exists()


def _zip(change: Callable[[zipfile.ZipFile], None]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/version", b"3")
        change(archive)
    return buffer.getvalue()


def _bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("m/data/0", bytes(200 << 20), zipfile.ZIP_DEFLATED, 1)


def _bombs(archive: zipfile.ZipFile) -> None:
    for place in range(100):
        archive.writestr(f"m/data/{place}", bytes(1 << 20), zipfile.ZIP_DEFLATED, 9)


def _encrypted(content: bytes) -> bytes:
    """Set the flag of encryption in every entry of the table of contents."""
    head = b"PK\x01\x02"
    parts = content.split(head)
    flagged = [part[:4] + struct.pack("<H", 1) + part[6:] for part in parts[1:]]
    return head.join([parts[0], *flagged])


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "an entry twice": (
        lambda: _zip(lambda a: a.writestr("m/data.pkl", b"")),
        "its entry `m/data.pkl` is there twice",
    ),
    "an entry elsewhere": (
        lambda: _zip(lambda a: a.writestr("m/../../evil", b"")),
        "its entry `m/../../evil` points outside of the archive",
    ),
    "an entry at the root": (
        lambda: _zip(lambda a: a.writestr("/etc/evil", b"")),
        "its entry `/etc/evil` points outside of the archive",
    ),
    "a bomb": (
        lambda: _zip(_bomb),
        "its entry `m/data/0` unpacks from ",
    ),
    "many bombs": (
        lambda: _zip(_bombs),
        "its 102 entries unpack from ",
    ),
    "encryption": (
        lambda: _encrypted(_zip(lambda a: None)),
        "its entry `m/data.pkl` is encrypted",
    ),
    "another packing": (
        lambda: _zip(lambda a: a.writestr("m/data/0", b"0", zipfile.ZIP_BZIP2)),
        "its entry `m/data/0` is packed in a way that torch does not use",
    ),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_is_one_that_torch_wrote(what: str, tmp_path: Path) -> None:
    """Entries that hide, leave the archive or unpack to much more than the file are refused."""
    make, fault = ARCHIVES[what]
    (tmp_path / "m.pt").write_bytes(make())
    with pytest.raises(SourceError) as info:
        load_source(tmp_path / "m.pt")
    said = f"`{tmp_path / 'm.pt'}` is a zip archive that torch did not write: {fault}"
    assert str(info.value).startswith(said)
    assert str(info.value).endswith(". Save or download it again.")


def test_a_bomb_in_an_archive_in_an_archive(tmp_path: Path) -> None:
    """A pickled weight of a torch.export archive is an archive, and held to the same limits."""
    entries = exported(tmp_path / "m.pt2")
    table = json.loads(entries["data/weights/model_weights_config.json"])
    table["config"]["rnn.weight_ih_l0"]["use_pickle"] = True
    entries["data/weights/model_weights_config.json"] = json.dumps(table).encode()
    entries["data/weights/weight_0"] = _zip(_bomb)
    with pytest.raises(SourceError, match="unpacks from"):
        load_source(written(tmp_path / "m.pt2", entries))


def test_a_weight_is_no_larger_than_its_bytes(tmp_path: Path) -> None:
    """Tensors that lie outside of what is stored are refused before torch makes them."""
    path = tmp_path / "m.pt"
    entries = scripted(path)
    entries["data/1"] = entries["data/1"][:-1]
    with pytest.raises(SourceError) as info:
        load_source(written(path, entries))
    size = len(entries["data/1"]) + 1
    assert str(info.value) == (
        f"`{path}` is a TorchScript archive that cannot be read: `data.pkl`: a storage of {size} "
        "bytes is cut short. Save or download it again."
    )
    entries = exported(tmp_path / "m.pt2")
    entries["data/weights/weight_0"] = b""
    with pytest.raises(SourceError) as info:
        load_source(written(tmp_path / "m.pt2", entries))
    assert str(info.value) == (
        f"`{tmp_path / 'm.pt2'}` is a torch.export archive that cannot be read: ValueError: a "
        "tensor of 36 torch.float32 numbers has 0 bytes. Save or download it again."
    )


def test_a_weight_repeats_no_more_than_a_little(tmp_path: Path) -> None:
    """A weight whose elements share their bytes would fill the memory once it is copied."""
    path = tmp_path / "m.pt2"
    entries = exported(path)
    table = json.loads(entries["data/weights/model_weights_config.json"])
    meta = table["config"]["rnn.weight_ih_l0"]["tensor_meta"]
    meta["sizes"], meta["strides"] = [{"as_int": 1 << 40}], [{"as_int": 0}]
    entries["data/weights/model_weights_config.json"] = json.dumps(table).encode()
    with pytest.raises(SourceError) as info:
        load_source(written(path, entries))
    assert str(info.value) == (
        f"`{path}` is a torch.export archive that cannot be read: ValueError: a tensor of "
        "1099511627776 numbers has 144 bytes. Save or download it again."
    )


DAMAGES = 40


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Return `content` with some bytes in one place changed."""
    changed = bytearray(content)
    place = chance.randrange(len(changed))
    changed[place : place + chance.choice((1, 1, 4))] = chance.randbytes(chance.choice((1, 4)))
    return bytes(changed)


@pytest.mark.parametrize("kind", ["scripted", "exported", "state_dict", "legacy", "safetensors"])
@pytest.mark.filterwarnings("error")
def test_damage_is_an_error_of_ours(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever byte is damaged, the file loads or is refused, and torch prints nothing."""
    path = tmp_path / "m"
    match kind:
        case "scripted":
            scripted(path)
        case "exported":
            exported(path)
        case "safetensors":
            path.write_bytes(save(nn.LSTM(4, 3).state_dict()))
        case _:
            path.write_bytes(_saved(nn.LSTM(4, 3).state_dict(), zipped=kind == "state_dict"))
    whole = path.read_bytes()
    entries = entries_of(path) if zipfile.is_zipfile(path) else {}
    names = [name for name in entries if entries[name]]
    chance = random.Random(kind)
    for turn in range(DAMAGES):
        if names and turn % 2:
            name = chance.choice(names)
            written(path, entries | {name: _damaged(entries[name], chance)})
        else:
            path.write_bytes(_damaged(whole, chance))
        with contextlib.suppress(EdgernnError):
            load_source(path)
    assert capfd.readouterr() == ("", "")
