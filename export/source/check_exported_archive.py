"""Checks of a torch.export archive: torch is given the checked program and its tensors alone.

torch itself unpickles sample inputs, weights and objects of an archive, evaluates the expressions
of its sizes, writes its names into Python source, and calls any function of torch that a node
names. Here a new archive is written, of what was checked and nothing else.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch

from edgernn.errors import SourceError
from edgernn.export.source.allowed_operators import computes
from edgernn.export.source.check_expression import check_expression
from edgernn.export.source.load_weights import MOST_REPEATED
from edgernn.export.source.refusals import damaged_file, untrusted_file
from edgernn.export.source.zip_archive import ZipArchive, write_archive
from edgernn.option_names import repeat_with

__all__ = ["check_exported_archive"]

_MODELS = "models/"
_WEIGHTS = "data/weights/"
_CONSTANTS = "data/constants/"
_LIBRARIES = "data/aotinductor/"

# Names of the archive before torch 2.8 → those of today.
_LEGACY_PROGRAM = "serialized_exported_program.json"
_LEGACY = {
    "serialized_state_dict.pt": f"{_WEIGHTS}model.pt",
    "serialized_constants.pt": f"{_CONSTANTS}model.pt",
}

_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.(\w+)\.\w+", re.ASCII)
_PLAIN = re.compile(
    r"_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|not_|or_|pos|pow"
    r"|rshift|sub|truediv|xor)|math\.(ceil|floor|sqrt|trunc)"
    r"|torch\.sym_(float|int|ite|max|min|not|sqrt|sum)"
    r"|torch\.ops\.higher_order\.(associative_scan|cond|map_impl|scan|while_loop"
    r"|wrap_with_autocast|wrap_with_set_grad_enabled)"
)

# Strings of the program's JSON by their keys.
_NAMES = frozenset(["name", "as_name", "node_name"])
_PATHS = frozenset(
    str.split("buffer_name custom_obj_name parameter_name tensor_constant_name user_input_name")
)
_TABLES = frozenset(["as_string_to_argument", "opset_version", "range_constraints"])
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)

# Containers that forward's arguments and results may be made of.
_CONTAINERS = frozenset(
    ["builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None]
)

# The dtypes in the order of the integers that the archive has for them, from 1; not complex ones.
_DTYPES: dict[int, torch.dtype] = {
    code: getattr(torch, name)
    for code, name in enumerate(
        str.split("uint8 int8 int16 int32 int64 float16 float32 float64 - - - bool bfloat16"), 1
    )
    if name != "-"
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def check_exported_archive(archive: ZipArchive, subject: str) -> io.BytesIO:
    """Return an archive of the program in `archive` and its tensors, for torch.export.load.

    Nothing is unpickled but tensors, and no expression evaluated.

    Raises:
        SourceError: It has something in it that runs code, which is named; or it is damaged.
    """
    return _Checker(archive, subject).checked()


class _Checker:
    """Looks through one archive and collects what may go into the new one."""

    def __init__(self, archive: ZipArchive, subject: str) -> None:
        self._archive = archive
        self._subject = subject
        self._entries: dict[str, bytes] = {
            "archive_format": b"pt2",
            "archive_version": b"0",
            "data/sample_inputs/model.pt": b"",
            ".data/version": b"6",
            "byteorder": b"little",
        }

    def checked(self) -> io.BytesIO:
        for name in self._archive.names:
            if name.startswith(_LIBRARIES):
                raise self._refusal(f"compiled code, `{name}`")
        if "byteorder" in self._archive and self._archive.read("byteorder") != b"little":
            raise self._damaged("its numbers are not little-endian")
        try:
            if _LEGACY_PROGRAM in self._archive:
                self._program(_LEGACY_PROGRAM)
                for old, new in _LEGACY.items():
                    self._pickled(old, new)
            else:
                model = self._model()
                self._program(f"{_MODELS}{model}.json")
                self._folder(model, _WEIGHTS, "weights", "weight_")
                self._folder(model, _CONSTANTS, "constants", "tensor_")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error
        except RecursionError as error:
            raise self._damaged("its program is nested too deeply") from error
        return write_archive(self._entries)

    def _model(self) -> str:
        models = [
            name.removeprefix(_MODELS).removesuffix(".json")
            for name in self._archive.names
            if name.startswith(_MODELS) and name.endswith(".json")
        ]
        if "model" in models or len(models) == 1:
            return "model" if "model" in models else models[0]
        raise SourceError(
            f"{self._subject} is a torch.export archive of {len(models)} programs; one was "
            "expected. Save one program with torch.export.save."
        )

    def _program(self, entry: str) -> None:
        program = json.loads(self._archive.read(entry).decode("utf-8"))
        module = program["graph_module"]
        module["metadata"] = {}
        module.pop("treespec_namedtuple_fields", None)
        module["module_call_graph"] = module["module_call_graph"][:1]
        for call in module["module_call_graph"]:
            call["fqn"] = ""
            signature = call["signature"]
            for side in ("in_spec", "out_spec"):
                signature[side] = self._tree(signature[side], side)
            for name in signature.get("forward_arg_names") or ():
                self._require(_NAME, name, "an argument")
        program["guards_code"] = []
        ranges = program["range_constraints"]
        program["range_constraints"] = {k: v for k, v in ranges.items() if _NAME.fullmatch(k)}
        self._walk(program)
        self._entries["models/model.json"] = json.dumps(program).encode()

    def _walk(self, value: Any) -> None:
        """Check every string of the program that torch evaluates, looks up or writes as code."""
        if isinstance(value, list):
            for item in value:
                self._walk(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key == "metadata":
                    value[key] = {}
                elif key == "expr_str":
                    value[key] = self._expression(item)
                elif key == "device" or key == "as_device":
                    value[key] = {"type": "cpu", "index": None}
                elif key in ("target", "as_operator"):
                    self._operator(item)
                elif key in _NAMES and not isinstance(item, (dict, list)):
                    if item not in ("", None):
                        self._require(_NAME, item, "a value")
                elif key in _PATHS:
                    self._require(_PATH, item, "a tensor")
                elif key in ("as_custom_obj", "custom_obj"):
                    raise self._refusal("an object of a class of its own")
                elif key.endswith("_values"):
                    for name, described in cast("dict[str, Any]", item).items():
                        self._require(_NAME, name, "a value")
                        self._walk(described)
                elif key in _TABLES:
                    self._walk(list(cast("dict[str, Any]", item).values()))
                else:
                    self._walk(item)

    def _operator(self, target: object) -> None:
        text = target if isinstance(target, str) else ""
        found = _OPERATOR.fullmatch(text)
        if not (_PLAIN.fullmatch(text) or (found and computes(f"{found[1]}::{found[2]}"))):
            raise self._refusal(f"a call of `{_short(target)}`, which does not only compute")

    def _expression(self, text: object) -> str:
        if not isinstance(text, str):
            raise TypeError(f"an expression is of type {type(text).__name__}")
        try:
            return check_expression(text)
        except ValueError as error:
            raise self._refusal(
                f"an expression for a size that is not one, `{_short(text)}` ({error})"
            ) from error

    def _tree(self, text: str, side: str) -> str:
        """Check the structure of arguments or results, in which torch imports what it names."""
        protocol, tree = json.loads(text)
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            kind, context = node["type"], node["context"]
            if kind not in _CONTAINERS:
                raise SourceError(
                    f"{self._subject} takes or returns a `{_short(kind)}`, which only its own code "
                    "could make. Export it with tensors, tuples, lists and dicts alone, or "
                    f"if you trust its origin, {repeat_with(trust=True)}."
                )
            keys = json.loads(context) if isinstance(context, str) else context
            if not isinstance(keys, list | None) or not all(
                isinstance(key, str | int) for key in keys or ()
            ):
                raise self._refusal(f"code in the structure of its {side}, `{_short(context)}`")
            if side == "in_spec":
                for key in keys or ():
                    self._require(_NAME, key, "an argument")
            nodes += node["children_spec"]
        return json.dumps([protocol, tree])

    def _folder(self, model: str, folder: str, kind: str, prefix: str) -> None:
        """Take the tensors of one folder: a pickled dict, or a table and an entry for each.

        The names of tensors start with `prefix`; others are objects.
        """
        if f"{folder}{model}.pt" in self._archive:
            self._pickled(f"{folder}{model}.pt", f"{folder}model.pt")
            return
        config: dict[str, Any] = {}
        table = self._archive.read(f"{folder}{model}_{kind}_config.json").decode()
        for path, entry in json.loads(table)["config"].items():
            file, meta = entry["path_name"], entry["tensor_meta"]
            described = f"an object that is unpickled, `{path}` in `{folder}{file}`"
            if not isinstance(file, str) or not file.startswith(prefix) or "/" in file:
                raise self._refusal(described)
            content = self._archive.read(folder + file)
            if entry["use_pickle"]:
                content, meta = _bytes_of(self._unpickle(content, torch.Tensor, described))
                file = f"{prefix}{len(self._archive.names) + len(config)}"
            self._entries[folder + file] = content
            config[path] = {
                "path_name": file,
                "is_param": bool(entry["is_param"]),
                "use_pickle": False,
                "tensor_meta": _check_meta(meta, len(content)),
            }
        self._entries[f"{folder}model_{kind}_config.json"] = json.dumps({"config": config}).encode()

    def _pickled(self, entry: str, target: str) -> None:
        """Take a dict of tensors that torch.save wrote into `entry`, written anew."""
        content = self._archive.read(entry)
        buffer = io.BytesIO()
        if content:
            loaded = self._unpickle(content, Mapping, f"an object that is unpickled, `{entry}`")
            for path, tensor in loaded.items():
                if not isinstance(path, str) or not isinstance(tensor, torch.Tensor):
                    raise self._refusal(f"an object that is unpickled, `{path}` in `{entry}`")
            torch.save(dict(loaded), buffer)
        self._entries[target] = buffer.getvalue()

    def _unpickle(self, content: bytes, kind: type[Any], described: str) -> Any:
        """Return a tensor or a container of tensors, which must be an instance of `kind`."""
        if content.startswith(b"PK"):
            ZipArchive(content, described)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a pickle fails in any way
            raise self._refusal(described) from error
        if not isinstance(loaded, kind):
            raise self._refusal(described)
        return loaded

    def _require(self, pattern: re.Pattern[str], value: object, what: str) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value) or len(value) > 1000:
            raise self._refusal(f"code in the place of the name of {what}, `{_short(value)}`")

    def _refusal(self, what: str) -> SourceError:
        return untrusted_file(
            f"{self._subject} is a torch.export archive with {what}",
            "Opening it would run what its maker wrote",
            "export the model's code anew with torch.export.save",
        )

    def _damaged(self, reason: str) -> SourceError:
        return damaged_file(self._subject, "torch.export archive", _short(reason))


def _short(value: object) -> str:
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return f"{text[:60]}…" if len(text) > 61 else text


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
    if (count := math.prod(sizes)) > max(MOST_REPEATED, size // dtype.itemsize):
        raise ValueError(f"a tensor of {count} numbers has {size} bytes")
    return {**meta, "device": {"type": "cpu", "index": None}}


def _size(value: dict[str, Any]) -> int:
    size = value["as_int"]
    if type(size) is not int or not 0 <= size < 1 << 48:
        raise ValueError("a tensor has a size that is not one")
    return size
