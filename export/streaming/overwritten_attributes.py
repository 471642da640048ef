"""The attributes and buffers that forward gives new values."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_quietly
from edgernn.export.capture.preserve_state import (
    attributes_of,
    preserve_state,
    same_content,
    same_value,
    snapshot,
)
from edgernn.export.streaming.refused_memory import memory_refusal

__all__ = ["overwritten_attributes"]


def overwritten_attributes(module: nn.Module, *examples: ExampleCall) -> list[str]:
    """Return the paths of the attributes and buffers that calls in a row give other values.

    Raises:
        UnsupportedModelError: Parameters are among them.
    """
    before = {name: snapshot(value) for name, value in attributes_of(module).items()}
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch.no_grad(), preserve_state(module):
        found: dict[str, None] = {}
        for example in examples:
            run_quietly(module, example)
            after = {name: snapshot(value) for name, value in attributes_of(module).items()}
            names = dict.fromkeys((*before, *after))
            changed = (n for n in names if not same_value(before.get(n), after.get(n)))
            found |= dict.fromkeys(changed)
    written = [n for n, weight in module.named_parameters() if not same_content(weight, weights[n])]
    if written:
        raise memory_refusal(module, written, "it is a weight")
    return list(found)
