"""Files that would touch a canary if opening them ran what is in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.archive_entries import entries_of

__all__ = ["EXPORTED", "IGNORED", "RUN_BY_TORCH", "SCRIPTED", "Touch", "exported", "scripted"]

Entries = dict[str, bytes]


class Touch:
    """A pickle of it makes the folder `canary` when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.canary),)


class Tagger(nn.Module):
    """A layer of torch's and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)
        self.shift = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return every step's output."""
        y: torch.Tensor = self.rnn(x)[0]
        return y + self.shift


def exported(path: Path) -> Entries:
    """Return the entries of an honest torch.export archive, which is written to `path`."""
    axes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            Tagger().eval(), (torch.zeros(2, 5, 4),), dynamic_shapes=axes, strict=False
        )
        torch.export.save(program, path)
    return entries_of(path)


def scripted(path: Path) -> Entries:
    """Return the entries of an honest TorchScript archive, which is written to `path`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Tagger().eval()).save(path)
    return entries_of(path)


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _json(entries: Entries, name: str, change: Callable[[Any], None]) -> None:
    content = json.loads(entries[name])
    change(content)
    entries[name] = json.dumps(content).encode()


def _program(change: Callable[[Any, str], None]) -> Callable[[Entries, Path], None]:
    """Return what changes the program of an archive, given the canary as text."""

    def apply(entries: Entries, canary: Path) -> None:
        _json(entries, "models/model.json", lambda program: change(program, str(canary)))

    return apply


def _text(old: str, new: str) -> Callable[[Entries, Path], None]:
    """Return what replaces text all over the program; CANARY stands for the canary's path."""

    def replaced(value: Any, new: str) -> Any:
        if isinstance(value, dict):
            return {key: replaced(item, new) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, new) for item in value]
        return value.replace(old, new) if isinstance(value, str) else value

    def apply(entries: Entries, canary: Path) -> None:
        program = json.loads(entries["models/model.json"])
        changed = replaced(program, new.replace("CANARY", str(canary)))
        assert changed != program
        entries["models/model.json"] = json.dumps(changed).encode()

    return apply


_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"


def _pickled_weight(entries: Entries, canary: Path) -> None:
    def change(table: Any) -> None:
        entry = table["config"]["rnn.weight_ih_l0"]
        entry["use_pickle"] = True
        entries[f"data/weights/{entry['path_name']}"] = _saved(Touch(canary))

    _json(entries, _WEIGHTS, change)


def _object(prefix: str) -> Callable[[Entries, Path], None]:
    def apply(entries: Entries, canary: Path) -> None:
        def change(table: Any) -> None:
            (entry,) = table["config"].values()
            entry["path_name"] = f"{prefix}0"
            entries[f"data/constants/{prefix}0"] = pickle.dumps(Touch(canary))

        _json(entries, _CONSTANTS, change)

    return apply


def _legacy(kind: str) -> Callable[[Entries, Path], None]:
    def apply(entries: Entries, canary: Path) -> None:
        entries[f"data/{kind}/model.pt"] = _saved({"x": Touch(canary)})

    return apply


def _oldest(entries: Entries, canary: Path) -> None:
    program = entries["models/model.json"]
    entries.clear()
    entries["version"] = b"8.0"
    entries["serialized_exported_program.json"] = program
    entries["serialized_state_dict.pt"] = _saved({"x": Touch(canary)})
    entries["serialized_constants.pt"] = _saved({})
    entries["serialized_example_inputs.pt"] = b""


def _spec(kind: str, context: Any) -> Callable[[Entries, Path], None]:
    """Return what puts a node into the structure of forward's results, which imports a module."""

    def change(program: Any, canary: str) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        protocol, tree = json.loads(signature["out_spec"])
        tree = {"type": kind, "context": context, "children_spec": [tree]}
        signature["out_spec"] = json.dumps([protocol, tree])

    return _program(change)


def _argument_name(program: Any, canary: str) -> None:
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = [f"x=__import__('os').mkdir({canary!r})"]


def _guards(program: Any, canary: str) -> None:
    program["guards_code"] = [f"__import__('os').mkdir({canary!r})"]


def _sample_inputs(entries: Entries, canary: Path) -> None:
    entries["data/sample_inputs/model.pt"] = _saved(((Touch(canary),), {}))


def _library(entries: Entries, canary: Path) -> None:
    entries["data/aotinductor/model/code.so"] = b"\x7fELF"


EXPORTED: dict[str, tuple[Callable[[Entries, Path], None], str]] = {
    "a pickled weight": (
        _pickled_weight,
        "an object that is unpickled, `rnn.weight_ih_l0` in `data/weights/weight_0`",
    ),
    "an object of a C++ class": (
        _object("custom_obj_"),
        "an object that is unpickled, `shift` in `data/constants/custom_obj_0`",
    ),
    "an object of a Python class": (
        _object("opaque_obj_"),
        "an object that is unpickled, `shift` in `data/constants/opaque_obj_0`",
    ),
    "weights in one pickle": (
        _legacy("weights"),
        "an object that is unpickled, `data/weights/model.pt`",
    ),
    "constants in one pickle": (
        _legacy("constants"),
        "an object that is unpickled, `data/constants/model.pt`",
    ),
    "an archive of an older torch": (
        _oldest,
        "an object that is unpickled, `serialized_state_dict.pt`",
    ),
    "an expression": (
        _text("Symbol('", "__import__('os').mkdir('CANARY') or Symbol('"),
        "an expression for a size that is not one",
    ),
    "an exponent": (
        _text("Symbol('", "2 ** print(1, __import__('os').mkdir('CANARY')) * Symbol('"),
        "an expression for a size that is not one",
    ),
    "a function": (
        _text("torch.ops.aten.add.Tensor", "torch.os.mkdir"),
        "a call of `torch.os.mkdir`, which does not only compute",
    ),
    "an operator that writes files": (
        _text("torch.ops.aten.add.Tensor", "torch.ops.aten.from_file.default"),
        "a call of `torch.ops.aten.from_file.default`, which does not only compute",
    ),
    "a library": (
        _text("torch.ops.aten.add.Tensor", "torch.ops.load_library"),
        "a call of `torch.ops.load_library`, which does not only compute",
    ),
    "code as a name": (
        _text("p_rnn_bias_ih_l0", "p_rnn_bias_ih_l0=__import__('os').mkdir('CANARY')"),
        "code in the place of the name of a value",
    ),
    "code as an argument": (
        _program(_argument_name),
        "code in the place of the name of an argument",
    ),
    "an import": (
        _spec(
            "collections.defaultdict",
            {
                "default_factory_module": "canary",
                "default_factory_name": "x",
                "dict_context": ["a"],
            },
        ),
        "takes or returns a `collections.defaultdict`",
    ),
    "an enum": (
        _spec("builtins.dict", '[{"__enum__": true, "fqn": "canary:X", "name": "a"}]'),
        "code in the structure of its out_spec",
    ),
    "compiled code": (_library, "compiled code, `data/aotinductor/model/code.so`"),
}
"""What → what puts it into the entries of a torch.export archive, and how it is named."""

IGNORED: dict[str, Callable[[Entries, Path], None]] = {
    "sample inputs": _sample_inputs,
    "guards": _program(_guards),
}
"""What of a torch.export archive is never read."""


_OWN = "code/__torch__/tests/security/hostile.py"
_FILE = 'torch.from_file("CANARY", True, 3)'


def _code(old: str, new: str) -> Callable[[Entries, Path], None]:
    """Return what replaces a line of the archive's code; CANARY stands for the canary's path."""

    def apply(entries: Entries, canary: Path) -> None:
        code = entries[_OWN].decode()
        assert old in code
        entries[_OWN] = code.replace(old, new.replace("CANARY", str(canary)), 1).encode()

    return apply


def _restoring(entries: Entries, canary: Path) -> None:
    entries.clear()
    path = canary.with_name("restoring.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Restoring(str(canary))).save(path)
    entries.update(entries_of(path))
    canary.unlink(missing_ok=True)


class Restoring(nn.Module):
    """A module that maps a file when its state is set."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.mapped = torch.zeros(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`."""
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        self.mapped = torch.from_file(self.path, True, 3)


def _global(old: bytes, new: bytes) -> Callable[[Entries, Path], None]:
    def apply(entries: Entries, canary: Path) -> None:
        entries["data.pkl"], count = re.subn(old, new, entries["data.pkl"])
        assert count

    return apply


SCRIPTED: dict[str, tuple[Callable[[Entries, Path], None], str]] = {
    "__setstate__": (_restoring, "has a `__setstate__`"),
    "a constant": (
        _code("  training : bool", f"  evil : Final[Tensor] = {_FILE}\n  training : bool"),
        "calls `from_file`",
    ),
    "a constant that is computed": (
        _code("  training : bool", "  evil : Final[int] = torch.add(1, 2)\n  training : bool"),
        "computes a constant with `add(…)`",
    ),
    "a default": (_code("x: Tensor)", f"x: Tensor={_FILE})"), "calls `from_file`"),
    "forward": (_code("torch.add(y, shift)", f"torch.add(y, {_FILE})"), "calls `from_file`"),
    "another name": (
        _code("torch.add(y, shift)", 'torch.add(y, ops.aten.from_file("CANARY", True, 3))'),
        "calls `ops.aten.from_file`",
    ),
    "text for a name": (
        _code(
            "torch.add(y, shift)",
            'torch.add(y, getattr(torch, "from\\x5ffile")("CANARY", True, 3))',
        ),
        "calls `from_file`",
    ),
    "an operator that checks nothing, in a branch": (
        _code(
            "    return torch.add(y, shift)",
            "    if torch.gt(torch.dim(x), 9):\n"
            "      y0 = torch.fbgemm_linear_fp16_weight(y, y, y)\n"
            "    else:\n"
            "      y0 = y\n"
            "    return torch.add(y0, shift)",
        ),
        "has the operator `aten::fbgemm_linear_fp16_weight`, which may do more than compute",
    ),
    "a method of text": (
        _code("torch.add(y, shift)", 'torch.add(y, ("CANARY").from_file(True, 3))'),
        "calls `from_file`",
    ),
    "a method of a tensor": (
        _code("    return torch.add", '    (x).save("CANARY")\n    return torch.add'),
        "calls `save`",
    ),
    "a method that Python calls": (
        _code(
            "  def forward(",
            f"  def __bool__(self) -> bool:\n    _0 = {_FILE}\n    return True\n  def forward(",
        ),
        "defines `__bool__`",
    ),
    "a C++ class": (
        _global(
            rb"__torch__\.torch\.nn\.modules\.rnn(\.___torch_mangle_\d+)?\nGRU",
            b"__torch__.torch.classes.xla\nGRU",
        ),
        "makes a `__torch__.torch.classes.xla.GRU` in `data.pkl`",
    ),
    "a class of Python": (
        _global(b"collections\nOrderedDict", b"os\nmkdir"),
        "makes a `os.mkdir` in `data.pkl`",
    ),
}
"""What → what puts it into the entries of a TorchScript archive, and how it is named."""

RUN_BY_TORCH = frozenset(
    [
        "__setstate__",
        "a constant",
        "a default",
        "a pickled weight",
        "an exponent",
        "an expression",
        "another name",
        "constants in one pickle",
        "forward",
        "guards",
        "sample inputs",
        "weights in one pickle",
    ]
)
"""What torch itself runs when it opens or runs the archive."""
