"""Writes recurrent calls and loops as nodes of domain `torch`, while torch's exporter traces.

Each takes torch's own arguments: x, the states, the weights. The attribute `call` is the index of
the call in forward.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.onnx.ops import symbolic_multi_out

from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.packed_sequences import PaddedPacking
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.ir.operator_kinds import LOOP, TORCH

__all__ = ["write_recurrent_calls"]


def write_recurrent_calls(
    example: ExampleCall, tensors: Sequence[torch.Tensor]
) -> RecurrentCallMode:
    """Return a mode that writes each recurrent call as a node.

    Args:
        example: The call that is traced.
        tensors: Its tensors, as the tracer has them.
    """
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
