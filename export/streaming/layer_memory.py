"""Memory that is nothing but the states of recurrent layers, and nothing at first.

    y, self.hidden = self.lstm(x, self.hidden)

Such a module is traced as it is: the states of its layers are ports anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import attributes_of, same_content
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.streaming.attribute_leaves import leaves_of
from edgernn.export.streaming.find_memory import Memory
from edgernn.export.streaming.memory_probe import Call, MemoryProbe, Values, vary

__all__ = ["is_layer_memory"]


def is_layer_memory(module: nn.Module, memory: Memory, example: ExampleCall) -> bool:
    """Return whether all memory is what layers end a call with, and nothing before the first call.

    Every layer is called once and keeps all its states; its first call starts from the initial
    value of each, and the next one from what the first left, whatever the data.
    """
    held = attributes_of(module)
    names = [name for name in memory.attributes if name in held]
    if any(True for name in names for _ in leaves_of(held[name], name)):
        return False
    probe = MemoryProbe(module, [*memory.values])
    first = _record(probe, example, {})
    second = _record(probe, vary(module, example, 1), first.call.after)
    kept = first.call.leaves
    pairs = [
        (start, later, one.initial)
        for one in memory.tensors
        for start, later, final in zip(first.starts, second.starts, first.finals, strict=True)
        if one.path in kept and same_content(torch.as_tensor(kept[one.path]), final)
        if same_content(final, later)
    ]
    return (
        first.is_each_layer_once
        and len(pairs) == len(first.starts) == len(memory.tensors)
        and all(same_content(start, initial.expand_as(start)) for start, _, initial in pairs)
    )


@dataclass(frozen=True)
class _RecordedCall:
    """One call of forward, with the states that its layers started from and those that they left.

    Attributes:
        call: The call.
        starts: The states that its recurrent calls started from, in order.
        finals: The states that they left.
        is_each_layer_once: Whether no layer is called twice.
    """

    call: Call
    starts: tuple[torch.Tensor, ...]
    finals: tuple[torch.Tensor, ...]
    is_each_layer_once: bool


def _record(probe: MemoryProbe, example: ExampleCall, values: Values) -> _RecordedCall:
    calls: list[RecurrentCall] = []
    starts: list[torch.Tensor] = []
    finals: list[torch.Tensor] = []

    def note(call: RecurrentCall, proceed: Any) -> Results:
        starts.extend(state.clone() for state in call.states)  # forward may write into its own
        results: Results = proceed(call.states)
        calls.append(call)
        finals.extend(state.clone() for state in results[call.first_state :])
        return results

    call = probe.call(example, values, lambda: RecurrentCallMode(note))
    layers = {id(one.layer) for one in calls}
    return _RecordedCall(call, tuple(starts), tuple(finals), len(layers) == len(calls))
