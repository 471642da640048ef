"""Bring a model of any origin into the form that is traced."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edgernn.artifact import CONTRACT_FILE
from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.call.override_forward import call_by_position
from edgernn.export.foreign.onnx_file import OnnxFile, read_artifact, read_onnx
from edgernn.export.source.file_format import Format, format_of
from edgernn.export.source.load_weights import check_weights, load_weights
from edgernn.export.source.module_factory import Factory, call_factory, import_code, name_of
from edgernn.export.source.prepare_module import (
    has_rewritten_parts,
    prepare_module,
    private_copy,
    to_cpu_float32,
)
from edgernn.export.source.read_checkpoint import read_pickle, read_safetensors, state_dict_in
from edgernn.export.source.read_exported import read_exported
from edgernn.export.source.read_torchscript import read_scripted_parts, read_torchscript
from edgernn.export.source.rebuild_module import rebuild_module
from edgernn.option_names import option

__all__ = ["Source", "load_source"]

_TORCH = f"torch {torch.__version__.partition('+')[0]}"


@dataclass(frozen=True)
class Source:
    """A model ready to be traced.

    Attributes:
        module: A private copy on the CPU, in float32 and eval mode, without gradients. Under a
            `torch.overrides.TorchFunctionMode` each of its recurrent calls is a torch function.
        given: The model as it was given, that graphs are proven against: the same module, or,
            where a part of it was rewritten to be traced, one that was not.
        description: What it was, in one line.
        notes: For people: what was converted or taken.
        rebuilt: Whether it was made from the keys of a state_dict, its forward not seen.
    """

    module: nn.Module
    given: nn.Module
    description: str
    notes: tuple[str, ...] = ()
    rebuilt: bool = False

    @property
    def name(self) -> str:
        """What messages call the model."""
        return type(self.module).__name__

    @property
    def reference(self) -> str:
        """What graphs are compared with, in a few words."""
        if self.rebuilt:
            return "a model rebuilt from the state_dict, whose own forward was not seen,"
        return "eager torch"


def load_source(
    model: nn.Module | str | Path,
    *,
    module: str | Factory | None = None,
    trust: bool = False,
    assume_plain: bool = False,
) -> Source | OnnxFile:
    """Return the model in `model`, ready to be traced.

    Args:
        model: A live module, or a file: TorchScript or torch.export archive, state_dict or whole
            module by torch.save, safetensors, ONNX, told apart by content, not by name; or the
            folder of an artifact.
        module: The code of a state_dict or of a pickle from `__main__`: `FILE.py:FACTORY`, or the
            factory itself.
        trust: Whether opening the file may run code that is in it: a pickled module, an archive of
            TorchScript or torch.export with more in it than computes.
        assume_plain: Whether the layers of a bare state_dict are taken to follow each other with
            nothing between them.

    Raises:
        SourceError: The file is not a model, or not one that may or can be rebuilt.
        UnsupportedModelError: It is a model of a kind that cannot be traced.
    """
    if isinstance(model, (str, Path)):
        return _from_file(Path(model), module, trust, assume_plain)
    if module is not None:
        raise SourceError(
            f"`{name_of(module)}` is given beside a live module, which has its code already. "
            "Leave module out."
        )
    if isinstance(model, torch.jit.ScriptModule):
        converted, given, notes = read_torchscript(model)
        return Source(converted, given, f"ScriptModule {model.original_name}, {_TORCH}", notes)
    if not isinstance(model, nn.Module):
        raise SourceError(
            f"`model` is of type `{type(model).__name__}`, which is not a model. Give an "
            "nn.Module, or the path of a model file: that of a state_dict with module=, its code."
        )
    copied = private_copy(model)
    given, notes = _prepare(copied)
    return Source(copied, given, f"nn.Module {type(copied).__name__}, {_TORCH}", notes)


def _from_file(
    path: Path, module: str | Factory | None, trust: bool, assume_plain: bool
) -> Source | OnnxFile:
    if os.path.isfile(path / CONTRACT_FILE) and module is None:
        return read_artifact(path)
    kind = format_of(path)
    if kind in (Format.PICKLE, Format.SAFETENSORS):
        return _from_weights(path, kind, module, trust, assume_plain)
    if module is not None:
        raise SourceError(
            f"`{path}` is a {kind.value}, which has its code in it. "
            f"Leave out {option('module', name_of(module))}."
        )
    if kind is Format.ONNX:
        return read_onnx(path)
    if kind is Format.EXPORTED:
        converted, notes = read_exported(path, trust)
        given = converted
    else:
        converted, given, notes = read_torchscript(path, trust)
    return Source(converted, given, f"{kind.value} {path.name}, {_TORCH}", notes)


def _from_weights(
    path: Path, kind: Format, module: str | Factory | None, trust: bool, assume_plain: bool
) -> Source:
    subject = f"`{path}`"
    code, factory = import_code(module) if module is not None else (None, None)
    notes: tuple[str, ...] = ()
    if kind is Format.SAFETENSORS:
        content: object = read_safetensors(path)
    else:
        content, notes = read_pickle(path, trust, code)
    weights = state_dict_in(content, subject)
    if isinstance(weights, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            f"{subject} is a ScriptModule inside a pickle. Save it with torch.jit.save."
        )
    if isinstance(weights, nn.Module):
        built, label = private_copy(weights), f"pickled module {type(weights).__name__} in"
    elif module is not None:
        check_weights(weights, subject)
        built = private_copy(call_factory(code, factory))
        notes += load_weights(built, weights, subject)
        label = f"state_dict for {Path(name_of(module)).name} in"
    else:
        check_weights(weights, subject)
        built, taken = rebuild_module(weights, subject, assume_plain, path)
        notes, label = taken + notes, "state_dict in"
    given, converted = _prepare(built)
    rebuilt = module is None and not isinstance(weights, nn.Module)
    description = f"{label} {kind.value} {path.name}, {_TORCH}"
    return Source(built, given, description, notes + converted, rebuilt)


def _prepare(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Bring a live module into the form that is traced, in place.

    Returns:
        A copy of it as it was, where that is another form, and notes.
    """
    call_by_position(module)
    given = private_copy(module) if has_rewritten_parts(module) else module
    read_scripted_parts(module)
    notes = prepare_module(module)
    if given is not module:
        to_cpu_float32(given)
    return given, notes
