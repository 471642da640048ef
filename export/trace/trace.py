"""From a torch module and an example call to ONNX IR.

Recurrent calls become one node each of domain `torch`, under the function's own name
(`torch::lstm`, `torch::gru_cell`), with torch's arguments: x, the states, the weights.
`layers.lower` turns them into ONNX operators after `states` has looked at where each state comes
from. Everything around them goes through torch's exporter as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch._export.non_strict_utils import _override_builtin_ops
from torch.onnx.ops import symbolic_multi_out

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.crop import lower_crops
from edgernn.export.capture.packed_sequences import PaddedPacking, unchecked_layers
from edgernn.export.capture.patch_len import patch_len
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.ir.fold_constants import OPSET, fold_constants, silence_exporters
from edgernn.export.ir.gelu import reorder_gelu
from edgernn.export.ir.private_operators import LOOP, TORCH
from edgernn.export.ir.results import result_name
from edgernn.export.ir.symbolic_dims import rename_axes, write_readable
from edgernn.export.trace.bounds import note_bounds
from edgernn.export.trace.explain_failure import explain_failure
from edgernn.export.trace.flat_module import Flat
from edgernn.export.trace.onnx_registry import one_registry

__all__ = ["trace"]


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
    paths: list[str] = []
    wrapper = Flat(module, example, paths.extend, partial(_writing_nodes, example))
    dynamic = tuple(
        {
            axis: torch.export.Dim.DYNAMIC
            for axis, size in enumerate(leaf.shape)
            if isinstance(size, str)
        }
        for leaf in example.tensors
    )
    tensors = tuple(leaf.tensor.clone() for leaf in example.tensors)  # torch joins what is one
    with (
        silence_exporters(),
        preserve_state(module),
        unchecked_layers(),
        patch_len(module),
        one_registry(),
    ):
        try:
            program = torch.export.export(wrapper, tensors, dynamic_shapes=(dynamic,), strict=False)
            with _override_builtin_ops():  # torch's check of guards takes min() of sizes
                exported = torch.onnx.export(
                    program, dynamo=True, opset_version=OPSET, optimize=False, verbose=False
                )
        except UnsupportedModelError:
            raise
        except Exception as error:
            message = explain_failure(source or module, example, error)
            raise UnsupportedModelError(message) from error
        assert exported is not None
        model = exported.model
        lower_crops(model)
        write_readable(model)
        fold_constants(model)
    note_bounds(model, program, example)
    reorder_gelu(model)
    _name_ports(model, example, paths[: len(model.graph.outputs)])
    return model


def _writing_nodes(example: ExampleCall, tensors: Sequence[torch.Tensor]) -> RecurrentCallMode:
    order, packing = itertools.count(), PaddedPacking()
    leaves = list(zip(example.tensors, tensors, strict=True))
    steps = [x.shape[leaf.shape.index(SEQUENCE)] for leaf, x in leaves if SEQUENCE in leaf.shape]
    for leaf, tensor in leaves:
        if leaf.path in example.lengths:
            packing.counts.watch(tensor, steps[0] if steps else int(leaf.tensor.max()))
    return RecurrentCallMode(lambda call, _: _node(call, next(order), packing), packing)


def _node(call: RecurrentCall, order: int, packing: PaddedPacking) -> Results:
    """Write one recurrent call as a node; a packed one has the lengths as its last input."""
    if call.loop is not None:
        return _loop_node(call, order)
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


def _loop_node(call: RecurrentCall, order: int) -> Results:
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


def _name_ports(model: ir.Model, example: ExampleCall, results: Sequence[str]) -> None:
    """Name inputs, outputs and dynamic axes after the example's."""
    symbols: dict[str, str] = {}
    for port, leaf in zip(model.graph.inputs, example.tensors, strict=True):
        port.name = leaf.path
        for dim, size in zip(port.shape or (), leaf.shape, strict=True):
            if isinstance(dim, ir.SymbolicDim) and isinstance(size, str) and size.isidentifier():
                symbols[str(dim.value)] = size
    for place, path in enumerate(results):
        value = model.graph.outputs[place]
        if value.is_graph_input() or value in list(model.graph.outputs)[:place]:
            copy = ir.node("Identity", [value])
            model.graph.append(copy)
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            model.graph.outputs[place] = value = copy.outputs[0]
        value.name = result_name(path)
    rename_axes(model, symbols)
