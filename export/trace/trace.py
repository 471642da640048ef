"""From a torch module and an example call to ONNX IR.

Recurrent calls become one node each of domain `torch`, under the function's own name
(`torch::lstm`, `torch::gru_cell`), with torch's arguments: x, the states, the weights. Their
attribute `call` is the index of the call in forward. `lower/layers` turns them into ONNX operators
after `states` has looked at where each state comes from. torch's exporter writes everything around
them.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch._export.non_strict_utils import _override_builtin_ops
from torch.export import Dim, ExportedProgram
from torch.onnx.ops import symbolic_multi_out

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.exporter_fixes import lower_crops, patch_len
from edgernn.export.capture.packed_sequences import PaddedPacking, unchecked_layers
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.ir.fold_constants import OPSET, fold_constants, silence_exporters
from edgernn.export.ir.gelu import reorder_gelu
from edgernn.export.ir.graph_names import result_name
from edgernn.export.ir.operator_kinds import LOOP, TORCH
from edgernn.export.ir.symbolic_dims import rename_axes, write_readable
from edgernn.export.trace.bounds import attach_bounds
from edgernn.export.trace.complex_numbers import PairsOfReals, has_complex_numbers
from edgernn.export.trace.explain_failure import explain_failure
from edgernn.export.trace.export_forward import export_forward, export_function, result_paths
from edgernn.export.trace.exporter_tables import kept_tables

__all__ = ["trace"]

_LOG = logging.getLogger("edgernn.export")


def trace(module: nn.Module, example: ExampleCall, source: nn.Module | None = None) -> ir.Model:
    """Trace one forward of `module` into ONNX IR of opset 18.

    The graph's inputs are named by their paths in the arguments (`x`, `hx[0]`), its outputs by
    `result:` and their paths in the result (`result:[1][0]`), in that order. Dynamic axes carry
    the names that `example.shapes` gives them. `bounds_of` tells for which of their sizes the graph
    is the model. Messages name lines of `source`, the model as its author wrote it, where `module`
    was made from it.

    Raises:
        UnsupportedModelError: torch cannot trace the module, or not with these dynamic axes.
    """
    _LOG.info("tracing forward")
    with silence_exporters(), preserve_state(module):
        try:
            programs, model = _export(module, example)
        except UnsupportedModelError:
            raise
        except Exception as error:
            message = explain_failure(source or module, example, error)
            raise UnsupportedModelError(message) from error
        # what runtimes do not take as torch's exporter writes it
        lower_crops(model)
        write_readable(model)
        fold_constants(model)
        reorder_gelu(model)
    attach_bounds(model, programs, example)
    _name_inputs(model, example)
    _name_outputs(model, result_paths(programs[0]))
    return model


def _export(module: nn.Module, example: ExampleCall) -> tuple[list[ExportedProgram], ir.Model]:
    """Return forward in torch.export's graphs, and in that of torch's ONNX exporter.

    Where it has complex numbers, the last of torch.export's graphs has pairs of reals instead.
    """
    with unchecked_layers(), patch_len(module), kept_tables():
        mode = partial(_write_recurrent_calls, example)
        programs = [export_forward(module, example, mode, _dynamic)]
        if has_complex_numbers(programs[0]):
            pairs = PairsOfReals(programs[0], example)
            programs.append(export_function(pairs, example, _dynamic))
        with _override_builtin_ops():  # torch's check of guards takes min() of sizes
            exported = torch.onnx.export(
                programs[-1], dynamo=True, opset_version=OPSET, optimize=False, verbose=False
            )
    assert exported is not None
    return programs, exported.model


def _dynamic(_: str) -> Any:
    return Dim.DYNAMIC


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


def _write_recurrent_calls(
    example: ExampleCall, tensors: Sequence[torch.Tensor]
) -> RecurrentCallMode:
    """Return a mode that writes each recurrent call as a node, given the tracer's tensors."""
    order, packing = itertools.count(), PaddedPacking()
    arguments = list(zip(example.tensors, tensors, strict=True))
    steps = [x.shape[leaf.shape.index(SEQUENCE)] for leaf, x in arguments if SEQUENCE in leaf.shape]
    for leaf, tensor in arguments:
        if leaf.path in example.lengths:
            packing.length_values.track(tensor, steps[0] if steps else int(leaf.tensor.max()))
    return RecurrentCallMode(lambda call, _: _write_node(call, next(order), packing), packing)


def _write_node(call: RecurrentCall, order: int, packing: PaddedPacking) -> Results:
    """Write one recurrent call as a node; a packed one has the lengths as its last input."""
    if call.loop is not None:
        return _write_loop(call, order)
    x = call.x
    lengths: tuple[torch.Tensor, ...] = ()
    if call.batch_sizes is not None:
        lengths = (packing.lengths(call.batch_sizes),)
        x = x.reshape(*packing.steps(call.batch_sizes), x.shape[-1])
    attributes: dict[str, Any] = {
        "call": order,
        "bias": int(call.bias),
        "num_layers": call.num_layers,
        "bidirectional": int(call.bidirectional),
        "batch_first": int(call.batch_first),
        "packed": len(lengths),
    }
    shapes: list[Sequence[Any]] = [state.shape for state in call.states]
    if not call.is_cell:
        width = call.states[0].shape[-1] * (2 if call.bidirectional else 1)
        shapes.insert(0, (*x.shape[:-1], width))
    results = symbolic_multi_out(
        f"{TORCH}::{call.function}",
        (x, *call.states, *call.weights, *lengths),
        attributes,
        dtypes=[x.dtype] * len(shapes),
        shapes=shapes,
        version=1,
    )
    if lengths:
        return results[0].reshape(*call.x.shape[:-1], shapes[0][-1]), *results[1:]
    return tuple(results)


def _write_loop(call: RecurrentCall, order: int) -> Results:
    """Write a loop over time as a node, with its sequences, its states and its constants."""
    loop, operands = call.loop, call.operands
    assert loop is not None
    assert operands is not None
    steps = operands.sequences[0].shape[loop.axes[0]]
    once = loop.results(operands)
    collected = [(steps, *one.shape) for one in once[loop.states :]]
    results = symbolic_multi_out(
        f"{TORCH}::{LOOP}",
        (*operands.sequences, *operands.states, *operands.constants),
        {"call": order, "sequences": len(operands.sequences), "states": loop.states},
        dtypes=[one.dtype for one in once],
        shapes=[*(one.shape for one in once[: loop.states]), *collected],
        version=1,
    )
    return tuple(results)
