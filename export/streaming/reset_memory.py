"""Memory that earlier calls left on a module, reset to what it was before the first call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.capture.preserve_state import attributes_of, preserve_state, set_attribute
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.streaming.hidden_memory import overwritten_attributes
from edgernn.export.streaming.recorded_run import record_run, try_run

__all__ = ["reset_memory", "reset_memory_with_guess"]


def reset_memory(module: nn.Module, example: ExampleCall) -> tuple[str, ...]:
    """Reset what earlier calls left on `module`, in place.

    An attribute that forward overwrites and that holds numbers becomes None, as before the first
    call, or zeros where forward does not take that; so do buffers.

    Returns:
        A note for each of them that changes what forward returns.
    """
    held = [name for name, value in attributes_of(module).items() if _holds_numbers(value)]
    names = _overwritten(module, example, held) if held else []
    if not names:
        return ()
    values = attributes_of(module)
    zeros = {n: map_tensors(lambda _, one: torch.zeros_like(one), values[n]) for n in names}
    buffers = {name for name, _ in module.named_buffers()}
    none = {name: zeros[name] if name in buffers else None for name in names}
    chosen = next((one for one in (none, zeros) if try_run(module, example, one) is not None), None)
    if chosen is None:
        return ()
    alone = try_run(module, example)
    reset = try_run(module, example, chosen)
    if alone is not None and (reset is None or alone.same_results(reset)):
        return ()
    runs = {name: try_run(module, example, {name: chosen[name]}) for name in names}
    read = [
        name
        for name, run in runs.items()
        if alone is None or run is None or not alone.same_results(run)
    ]
    for name, value in chosen.items():
        set_attribute(module, name, value)
    return tuple(
        f"`self.{name}` held what an earlier call had left; the graphs start without it."
        for name in read or names
    )


def reset_memory_with_guess(module: nn.Module) -> tuple[str, ...]:
    """Reset memory as `reset_memory` does, with the first of the guessed calls that runs."""
    if not any(map(_holds_numbers, attributes_of(module).values())):
        return ()
    for candidate in candidate_examples(module):
        notes = reset_memory(module, candidate)
        if notes or try_run(module, candidate) is not None:
            return notes
    return ()


def _holds_numbers(value: Any) -> bool:
    return not isinstance(value, nn.Parameter) and any(
        tensor.is_floating_point() and bool(tensor.any()) and not isinstance(tensor, nn.Parameter)
        for _, tensor in tensor_leaves(value)
    )


def _overwritten(module: nn.Module, example: ExampleCall, held: Sequence[str]) -> list[str]:
    """Return the attributes of `held` that forward overwrites, if need be once it has none."""
    try:
        return [name for name in overwritten_attributes(module, example) if name in held]
    except UnsupportedModelError:
        raise
    except Exception:
        buffers = {name for name, _ in module.named_buffers()}
    names = [name for name in held if name not in buffers]
    with torch.no_grad(), preserve_state(module):
        for name in names:
            set_attribute(module, name, None)
        try:
            record_run(module, example)
        except Exception:
            return []
        after = attributes_of(module)
        return [name for name in names if after[name] is not None]
