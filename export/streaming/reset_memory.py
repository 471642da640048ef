"""Memory that earlier calls left on a module, reset to what it was before the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.capture.preserve_state import attributes_of, set_attribute
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.streaming.memory_probe import Call, MemoryProbe, same_results
from edgernn.export.streaming.overwritten_attributes import overwritten_attributes

__all__ = ["reset_memory", "reset_memory_with_guess"]


def reset_memory(module: nn.Module, example: ExampleCall) -> tuple[str, ...]:
    """Reset what earlier calls left on `module`, in place.

    An attribute that forward overwrites and that holds numbers becomes None, as before the first
    call, if forward takes that. Another one, and a buffer, keeps its value: the module starts from
    it.

    Returns:
        A note for each of them that changes what forward returns.
    """
    held = [name for name, value in attributes_of(module).items() if _holds_numbers(value)]
    names = _overwritten(module, example, held) if held else []
    if not names:
        return ()
    probe = MemoryProbe(module, names)
    alone = probe.try_call(example, {})
    for chosen in _resets(module, names):
        reset = probe.try_call(example, chosen)
        if reset is None:
            continue
        if alone is not None and same_results(alone, reset):
            return ()
        read = [name for name in chosen if _is_read(probe, example, alone, name, chosen)]
        for name, value in chosen.items():
            set_attribute(module, name, value)
        return tuple(
            f"`self.{name}` held what an earlier call had left; the graphs start without it."
            for name in read or chosen
        )
    return ()


def reset_memory_with_guess(module: nn.Module) -> tuple[str, ...]:
    """Reset memory as `reset_memory` does, with the first of the guessed calls that runs."""
    if not any(map(_holds_numbers, attributes_of(module).values())):
        return ()
    probe = MemoryProbe(module, ())
    for candidate in candidate_examples(module):
        notes = reset_memory(module, candidate)
        if notes or probe.try_call(candidate, {}) is not None:
            return notes
    return ()


def _resets(module: nn.Module, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield what the attributes may be reset to: all of them, then one of them."""
    buffers = {name for name, _ in module.named_buffers()}
    none: dict[str, Any] = dict.fromkeys(name for name in names if name not in buffers)
    if none:
        yield none
    yield from ({name: None} for name in none)


def _is_read(
    probe: MemoryProbe,
    example: ExampleCall,
    alone: Call | None,
    name: str,
    chosen: Mapping[str, Any],
) -> bool:
    """Return whether the reset of one attribute changes what forward returns, or lets it fail."""
    run = probe.try_call(example, {name: chosen[name]})
    return alone is None or run is None or not same_results(alone, run)


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
    run = MemoryProbe(module, names).try_call(example, dict.fromkeys(names))
    return [] if run is None else [name for name in names if run.after[name] is not None]
