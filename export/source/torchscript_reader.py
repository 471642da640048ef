"""The graph of a scripted forward, turned into instructions that Python runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.source.allowed_operators import computes
from edgernn.export.source.prepare_module import make_submodule
from edgernn.export.source.torchscript_operators import PYTHON_FUNCTIONS, SCALAR_FUNCTIONS
from edgernn.export.source.torchscript_program import (
    Block,
    Instruction,
    SchemaArgument,
    call_operator,
    call_python,
    loop,
    raise_exception,
    read_tensors,
    refuse,
    select_block,
)

__all__ = ["GraphReader"]


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
            if path:
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

    def __init__(self, scripted: Any, records: dict[str, Callable[..., Any]], subject: str) -> None:
        self.tensors = _ScriptTensors(scripted)
        self._scripted = scripted
        self._records = records
        self._subject = subject
        self._objects: dict[str, tuple[str, Any]] = {}
        self._constants = 0

    def read(self, graph: Any) -> Block:
        """Read the whole graph; what always runs must be known."""
        inputs = tuple(value.debugName() for value in graph.inputs())
        self._objects[inputs[0]] = ("", self._scripted)
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
                return Instruction(select_block(yes, no), inputs, outputs)
            case "prim::Loop":
                (body,) = node.blocks()
                return Instruction(loop(self._block(body)), inputs, outputs)
            case "prim::isinstance":
                return self._type_test(node, outputs)
            case "prim::RaiseException":
                return Instruction(raise_exception, inputs, ())
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
        return Instruction(read_tensors([path], listed=False), (), outputs)

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
            return Instruction(read_tensors(paths, listed=False), (), outputs)
        if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            paths = [self.tensors.path_of(t, f"{path}_{i}") for i, t in enumerate(value)]
            return Instruction(read_tensors(paths, listed=True), (), outputs)
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
        overload = schema.overload_name if schema else ""
        arguments = [_argument(one) for one in schema.arguments] if schema else []
        function = PYTHON_FUNCTIONS.get(f"{kind}.{overload}") or PYTHON_FUNCTIONS.get(kind)
        if kind == "prim::TupleConstruct":
            function = self._records.get(node.output().type().annotation_str, function)
        if function is not None:
            spread = kind in ("prim::ListUnpack", "prim::TupleUnpack")
            return Instruction(call_python(function, arguments, spread), inputs, outputs)
        operator, scalar = _operator(kind, overload), SCALAR_FUNCTIONS.get(kind)
        if schema is None or (operator is None and scalar is None):
            return self._refusal(node)
        refusal = self._refusal(node).refusal if operator is None else ""
        compute = call_operator(operator, scalar, arguments, len(outputs), refusal)
        return Instruction(compute, inputs, outputs)

    def _refusal(self, node: Any) -> Instruction:
        message = self._reason(node, _code_of(node))
        return Instruction(refuse(message), (), (), message)

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
            "state_dict with --module FILE.py:FACTORY."
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


def _argument(argument: Any) -> SchemaArgument:
    tensor = str(argument.type) in ("Tensor", "Optional[Tensor]")
    return SchemaArgument(argument.name, argument.kwarg_only, tensor)


def _operator(kind: str, overload: str) -> Callable[..., Any] | None:
    if not computes(kind):
        return None
    namespace, _, name = kind.partition("::")
    packet = getattr(getattr(torch.ops, namespace, None), name, None)
    return getattr(packet, overload or "default", None)
