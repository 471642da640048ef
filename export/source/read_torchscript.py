"""Read a TorchScript archive, scripted or traced, as a module that runs in Python."""

from __future__ import annotations

import copy
import re
import warnings
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.errors import EdgernnError, SourceError
from edgernn.export.call.override_forward import subclass_with_forward
from edgernn.export.source.check_torchscript import check_graph, check_torchscript_archive
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, prepare_module
from edgernn.export.source.torchscript_program import Block, Environment, GraphReader
from edgernn.export.source.zip_archive import ZipArchive
from edgernn.untrusted_text import first_line

__all__ = ["ScriptedModule", "read_scripted_parts", "read_torchscript"]


class ScriptedModule(nn.Module):
    """The forward of a TorchScript module, run operator by operator in Python.

    Argument names and defaults, dotted parameter names and the structure of results are the
    archive's.

    Attributes:
        has_loops: Whether a loop was kept as one; tracing writes it out, scripting does not.
    """

    def __init__(self, block: Block, has_loops: bool) -> None:
        super().__init__()
        self._block = block
        self.has_loops = has_loops

    def _run(self, arguments: list[Any]) -> Any:
        # The first input of a TorchScript graph is the module itself.
        return self._block.run(Environment(self, {}), [None, *arguments])[0]


def read_torchscript(
    archive: Path | torch.jit.ScriptModule, trust: bool = False
) -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    """Return the model in the TorchScript archive, conformed; the same run by torch; and notes.

    With `trust` torch loads a file as it is, which runs some of its code.

    Raises:
        SourceError: torch cannot read the archive, its code would do more than compute, or it has
            no forward.
        UnsupportedModelError: Its forward always runs an operator that Python cannot run.
    """
    subject = f"`{archive if isinstance(archive, Path) else archive.original_name}`"
    scripted, records = _load(archive, trust, subject)
    try:
        return _convert(archive, scripted, records, subject, trust)
    except EdgernnError:
        raise
    except Exception as error:  # a damaged archive fails in any way
        raise SourceError(
            f"{subject} is a TorchScript archive that cannot be run: {first_line(error)}. Save it "
            "again with this version of torch."
        ) from error


def _load(
    archive: Path | torch.jit.ScriptModule, trust: bool, subject: str
) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """Return the ScriptModule in `archive`, and the named tuples of its code by qualified names."""
    load: Callable[..., Any] = torch.jit.load
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        stored = _open_archive(archive, trust, subject)
        try:
            return load(stored, map_location="cpu"), _record_types(stored)
        except Exception as error:
            raise SourceError(
                f"{subject} is a TorchScript archive that torch {torch.__version__} cannot read: "
                f"{first_line(error)}. Save it again with this version of torch."
            ) from error


def _open_archive(archive: Path | torch.jit.ScriptModule, trust: bool, subject: str) -> BytesIO:
    """Return the bytes of an archive; a file is checked first, unless `trust` is set."""
    if isinstance(archive, Path) and trust:
        return BytesIO(archive.read_bytes())
    if isinstance(archive, Path):
        with ZipArchive(archive, subject) as entries:
            return check_torchscript_archive(entries, subject)
    buffer = BytesIO()
    torch.jit.save(archive, buffer)
    buffer.seek(0)
    return buffer


_RECORD = re.compile(r"^class (\w+)\(NamedTuple\):\n((?:  \w+ : .*\n)+)", re.MULTILINE)


def _record_types(stored: BytesIO) -> dict[str, Callable[..., Any]]:
    records: dict[str, Callable[..., Any]] = {}
    with zipfile.ZipFile(stored) as archive:
        for file in archive.namelist():
            _, _, path = file.partition("/code/")
            if not path.endswith(".py"):
                continue
            scope = path.removesuffix(".py").replace("/", ".")
            for name, fields in _RECORD.findall(archive.read(file).decode("utf-8")):
                names = [line.split(":")[0].strip() for line in fields.splitlines()]
                records[f"{scope}.{name}"] = namedtuple(name, names)
    return records


def _convert(
    archive: Path | torch.jit.ScriptModule,
    scripted: Any,
    records: dict[str, Callable[..., Any]],
    subject: str,
    trust: bool,
) -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    # A bare layer of torch's has two forwards, the first for tensors.
    method = getattr(scripted, "forward", None) or getattr(scripted, "forward__0", None)
    if method is None:
        raise SourceError(
            f"{subject} is a TorchScript archive without a method `forward`. Script or trace the "
            "model's forward."
        )
    graph = method.inlined_graph
    if isinstance(archive, Path) and not trust:
        check_graph(graph, subject)
    signature = _signature(method)

    def forward(self: ScriptedModule, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        return self._run(list(bound.arguments.values())[1:])

    narrowed = any(one.dtype in CONVERTED_DTYPES for one in scripted.state_dict().values())
    reader = GraphReader(scripted, records, subject, narrowed)
    block = reader.read(graph)
    attributes = {} if isinstance(archive, Path) else _plain_attributes(archive)
    kind = subclass_with_forward(
        ScriptedModule, forward, signature, scripted.original_name, attributes
    )
    module = kind(block, graph.findNode("prim::Loop") is not None)
    reader.tensors.register(module)

    def run(self: Scripted, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    scripted = scripted.eval().float() if narrowed else scripted.eval()
    given = subclass_with_forward(Scripted, run, signature)(scripted, method.name)
    return module, given, prepare_module(module)


def read_scripted_parts(module: nn.Module) -> None:
    """Put, for each scripted part of `module`, one that runs in Python in its place.

    Raises:
        UnsupportedModelError: A part's forward always runs an operator that Python cannot run.
    """
    read: dict[int, nn.Module] = {}
    for part in list(module.modules()):
        if isinstance(part, torch.jit.ScriptModule):
            continue
        for name, child in part.named_children():
            if isinstance(child, torch.jit.ScriptModule):
                if id(child) not in read:
                    read[id(child)], _, _ = read_torchscript(child)
                setattr(part, name, read[id(child)])


def _plain_attributes(scripted: Any) -> dict[str, Any]:
    """Return the numbers and strings that a scripted module has as attributes, by name."""
    known = getattr(scripted, "_concrete_type", None)
    names = {*known.get_constants(), *known.get_attributes()} - {"training"} if known else ()
    found = {name: getattr(scripted, name, None) for name in names}
    return {name: value for name, value in found.items() if type(value) in (bool, int, float, str)}


def _signature(method: Any) -> Signature:
    parameters = []
    for argument in method.schema.arguments:
        kind = Parameter.KEYWORD_ONLY if argument.kwarg_only else Parameter.POSITIONAL_OR_KEYWORD
        default = argument.default_value if argument.has_default_value() else Parameter.empty
        parameters.append(Parameter(argument.name, kind, default=default))
    parameters[0] = parameters[0].replace(name="self")
    return Signature(parameters)


# Of a forward that may leave another module than it found.
_WRITES = re.compile(r"prim::SetAttr|aten::[a-z]\w*_\(")


class Scripted(nn.Module):
    """A ScriptModule as a module that is the same at every call."""

    _scripted: Any

    def __init__(self, scripted: torch.jit.ScriptModule, method: str) -> None:
        super().__init__()
        # Not one of this module's parts: attributes of a ScriptModule cannot be put back.
        vars(self)["_scripted"] = scripted
        self._method = method
        self._writes = _WRITES.search(str(getattr(scripted, method).inlined_graph)) is not None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the ScriptModule."""
        scripted = copy.deepcopy(self._scripted) if self._writes else self._scripted
        unoptimized: Any = torch.jit.optimized_execution  # type: ignore[attr-defined]  # public
        with unoptimized(False):
            return getattr(scripted, self._method)(*args, **kwargs)

    def remembering(self) -> nn.Module:
        """Return a copy that keeps what its calls leave."""
        other = copy.copy(self)
        vars(other).update(_scripted=copy.deepcopy(self._scripted), _writes=False)
        return other

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield the parameters of the ScriptModule."""
        yield from self._scripted.parameters(recurse)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Scripted:
        self._scripted._apply(fn, recurse)
        return self
