"""The kind of a model file, recognized by its content."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
from enum import Enum
from pathlib import Path

from edgernn.errors import SourceError
from edgernn.export.source.zip_archive import ZipArchive
from edgernn.option_names import option

__all__ = ["Format", "format_of"]

_HEAD = 4096

# Tags of ModelProto's fields 2 to 8 and 14: strings and messages, except model_version (varint).
_MODEL_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)


class Format(Enum):
    """The kinds of model file, each with the words that name it in messages."""

    TORCHSCRIPT = "TorchScript archive"
    EXPORTED = "torch.export archive"
    PICKLE = "torch.save file"
    SAFETENSORS = "safetensors file"
    ONNX = "ONNX file"


_KNOWN = (
    "Known are TorchScript archives, torch.export archives, torch.save files (a state_dict or a "
    "whole module), safetensors files and ONNX files."
)


def format_of(path: Path) -> Format:
    """Return what `path` holds, whatever its name.

    Raises:
        SourceError: It is missing, unreadable, empty, a folder, cut short, or none of them.
    """
    subject = f"`{path}`"
    if os.path.isdir(path):
        remedy = "Give the file of a trained model in it."
        if (path / "contract.json").is_file():
            remedy = (
                f"It holds an artifact, which has its code in it: leave out {option('module')}."
            )
        raise SourceError(f"{subject} is a folder. {remedy}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(
                f"{subject} is not a regular file but a device, pipe or socket. Give the file of a "
                "trained model."
            )
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except FileNotFoundError:
        raise SourceError(f"{subject} does not exist. Give the file of a trained model.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(f"{subject} cannot be read: {reason or error}.") from error
    if not head:
        raise SourceError(f"{subject} is empty: 0 bytes. Save or download the model again.")
    if head.startswith(b"PK\x03\x04"):
        return _format_of_zip(path)
    size = path.stat().st_size
    if head.startswith(b"\x80"):
        return Format.PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return Format.SAFETENSORS
    # a ModelProto opens with field 1, the IR version, then another low field
    if len(head) > 2 and head[0] == 0x08 and head[1] < 0x80 and head[2] in _MODEL_FIELDS:
        return Format.ONNX
    raise SourceError(f"{subject} is not a model file: {_look_of(head, size)}. {_KNOWN}")


def _format_of_zip(path: Path) -> Format:
    with ZipArchive(path, f"`{path}`") as archive:
        names = archive.names
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return Format.EXPORTED
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return Format.TORCHSCRIPT
    if "data.pkl" in names:
        return Format.PICKLE
    raise SourceError(
        f"`{path}` is a zip archive of {len(names)} files that torch did not write. {_KNOWN}"
    )


def _look_of(head: bytes, size: int) -> str:
    # a character may be cut off at the end of the head, but not of the file
    decoder = codecs.getincrementaldecoder("utf-8")()
    with contextlib.suppress(UnicodeDecodeError):
        text = decoder.decode(head, final=size <= _HEAD)
        if text.isprintable() or "\n" in text:
            line, *_ = text.strip().splitlines() or [""]
            return f"it is text that starts with `{line[:40]}`"
    return f"{size} bytes that start with {head[:4].hex(' ')}"
