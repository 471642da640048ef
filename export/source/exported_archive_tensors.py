"""The tensors of a torch.export archive: weights, buffers, constants, and nothing else of it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from edgernn.errors import SourceError
from edgernn.export.source.zip_archive import ZipArchive

__all__ = ["Refusal", "folder_entries", "pickled_entry"]

# Makes the error for what an entry has in it.
Refusal = Callable[[str], SourceError]

# The numbers that the archive has for dtypes.
_DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def folder_entries(
    archive: ZipArchive, folder: str, table: str, prefix: str, refusal: Refusal
) -> dict[str, bytes]:
    """Return the entries of one folder: its table, and the numbers of each tensor in it.

    Args:
        archive: The archive.
        folder: `data/weights/` or `data/constants/`.
        table: The name of the table, which says of each tensor where and what it is.
        prefix: How the names of its tensors start; others are objects.
        refusal: The error for an object that is unpickled.

    Raises:
        SourceError: Something in it is not a tensor.
        ValueError: A tensor does not lie within its bytes.
    """
    entries: dict[str, bytes] = {}
    config: dict[str, Any] = {}
    for path, entry in json.loads(archive.read(folder + table).decode())["config"].items():
        file, meta = entry["path_name"], entry["tensor_meta"]
        if not isinstance(file, str) or not file.startswith(prefix) or "/" in file:
            raise refusal(f"an object that is unpickled, `{path}` in `{folder}{file}`")
        content = archive.read(folder + file)
        if entry["use_pickle"]:
            described = f"an object that is unpickled, `{path}` in `{folder}{file}`"
            tensor = _load(content, described, refusal)
            if not isinstance(tensor, torch.Tensor):
                raise refusal(described)
            content, meta = _bytes_of(tensor)
            file = f"{prefix}{len(archive.names) + len(config)}"
        entries[folder + file] = content
        config[path] = {
            "path_name": file,
            "is_param": bool(entry["is_param"]),
            "use_pickle": False,
            "tensor_meta": _check_meta(meta, len(content)),
        }
    entries[folder + table] = json.dumps({"config": config}).encode()
    return entries


def pickled_entry(archive: ZipArchive, entry: str, refusal: Refusal) -> bytes:
    """Return a dict of tensors, as torch.save wrote it into `entry`, written anew.

    Raises:
        SourceError: Something in it is not a tensor.
    """
    content = archive.read(entry)
    if not content:
        return b""
    loaded = _load(content, f"an object that is unpickled, `{entry}`", refusal)
    if not isinstance(loaded, Mapping):
        raise refusal(f"an object that is unpickled, `{entry}`")
    for path, tensor in loaded.items():
        if not isinstance(path, str) or not isinstance(tensor, torch.Tensor):
            raise refusal(f"an object that is unpickled, `{path}` in `{entry}`")
    buffer = io.BytesIO()
    torch.save(dict(loaded), buffer)
    return buffer.getvalue()


def _load(content: bytes, described: str, refusal: Refusal) -> Any:
    if content.startswith(b"PK"):
        ZipArchive(content, described)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle fails in any way
        raise refusal(described) from error


def _bytes_of(tensor: torch.Tensor) -> tuple[bytes, dict[str, Any]]:
    """Return the numbers of `tensor`, and what the table says of them."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in _CODES:
        raise ValueError(f"a tensor is {tensor.dtype}, {tensor.layout}, on {tensor.device}")
    plain = tensor.detach().contiguous()
    content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return content, {
        "dtype": _CODES[plain.dtype],
        "sizes": [{"as_int": size} for size in plain.shape],
        "strides": [{"as_int": stride} for stride in plain.stride()],
        "storage_offset": {"as_int": 0},
        "requires_grad": False,
        "layout": 7,
    }


def _check_meta(meta: dict[str, Any], size: int) -> dict[str, Any]:
    """Return `meta` on the CPU, if a tensor of it lies within `size` bytes."""
    dtype = _DTYPES.get(meta["dtype"])
    if dtype is None:
        raise ValueError(f"a tensor has the dtype {meta['dtype']}")
    sizes = [_size(value) for value in meta["sizes"]]
    strides = [_size(value) for value in meta["strides"]]
    offset = _size(meta["storage_offset"])
    if len(sizes) != len(strides):
        raise ValueError(f"a tensor has {len(sizes)} sizes and {len(strides)} strides")
    reach = sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    needed = 0 if 0 in sizes else offset + reach + 1
    if needed * dtype.itemsize > size or size % dtype.itemsize:
        raise ValueError(f"a tensor of {needed} {dtype} numbers has {size} bytes")
    return {**meta, "device": {"type": "cpu", "index": None}}


def _size(value: dict[str, Any]) -> int:
    size = value["as_int"]
    if type(size) is not int or not 0 <= size < 1 << 48:
        raise ValueError("a tensor has a size that is not one")
    return size
