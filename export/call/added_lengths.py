"""Lengths for a model that has none: every recurrent layer ends each sequence at its own.

The model gets one more argument, `lengths`. Each of its recurrent layers then packs what it is
given and pads what it returns, as a forward written with `pack_padded_sequence` does.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from edgernn.contract import BATCH
from edgernn.errors import InputError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.call.override_forward import override_forward
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results

__all__ = ["LENGTHS", "add_example_lengths", "add_lengths_argument"]

LENGTHS = "lengths"
"""The name of the argument."""


_NO_LAYER = "it runs step by step, and only forward knows where that may end"


def add_lengths_argument(module: nn.Module) -> None:
    """Give forward of `module` the argument `lengths`, (batch,) int64, in place."""
    kind = type(module)
    signature = inspect.signature(kind.forward)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        lengths = kwargs.pop(LENGTHS)
        ended: list[RecurrentCall] = []

        def end(call: RecurrentCall, proceed: Any) -> Results:
            ended.append(call)
            return _packed(call, proceed, lengths)

        with RecurrentCallMode(end):
            result = kind.forward(self, *args, **kwargs)
        if not ended:
            raise InputError(_NO_LAYER)
        return result

    own = inspect.Parameter(LENGTHS, inspect.Parameter.KEYWORD_ONLY, annotation=torch.Tensor)
    parameters = [*signature.parameters.values(), own]
    override_forward(module, forward, signature.replace(parameters=parameters))


def add_example_lengths(module: nn.Module, example: ExampleCall) -> ExampleCall:
    """Return `example` with lengths as long as its sequences, where it has none.

    Raises:
        InputError: No input has an axis of sequences and one of steps, or forward runs cells.
    """
    if LENGTHS in example.kwargs:
        return example
    failure: Exception | None = None
    for leaf in example.tensors:
        if leaf.tensor.dim() < 2:
            continue
        for batch, steps in (leaf.tensor.shape[:2], leaf.tensor.shape[1::-1]):
            lengths = torch.full((batch,), steps)
            shapes = {**example.shapes, LENGTHS: (BATCH,)} if example.shapes else {}
            longer = replace(example, kwargs={**example.kwargs, LENGTHS: lengths}, shapes=shapes)
            try:
                run_forward(module, longer)
            except Exception as error:
                failure = error
                continue
            return longer
    reason = failure or "its inputs have no steps"
    raise InputError(f"`{type(module).__name__}` cannot be given lengths: {reason}.")


def _packed(call: RecurrentCall, proceed: Any, lengths: torch.Tensor) -> Results:
    """Run a layer's call on packed sequences and pad what it returns."""
    if call.is_cell:
        raise InputError(_NO_LAYER)
    packed = pack_padded_sequence(call.x, lengths, call.batch_first, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert back is not None
    states = [state.index_select(1, order) for state in call.states]
    hx = states if len(states) > 1 else states[0]
    settings = (call.bias, call.num_layers, 0.0, False, call.bidirectional)
    run = getattr(torch, call.function)
    data, *finals = run(packed.data, packed.batch_sizes, hx, list(call.weights), *settings)
    steps = call.x.shape[1 if call.batch_first else 0]
    y, _ = pad_packed_sequence(
        PackedSequence(data, packed.batch_sizes, order, back), call.batch_first, total_length=steps
    )
    return y, *(state.index_select(1, back) for state in finals)
