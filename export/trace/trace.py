"""From a torch module and an example call to ONNX IR.

Recurrent calls become one node each of domain `torch`, under the function's own name
(`torch::lstm`, `torch::gru_cell`), with torch's arguments: x, the states, the weights.
`lower/layers` turns them into ONNX operators after `states` has looked at where each state comes
from. torch's exporter writes everything around them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from functools import partial
from unittest import mock

import onnx_ir as ir
import torch
from torch import nn
from torch._export.non_strict_utils import _override_builtin_ops
from torch.export import Dim, ExportedProgram
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.crop import lower_crops
from edgernn.export.capture.exporter_fixes import patch_len
from edgernn.export.capture.packed_sequences import unchecked_layers
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.ir.fold_constants import OPSET, fold_constants, silence_exporters
from edgernn.export.ir.gelu import reorder_gelu
from edgernn.export.ir.symbolic_dims import rename_axes, write_readable
from edgernn.export.ir.value_ports import result_name
from edgernn.export.trace.bounds import attach_bounds
from edgernn.export.trace.explain_failure import explain_failure
from edgernn.export.trace.export_forward import export_forward, result_paths
from edgernn.export.trace.write_recurrent_calls import write_recurrent_calls

__all__ = ["trace"]

_onnx_functions = staticmethod(functools.cache(ONNXRegistry.from_torchlib))


def trace(module: nn.Module, example: ExampleCall, source: nn.Module | None = None) -> ir.Model:
    """Trace one forward of `module` into ONNX IR of opset 18.

    The graph's inputs are named by their paths in the arguments (`x`, `hx[0]`), its outputs by
    `result:` and their paths in the result (`result:[1][0]`), in that order. Dynamic axes carry
    the names that `example.shapes` gives them. `bounds_of` tells for which of their sizes the graph
    is the model.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
        source: The model as its author wrote it, whose lines messages name, where `module` was
            made from it.

    Raises:
        UnsupportedModelError: torch cannot trace the module, or not with these dynamic axes.
    """
    with silence_exporters(), preserve_state(module):
        try:
            program, model = _export(module, example)
        except UnsupportedModelError:
            raise
        except Exception as error:
            message = explain_failure(source or module, example, error)
            raise UnsupportedModelError(message) from error
        _correct_exported(model)
    attach_bounds(model, program, example)
    _name_inputs(model, example)
    _name_outputs(model, result_paths(program))
    return model


def _export(module: nn.Module, example: ExampleCall) -> tuple[ExportedProgram, ir.Model]:
    """Return forward in torch.export's graph, and in that of torch's ONNX exporter.

    Raises:
        Exception: torch cannot export it.
    """
    with unchecked_layers(), patch_len(module), _cache_onnx_registry():
        program = export_forward(
            module, example, partial(write_recurrent_calls, example), lambda _: Dim.DYNAMIC
        )
        with _override_builtin_ops():  # torch's check of guards takes min() of sizes
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, optimize=False, verbose=False
            )
    assert exported is not None
    return program, exported.model


@contextlib.contextmanager
def _cache_onnx_registry() -> Iterator[None]:
    """Let `torch.onnx.export` reuse the table of ONNX functions of its first call.

    Otherwise it makes one at every call and parses the source of some 500 functions for it, which
    takes longer than the export of a small model.
    """
    with mock.patch.object(ONNXRegistry, "from_torchlib", _onnx_functions):
        yield


def _correct_exported(model: ir.Model) -> None:
    """Rewrite what runtimes do not take as torch's exporter writes it, in place."""
    lower_crops(model)
    write_readable(model)
    fold_constants(model)
    reorder_gelu(model)


def _name_inputs(model: ir.Model, example: ExampleCall) -> None:
    """Name inputs and dynamic axes after the example's."""
    symbols: dict[str, str] = {}
    for port, leaf in zip(model.graph.inputs, example.tensors, strict=True):
        port.name = leaf.path
        for dim, size in zip(port.shape or (), leaf.shape, strict=True):
            if isinstance(dim, ir.SymbolicDim) and isinstance(size, str) and size.isidentifier():
                symbols[str(dim.value)] = size
    rename_axes(model, symbols)


def _name_outputs(model: ir.Model, paths: Sequence[str]) -> None:
    """Name outputs after their paths in the result; each has a value of its own then."""
    outputs = model.graph.outputs
    for index, path in enumerate(paths):
        value = outputs[index]
        if value.is_graph_input() or value in list(outputs)[:index]:
            copy = ir.node("Identity", [value])
            model.graph.append(copy)
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            outputs[index] = value = copy.outputs[0]
        value.name = result_name(path)
