"""The rules for files that hold no model."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch

from edgernn.errors import ContractError, SourceError
from edgernn.export.source.load_source import load_source


def archive(**entries: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in entries.items():
            file.writestr(name, text)
    return buffer.getvalue()


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


KNOWN = (
    "Known are TorchScript archives, torch.export archives, torch.save files (a state_dict or a "
    "whole module), safetensors files and ONNX files."
)
EXPECTED = (
    "Expected a whole module, a state_dict, or one of them under `state_dict`, "
    "`model_state_dict`, `model_state`, `model_dict`, `model`, `net`, `network`, `module`, "
    "`weights`, `params` or `checkpoint`."
)
WEIGHTS = saved({"weight": torch.zeros(400)})
BAD_FILES = {
    "empty": (b"", "is empty: 0 bytes. Save or download the model again."),
    "text": (
        b"\nimport torch\nmodel = 1\n",
        f"is not a model file: it is text that starts with `import torch`. {KNOWN}",
    ),
    "bytes": (
        b"\xff\xd8\xff\xe0 JPEG",
        f"is not a model file: 9 bytes that start with ff d8 ff e0. {KNOWN}",
    ),
    "zip": (
        archive(a="1", b="2"),
        f"is a zip archive of 2 files that torch did not write. {KNOWN}",
    ),
    "cut": (
        WEIGHTS[:1000],
        "is a zip archive cut short: it has 1000 bytes and no table of contents at its end. Save "
        "or download it again.",
    ),
    "optimizer": (
        saved(torch.optim.Adam([torch.zeros(2)]).state_dict()),
        "holds no model: it is an optimizer's state_dict (`state`, `param_groups`). " + EXPECTED,
    ),
    "tensor": (saved(torch.zeros(3)), f"holds no model: it is of type `Tensor`. {EXPECTED}"),
    "empty dict": (saved({}), f"holds no model: it is an empty dict. {EXPECTED}"),
    "other dict": (
        saved({"weight": torch.zeros(2), "scale": 0.5, "axes": [1]}),
        "holds no model: it is a dict with entries that are not tensors: `scale` (float), `axes` "
        "(list). " + EXPECTED,
    ),
    "broken pickle": (
        b"\x80\x02}q\x00X",
        "is a torch.save file that cannot be read: unpack requires a buffer of 4 bytes. Save "
        "or download it again.",
    ),
    "broken safetensors": (
        (7).to_bytes(8, "little") + b'{"a": 1' + b"}",
        "is a safetensors file that cannot be read: Error while deserializing header: invalid "
        "JSON in header: EOF while parsing an object at line 1 column 7. Save or download it "
        "again.",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_no_model_is_refused(tmp_path, case):
    """A file that holds no model is refused with what it is and what is expected."""
    content, text = BAD_FILES[case]
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert str(info.value) == f"`{path}` {text}"


def test_what_is_no_regular_file_is_refused(tmp_path):
    """Devices and pipes are refused before anything is read from them."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(SourceError) as info:
            load_source(path)
        assert str(info.value) == (
            f"`{path}` is not a regular file but a device, pipe or socket. Give the file of a "
            "trained model."
        )


def test_a_missing_file_is_refused(tmp_path):
    """A path without a file is refused."""
    path = tmp_path / "m.pt"
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert str(info.value) == f"`{path}` does not exist. Give the file of a trained model."


def test_a_folder_is_refused(tmp_path):
    """A folder is refused; that of an artifact is read, and refused where it is none."""
    with pytest.raises(SourceError) as info:
        load_source(tmp_path)
    assert str(info.value) == (f"`{tmp_path}` is a folder. Give the file of a trained model in it.")
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(ContractError):
        load_source(tmp_path)
    with pytest.raises(SourceError) as info:
        load_source(tmp_path, module="net.py")
    assert str(info.value) == (
        f"`{tmp_path}` is a folder. It holds an artifact, which has its code in it: leave out "
        "`module`."
    )
