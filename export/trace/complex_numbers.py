"""Complex numbers of forward as pairs of real tensors, since ONNX has no complex dtype.

torch.export follows complex tensors as they are. Its graph runs again here, node by node, with a
pair of real tensors in place of each complex one, and torch.export follows that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.utils._pytree import tree_any

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.complex_operators import complex_rule
from edgernn.export.trace.export_forward import check_derived_axes, result_paths
from edgernn.export.trace.fourier_transforms import FOURIER_TRANSFORMS
from edgernn.export.trace.pairs import Pair, Rule, UnsupportedForm, real_dtype

__all__ = ["ComplexNumbersError", "PairsOfReals", "has_complex_numbers"]

_LOOP = (
    "takes complex numbers through a loop over time, and states are real. Let the loop take the "
    "real and the imaginary part as two tensors."
)


class ComplexNumbersError(Exception):
    """When complex numbers cannot be pairs of reals.

    Args:
        operator: The operator that has no form for pairs; empty where it is not an operator.
        what: What forward does that has no form, as a sentence that follows "forward", with
            `{at}` where it names the line.
    """

    def __init__(self, operator: str, what: str) -> None:
        super().__init__(f"forward {what.format(at='')}")
        self.operator = operator
        self.what = what


def has_complex_numbers(program: ExportedProgram) -> bool:
    """Return whether a graph computes with complex numbers, or Fourier transforms."""
    return any(
        _name(node.target) in FOURIER_TRANSFORMS or tree_any(_is_complex, node.meta.get("val"))
        for node in program.graph.nodes
    )


class PairsOfReals(nn.Module):
    """A graph of torch.export, with pairs of reals in place of complex numbers.

    Args:
        program: The graph of one call of forward.
        example: The call.

    Raises:
        ComplexNumbersError: A result is complex.
    """

    def __init__(self, program: ExportedProgram, example: ExampleCall) -> None:
        super().__init__()
        _refuse_complex_results(program)
        # pairs share no memory with what they are made of: nothing may be written in place
        graph = program.run_decompositions({}).module(check_guards=False)
        constants = dict(_complex_constants(graph))
        # weights keep their names, which layers are named after
        self.module = graph._modules.get("module")
        self._interpreter = _PairInterpreter(graph, constants)
        self._example = example

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Run the graph.

        Raises:
            ComplexNumbersError: An operator has no form for pairs.
        """
        check_derived_axes(self._example, tensors)
        return self._interpreter.run(*tensors)


class _PairInterpreter(fx.Interpreter):
    """Runs a graph on pairs."""

    def __init__(self, graph: fx.GraphModule, constants: Mapping[str, Pair]) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self._constants = constants
        self._real_views: dict[int, tuple[torch.Tensor, Pair]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        if n.op == "get_attr" and n.target in self._constants:
            return self._constants[str(n.target)]
        if not isinstance(n.target, OpOverload):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if (part := self._selected_part(n, args)) is not None:
            return part
        declared = n.meta.get("val")
        if not (
            _name(n.target) in FOURIER_TRANSFORMS
            or tree_any(_is_complex, declared)
            or tree_any(_is_pair, (args, kwargs))
        ):
            return super().run_node(n)
        with self._set_current_node(n):
            result = self._run_on_pairs(n, args, kwargs)
        if _name(n.target) == "view_as_real":
            self._real_views[id(result)] = result, args[0]
        return _as_declared(result, declared)

    def _run_on_pairs(self, node: fx.Node, args: Any, kwargs: Mapping[str, Any]) -> Any:
        name = _name(node.target)
        if name == "_symbolic_multi_out":
            raise ComplexNumbersError("", _LOOP)
        rule: Rule | None
        if name in FOURIER_TRANSFORMS:
            rule = FOURIER_TRANSFORMS[name]
            names = [one.name for one in node.target._schema.arguments]  # type: ignore[union-attr]
            kwargs = {**dict(zip(names[1:], args[1:], strict=False)), **kwargs}
            args = args[:1]
        else:
            rule = complex_rule(node.target, name)
        if rule is None:
            raise ComplexNumbersError(
                name,
                f"computes with complex numbers{{at}}, of which `{name}` has no ONNX form. Compute "
                "with the real and the imaginary part as two real tensors, or leave that line to "
                "the caller.",
            )
        try:
            return rule(*args, **kwargs)
        except UnsupportedForm as error:
            raise ComplexNumbersError(name, f"calls `{name}`{{at}} {error}") from error

    def _selected_part(self, node: fx.Node, args: Any) -> torch.Tensor | None:
        """Return the part that a node takes of a pair that was viewed as real, as `z.real` does."""
        if _name(node.target) != "select" or id(args[0]) not in self._real_views:
            return None
        stacked, pair = self._real_views[id(args[0])]
        if args[1] % stacked.dim() != stacked.dim() - 1:
            return None
        return (pair.real, pair.imag)[args[2]]


def _as_declared(result: Any, declared: Any) -> Any:
    """Return results of the dtypes that the graph has for them."""
    if isinstance(result, (tuple, list)):
        return [_as_declared(*both) for both in zip(result, declared, strict=True)]
    if isinstance(result, Pair):
        return Pair(_as_declared(result.real, declared), _as_declared(result.imag, declared))
    if isinstance(result, torch.Tensor) and result.dtype != real_dtype(declared.dtype):
        return result.to(real_dtype(declared.dtype))
    return result


def _complex_constants(graph: fx.GraphModule) -> Iterator[tuple[str, Pair]]:
    """Yield the complex parameters and buffers of a graph by name, and take them out of it."""
    for name in {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}:
        path, _, attribute = name.rpartition(".")
        owner = graph.get_submodule(path)
        value = getattr(owner, attribute)
        if _is_complex(value):
            yield name, Pair(value.detach().real.clone(), value.detach().imag.clone())
            delattr(owner, attribute)


def _refuse_complex_results(program: ExportedProgram) -> None:
    results = next(node for node in program.graph.nodes if node.op == "output").args[0]
    for path, node in zip(result_paths(program), results, strict=True):
        if _is_complex(node.meta["val"]):
            named = f" as `{path}`" if path else ""
            raise ComplexNumbersError(
                "",
                f"returns complex numbers{named}, which ONNX does not have. Return "
                "`torch.view_as_real(z)`, whose last axis has the real and the imaginary part.",
            )


def _name(target: Any) -> str:
    """Return the name of an operator without its overload."""
    return target.overloadpacket.__name__ if isinstance(target, OpOverload) else ""


def _is_complex(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()


def _is_pair(value: Any) -> bool:
    return isinstance(value, Pair)
