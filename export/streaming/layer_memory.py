"""Memory that is nothing but the states of recurrent layers, and nothing at first.

    y, self.hidden = self.lstm(x, self.hidden)

Such a module is traced as it is: the states of its layers are ports anyway.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import attributes_of, same_content
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.streaming.attribute_leaves import leaves_of
from edgernn.export.streaming.find_memory import Memory
from edgernn.export.streaming.memory_probe import MemoryProbe

__all__ = ["is_layer_memory"]


def is_layer_memory(module: nn.Module, memory: Memory, example: ExampleCall) -> bool:
    """Return whether all memory is what layers end a call with, and nothing before the first call.

    Every layer is called once, keeps all its states, and starts from the initial value of each.
    """
    held = attributes_of(module)
    names = [name for name in memory.attributes if name in held]
    if any(True for name in names for _ in leaves_of(held[name], name)):
        return False
    calls: list[RecurrentCall] = []
    finals: list[torch.Tensor] = []

    def note(call: RecurrentCall, proceed: Any) -> Results:
        results: Results = proceed(call.states)
        calls.append(call)
        finals.extend(results[call.first_state :])
        return results

    run = MemoryProbe(module, memory.attributes).call(example, {}, lambda: RecurrentCallMode(note))
    starts = [state for call in calls for state in call.states]
    kept, layers = run.leaves, {id(call.layer) for call in calls}
    pairs = [
        (start, final, one.initial)
        for one in memory.tensors
        for start, final in zip(starts, finals, strict=True)
        if one.path in kept and same_content(torch.as_tensor(kept[one.path]), final)
    ]
    return (
        len(layers) == len(calls)
        and len(pairs) == len(starts) == len(memory.tensors)
        and all(same_content(start, first.expand_as(start)) for start, _, first in pairs)
    )
