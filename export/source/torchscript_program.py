"""The graph of a scripted forward as instructions that Python runs, operator by operator.

A ScriptModule does not call Python while it runs, and so hides its recurrent layers.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.source.allowed_operators import computes
from edgernn.export.source.prepare_module import make_submodule
from edgernn.export.source.torchscript_operators import (
    PYTHON_FUNCTIONS,
    SCALAR_FUNCTIONS,
    Compute,
    SchemaArgument,
    call_operator,
    call_python,
)
from edgernn.option_names import option

__all__ = ["Block", "Environment", "GraphReader"]


class Environment(NamedTuple):
    """One run: the module whose tensors are read, and the values computed so far by name."""

    module: nn.Module
    values: dict[str, Any]


class Instruction(NamedTuple):
    """One node of a graph; `refusal` says why it cannot run, where it cannot."""

    compute: Compute
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    refusal: str = ""


@dataclass(frozen=True)
class Block:
    """Nodes in order, with the names of what goes in and comes out."""

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[str, ...]

    def run(self, env: Environment, arguments: Sequence[Any]) -> list[Any]:
        """Run the nodes on `arguments` and return the outputs."""
        values = env.values
        values.update(zip(self.inputs, arguments, strict=True))
        for one in self.instructions:
            results = one.compute(env, [values[name] for name in one.inputs])
            if one.outputs:
                values.update(zip(one.outputs, results, strict=True))
        return [values[name] for name in self.outputs]


def _read_tensors(paths: Sequence[str], listed: bool) -> Compute:
    """Read a tensor of the module as it is now, or a list of them, by dotted paths."""

    def compute(env: Environment, _: list[Any]) -> Sequence[Any]:
        tensors = [operator.attrgetter(path)(env.module) for path in paths]
        return [tensors] if listed else tensors

    return compute


def _loop(body: Block) -> Compute:
    """Run a block at most as often as the first input says, as long as its condition holds.

    The further inputs are the first condition and the values that iterations hand on.
    """

    def compute(env: Environment, values: list[Any]) -> Sequence[Any]:
        count, going, *carried = values
        index = 0
        while going and index < count:
            going, *carried = body.run(env, [index, *carried])
            index += 1
        return carried

    return compute


def _raise_exception(_: Environment, values: list[Any]) -> NoReturn:
    """Raise what the model's own code raises; its own classes become RuntimeError."""
    message, *kind = values
    name = str(kind[0]).removeprefix("builtins.") if kind else ""
    raise getattr(builtins, name, RuntimeError)(message)


class _ScriptTensors:
    """The tensors of a ScriptModule by their dotted paths."""

    def __init__(self, scripted: Any) -> None:
        self._scripted = scripted
        self._parameters = dict(scripted.named_parameters(remove_duplicate=False))
        self._buffers = dict(scripted.named_buffers(remove_duplicate=False))
        self._paths = {
            _identity(tensor): path
            for path, tensor in [*self._buffers.items(), *self._parameters.items()][::-1]
        }

    def path_of(self, tensor: torch.Tensor, fallback: str) -> str:
        """Return the path of `tensor`, which becomes a buffer at `fallback` if it has none."""
        path: str = self._paths.setdefault(_identity(tensor), fallback)
        if path not in self._parameters:
            self._buffers[path] = tensor
        return path

    def register(self, module: nn.Module) -> None:
        """Give `module` submodules, parameters and buffers of the same paths."""
        for path, _ in self._scripted.named_modules(remove_duplicate=False):
            make_submodule(module, path)
        shared: dict[int, nn.Parameter] = {}
        for path, tensor in self._parameters.items():
            parameter = shared.setdefault(id(tensor), nn.Parameter(tensor.detach(), False))
            owner, _, name = path.rpartition(".")
            make_submodule(module, owner).register_parameter(name, parameter)
        for path, tensor in self._buffers.items():
            owner, _, name = path.rpartition(".")
            make_submodule(module, owner).register_buffer(name, tensor.detach())


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


class GraphReader:
    """Turns the nodes of one inlined graph into instructions."""

    def __init__(
        self, scripted: Any, records: dict[str, Callable[..., Any]], subject: str, narrowed: bool
    ) -> None:
        self.tensors = _ScriptTensors(scripted)
        self._scripted = scripted
        self._records = records
        self._subject = subject
        self._narrowed = narrowed
        self._objects: dict[str, tuple[str, Any]] = {}
        self._constants = 0

    def read(self, graph: Any) -> Block:
        """Read the whole graph; what always runs must be known."""
        self._objects[next(graph.inputs()).debugName()] = ("", self._scripted)
        block = self._block(graph)
        for instruction in block.instructions:
            if instruction.refusal:
                raise UnsupportedModelError(instruction.refusal)
        return block

    def _block(self, block: Any) -> Block:
        instructions = filter(None, [self._instruction(node) for node in block.nodes()])
        return Block(_names(block.inputs()), tuple(instructions), _names(block.outputs()))

    def _instruction(self, node: Any) -> Instruction | None:
        inputs, outputs = _names(node.inputs()), _names(node.outputs())
        match node.kind():
            case "prim::Constant":
                return self._constant(node, outputs)
            case "prim::GetAttr":
                return self._attribute(node, inputs[0], outputs)
            case "prim::If":
                yes, no = (self._block(block) for block in node.blocks())
                return Instruction(
                    lambda env, values: (yes if values[0] else no).run(env, []), inputs, outputs
                )
            case "prim::Loop":
                (body,) = node.blocks()
                return Instruction(_loop(self._block(body)), inputs, outputs)
            case "prim::isinstance":
                return self._type_test(node, outputs)
            case "prim::RaiseException":
                return Instruction(_raise_exception, inputs, ())
            case kind:
                return self._call(node, kind, inputs, outputs)

    def _constant(self, node: Any, outputs: tuple[str, ...]) -> Instruction:
        try:
            value = node.output().toIValue()
        except RuntimeError:
            return self._refusal(node)
        if not isinstance(value, torch.Tensor):
            return _literal(value, outputs)
        if value.dim() == 0:
            return _literal(value.item(), outputs)  # tracing has tensors for Python's numbers
        self._constants += 1
        path = self.tensors.path_of(value, f"constant_{self._constants}")
        return Instruction(_read_tensors([path], listed=False), (), outputs)

    def _attribute(self, node: Any, owner: str, outputs: tuple[str, ...]) -> Instruction | None:
        if owner not in self._objects:
            return self._refusal(node)
        path, value = self._objects[owner]
        name = node.s("name")
        path, value = f"{path}.{name}" if path else name, getattr(value, name)
        if isinstance(value, torch.jit.ScriptModule):
            self._objects[outputs[0]] = (path, value)
            return None
        if name == "training":
            return _literal(False, outputs)
        if isinstance(value, torch.Tensor):
            paths = [self.tensors.path_of(value, path)]
            return Instruction(_read_tensors(paths, listed=False), (), outputs)
        if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            paths = [self.tensors.path_of(t, f"{path}_{i}") for i, t in enumerate(value)]
            return Instruction(_read_tensors(paths, listed=True), (), outputs)
        if isinstance(value, torch.ScriptObject):
            return self._refusal(node)
        return _literal(value, outputs)

    def _type_test(self, node: Any, outputs: tuple[str, ...]) -> Instruction:
        """Answer isinstance from the static type of its argument, where that is one type."""
        type_ = node.input().type()
        if type_.kind() in ("AnyType", "OptionalType", "UnionType"):
            return self._refusal(node)
        return _literal(any(type_.isSubtypeOf(other) for other in node.tys("types")), outputs)

    def _call(
        self, node: Any, kind: str, inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> Instruction:
        if node.mustBeNone():
            return _literal(None, outputs)
        schema = _schema(node.schema())
        name = schema.overload_name if schema else ""
        arguments = [
            SchemaArgument(
                name=one.name,
                keyword=one.kwarg_only,
                tensor=str(one.type) in ("Tensor", "Optional[Tensor]"),
                narrowed=self._narrowed,
            )
            for one in (schema.arguments if schema else ())
        ]
        function = PYTHON_FUNCTIONS.get(f"{kind}.{name}") or PYTHON_FUNCTIONS.get(kind)
        if kind == "prim::TupleConstruct":
            function = self._records.get(node.output().type().annotation_str, function)
        if function is not None:
            spread = kind in ("prim::ListUnpack", "prim::TupleUnpack")
            return Instruction(call_python(function, arguments, spread), inputs, outputs)
        overload, scalar = _overload(kind, name), SCALAR_FUNCTIONS.get(kind)
        if schema is None or (overload is None and scalar is None):
            return self._refusal(node)
        refusal = self._refusal(node).refusal if overload is None else ""
        compute = call_operator(overload, scalar, arguments, len(outputs), refusal)
        return Instruction(compute, inputs, outputs)

    def _refusal(self, node: Any) -> Instruction:
        message = self._reason(node, _code_of(node))

        def refuse(*_: object) -> NoReturn:
            raise UnsupportedModelError(message)

        return Instruction(refuse, (), (), message)

    def _reason(self, node: Any, code: str) -> str:
        if node.kind() == "prim::SetAttr" and (parts := _stateless_parts(self._scripted)):
            listed = ", ".join(f"`{part}`" for part in parts)
            return (
                f"{self._subject} keeps what it carries from call to call in its attributes "
                f"(`{code}`), which a graph does not have. These parts of it do not: "
                f"{listed}. Export one of them, from Python: "
                f"edgernn.export_model(torch.jit.load(...).{parts[0]}, inputs=...)."
            )
        where = f", in `{code}`" if code else ""
        return (
            f"{self._subject} uses the TorchScript operator `{node.kind()}`{where}, which edgernn "
            "does not run. Export the model from its code: the nn.Module itself, or its "
            f"state_dict with {option('module', 'FILE.py:FACTORY')}."
        )


def _literal(value: Any, outputs: tuple[str, ...]) -> Instruction:
    """Give the same value in every run, a list as a new one."""
    return Instruction(lambda *_: (list(value) if type(value) is list else value,), (), outputs)


def _stateless_parts(scripted: Any) -> list[str]:
    """Return the paths of the outermost modules with weights whose forward sets no attribute."""
    found: list[str] = []
    for name, child in scripted.named_children():
        method = getattr(child, "forward", None)
        if method is None or next(child.parameters(), None) is None:
            continue
        if method.inlined_graph.findNode("prim::SetAttr") is None:
            found.append(name)
        else:
            found += [f"{name}.{path}" for path in _stateless_parts(child)]
    return found


def _names(values: Any) -> tuple[str, ...]:
    return tuple(value.debugName() for value in values)


def _code_of(node: Any) -> str:
    """Return the line of the model's code that `node` comes from, as far as the archive has it."""
    if node.kind() == "prim::SetAttr":
        return f"self.{node.s('name')} = ..."
    try:
        lines = node.sourceRange().splitlines()
    except RuntimeError:  # a damaged table of source lines
        return ""
    marks = [place for place, line in enumerate(lines) if "<--- HERE" in line]
    return lines[marks[0] - 1].strip() if marks and marks[0] else ""


@functools.cache
def _schema(text: str) -> Any:
    return None if text == "(no schema)" else torch._C.parse_schema(text)


def _overload(kind: str, name: str) -> Callable[..., Any] | None:
    if not computes(kind):
        return None
    namespace, _, operator_name = kind.partition("::")
    packet = getattr(getattr(torch.ops, namespace, None), operator_name, None)
    return getattr(packet, name or "default", None)
