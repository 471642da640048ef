"""Read a torch.export archive as a module that takes every size its graph takes."""

from __future__ import annotations

import logging
import warnings
from inspect import Parameter, Signature
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from edgernn.errors import EdgernnError, SourceError
from edgernn.export.call.override_forward import subclass_with_forward
from edgernn.export.source.check_exported_archive import check_exported_archive
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, TRAINING_FLAGS, prepare_module
from edgernn.export.source.zip_archive import ZipArchive
from edgernn.untrusted_text import first_line

__all__ = ["ExportedModule", "read_exported"]


class ExportedModule(nn.Module):
    """The graph of a torch.export archive, run node by node.

    Argument names, dotted parameter names and the structure of the results are the archive's. The
    guards that pin its inputs to the sizes of its example are left out: whether the graph takes
    other sizes is found out by running it.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        source: Any = program.module(check_guards=False)
        for name, child in source.named_children():
            self.add_module(name, child)
        for name, parameter in source.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in source.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self._graph: fx.Graph = source.graph
        self._input_spec: pytree.TreeSpec = source._in_spec
        self._output_spec: pytree.TreeSpec = source._out_spec
        # constant tensors become buffers, so that they are converted like the weights
        for node in self._graph.nodes:
            if node.op == "get_attr" and "." not in node.target and not hasattr(self, node.target):
                value = getattr(source, node.target)
                if isinstance(value, torch.Tensor):
                    self.register_buffer(node.target, value.detach().clone())
                else:
                    setattr(self, node.target, value)

    def _run(self, bound: dict[str, Any]) -> Any:
        positional, keywords = self._input_spec.children()
        args = tuple(bound.values())[: positional.num_children]
        kwargs = {name: bound[name] for name in keywords.context}
        leaves, spec = pytree.tree_flatten((args, kwargs))
        if spec != self._input_spec:
            raise TypeError(
                f"The archive was exported for arguments of the structure {self._input_spec}; "
                f"these have the structure {spec}."
            )
        results = fx.Interpreter(self, graph=self._graph).run(*leaves, enable_io_processing=False)
        return pytree.tree_unflatten(results, self._output_spec)


def read_exported(path: Path, trust: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the model in the torch.export archive `path`, conformed, and notes.

    With `trust` torch opens it as it is, which runs what its maker wrote into it.

    Raises:
        SourceError: torch cannot read the archive, or it has something in it that runs code.
    """
    try:
        if trust:
            return _convert(_load(path))
        with ZipArchive(path, f"`{path}`") as archive:
            return _convert(_load(check_exported_archive(archive, f"`{path}`")))
    except EdgernnError:
        raise
    except Exception as error:  # a damaged archive fails in any way
        raise SourceError(
            f"`{path}` is a torch.export archive that torch {torch.__version__} cannot read: "
            f"{first_line(error)}. Export it again with this version of torch."
        ) from error


def _convert(program: ExportedProgram) -> tuple[nn.Module, tuple[str, ...]]:
    signature = _signature(program)

    def forward(self: ExportedModule, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        return self._run(dict(list(bound.arguments.items())[1:]))

    module = subclass_with_forward(ExportedModule, forward, signature)(program)
    narrowed = any(tensor.dtype in CONVERTED_DTYPES for tensor in program.state_dict.values())
    trained = ", ".join(_retarget(module._graph, narrowed))
    notes = prepare_module(module)
    if trained:
        notes += (f"The archive was exported in training mode; {trained} run in eval mode.",)
    return module, notes + _static_note(program)


def _load(archive: Path | BytesIO) -> ExportedProgram:
    # torch logs a warning besides the error that it raises.
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
            return torch.export.load(archive)
    finally:
        logger.setLevel(level)


def _signature(program: ExportedProgram) -> Signature:
    """Return forward's signature: an argument that was a constant at the export defaults to it."""
    assert program.call_spec.in_spec is not None
    positional, keywords = program.call_spec.in_spec.children()
    leaves = iter(_user_inputs(program))
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    kinds: list[Any] = [Parameter.POSITIONAL_OR_KEYWORD] * positional.num_children
    kinds += [Parameter.KEYWORD_ONLY] * keywords.num_children
    trees = [*positional.children(), *keywords.children()]
    unlifted: Any = program.module(check_guards=False)
    names = unlifted.graph._codegen.pytree_info.orig_args
    for name, kind, tree in zip(names, kinds, trees, strict=True):
        values = [next(leaves) for _ in range(tree.num_leaves)]
        constant = len(values) == 1 and isinstance(values[0], ConstantArgument)
        default = values[0].value if constant else Parameter.empty
        if kind is not Parameter.KEYWORD_ONLY and default is Parameter.empty:
            # Python allows no required argument after one with a default.
            parameters = [p.replace(default=Parameter.empty) for p in parameters]
        parameters.append(Parameter(name, kind, default=default))
    return Signature(parameters)


def _user_inputs(program: ExportedProgram) -> list[Any]:
    return [s.arg for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]


def _retarget(graph: fx.Graph, narrowed: bool) -> list[str]:
    """Rewrite `graph` for CPU and eval mode, and for float32 where its weights were narrowed.

    Returns:
        The operators that were in training mode.
    """
    trained: set[str] = set()
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is torch.ops.aten._assert_tensor_metadata.default or _counts_batches(node):
            graph.erase_node(node)
            continue
        schema = getattr(node.target, "_schema", None)
        if schema and _switch_to_eval(node, schema.arguments):
            trained.add(schema.name.removeprefix("aten::"))
        node.args = map_aggregate(node.args, lambda a: _converted_argument(a, narrowed))
        node.kwargs = map_aggregate(node.kwargs, lambda a: _converted_argument(a, narrowed))
    return sorted(trained)


def _counts_batches(node: fx.Node) -> bool:
    """Whether `node` is batch normalisation's count of training batches, which nothing reads."""
    counted = node.args[0] if node.args else None
    return (
        node.target is torch.ops.aten.add_.Tensor
        and not node.users
        and isinstance(counted, fx.Node)
        and str(counted.target).endswith("num_batches_tracked")
    )


def _switch_to_eval(node: fx.Node, arguments: list[Any]) -> bool:
    """Set the training flag of `node` to False; return whether it was True."""
    for place, (argument, value) in enumerate(zip(arguments, node.args, strict=False)):
        if argument.name in TRAINING_FLAGS and value is True:
            node.update_arg(place, False)
            return True
    return False


def _converted_argument(argument: Any, narrowed: bool) -> Any:
    if isinstance(argument, torch.device):
        return torch.device("cpu")
    return torch.float32 if narrowed and argument in CONVERTED_DTYPES else argument


def _static_note(program: ExportedProgram) -> tuple[str, ...]:
    """Say so where the archive declares constant sizes only."""
    inputs = {a.name for a in _user_inputs(program) if isinstance(a, TensorArgument)}
    shapes = {
        node.name: tuple(node.meta["val"].shape)
        for node in program.graph_module.graph.find_nodes(op="placeholder")
        if node.name in inputs and isinstance(node.meta.get("val"), torch.Tensor)
    }
    if any(not isinstance(size, int) for shape in shapes.values() for size in shape):
        return ()
    listed = ", ".join(f"{name}{list(shape)}" for name, shape in shapes.items())
    return (
        f"The archive was exported for {listed} alone: other sizes rest on its graph, not on the "
        "model's code.",
    )
