"""Memory of a module that is not a state of its graphs, found by running it and refused by name."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.argument_names import LENGTH_NAMES
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import (
    attributes_of,
    preserve_state,
    same_content,
    same_value,
    snapshot,
)
from edgernn.export.streaming.recorded_run import (
    RecordedRun,
    record_alone,
    record_run,
    same_tensors,
    try_run,
)
from edgernn.option_names import option

__all__ = ["check_memory_is_state", "overwritten_attributes", "refuse_hidden_memory"]

_CALLS = 3
_COUNTED_CALLS = 12
_LATER = (16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024, 10_000, 100_000)


def refuse_hidden_memory(module: nn.Module, example: ExampleCall) -> None:
    """Refuse a module whose forward reads what an earlier call left, but for recurrent states.

    Calls in a row are compared with single ones from what the module came with. What differs is
    memory. If the only difference is the initial state of recurrent calls, and it equals the final
    state of the previous call, it becomes a state of the graphs. A counter that nobody reads and a
    cache that changes no result are not memory.

    Raises:
        UnsupportedModelError: There is other memory; it names the attributes.
    """
    changed = overwritten_attributes(module, example)
    if not changed:
        return
    counters = [name for name, values in changed.items() if _counts_calls(values[1])]
    data = [_vary(module, example, seed) for seed in range(_COUNTED_CALLS if counters else _CALLS)]
    alone = [record_alone(module, one) for one in data]
    with torch.no_grad(), preserve_state(module):
        in_a_row = [record_run(module, one) for one in data]
    if all(map(RecordedRun.same_results, in_a_row, alone)):
        if names := [n for n in counters if _reads_count(module, example, n, *changed[n])]:
            raise _refusal(module, names)
    elif (found := _first_difference(module, changed, data, alone)) is not None:
        index, values = found
        one, single = data[index], alone[index]
        names = [name for name in values if _reads(module, one, single, name, values[name])]
        raise _refusal(module, names or sorted(changed))
    elif not _carries_states(in_a_row[0], in_a_row[1], alone[1]):
        raise _refusal(module, sorted(changed))


def check_memory_is_state(module: nn.Module, example: ExampleCall, calls: Collection[int]) -> None:
    """Refuse a module whose memory is not among the states of its graphs.

    At sizes that forward does not take nothing is checked. `calls` are the places of the recurrent
    calls whose states the graphs have as their own.

    Raises:
        UnsupportedModelError: There is such memory; it names the attributes.
    """
    alone = try_run(module, example)
    changed = {} if alone is None else overwritten_attributes(module, example)
    if alone is None or not changed:
        return
    with torch.no_grad(), preserve_state(module):
        record_run(module, example)
        second = record_run(module, example)
    if second.same_results(alone) or _starts_from_states(second, alone, calls):
        return
    names = [
        name
        for name, (_, after) in changed.items()
        if (run := try_run(module, example, {name: after})) is None or not run.same_results(alone)
    ]
    raise _refusal(module, names or sorted(changed))


def overwritten_attributes(module: nn.Module, example: ExampleCall) -> dict[str, tuple[Any, Any]]:
    """Return the attributes that forward overwrites: by path what they held before and after.

    Raises:
        UnsupportedModelError: Parameters are among them.
    """
    before = {name: snapshot(value) for name, value in attributes_of(module).items()}
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch.no_grad(), preserve_state(module):
        record_run(module, example)
        after = {name: snapshot(value) for name, value in attributes_of(module).items()}
    written = [n for n, weight in module.named_parameters() if not same_content(weight, weights[n])]
    if written:
        raise _refusal(module, written)
    return {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if not same_value(before.get(name), after.get(name))
    }


def _refusal(module: nn.Module, names: Sequence[str]) -> UnsupportedModelError:
    listed = " and ".join(f"`self.{name}`" for name in names)
    it = "it" if len(names) == 1 else "them"
    return UnsupportedModelError(
        f"`{type(module).__name__}.forward` gives {listed} new values that later calls read, and a "
        f"graph has no such memory. Take {it} as arguments and return the next values, each named "
        f"with {option('states', {'INPUT': 'OUTPUT'})} where it is not recognised."
    )


def _starts_from_states(second: RecordedRun, alone: RecordedRun, calls: Collection[int]) -> bool:
    """Return whether all that a second call starts its layers from are states of the graphs."""
    if len(second.calls) != len(alone.calls):
        return bool(calls)
    carried = {
        index
        for index, (call, single) in enumerate(zip(second.calls, alone.calls, strict=True))
        if not same_tensors(call.states, single.states) and second.previous_call(index) is None
    }
    return bool(carried) and carried <= set(calls)


def _carries_states(first: RecordedRun, second: RecordedRun, alone: RecordedRun) -> bool:
    """Return whether the second of two calls starts its layers from where the first left them."""
    for index, (call, single) in enumerate(zip(second.calls, alone.calls, strict=True)):
        if same_tensors(call.states, single.states) or second.previous_call(index) is not None:
            continue
        last = index
        for later in range(index + 1, len(first.calls)):
            last = later if first.previous_call(later) == last else last
        if not same_tensors(call.states, first.final_states(last)):
            return False
    return True


def _counts_calls(value: Any) -> bool:
    """Return whether a value can count calls: a number, or a list that grows."""
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() and value.dtype != torch.bool
    return isinstance(value, (int, float, list)) and not isinstance(value, bool)


def _vary(module: nn.Module, example: ExampleCall, seed: int) -> ExampleCall:
    """Return the example with other numbers of the same kind, or itself where forward fails."""
    generator = torch.Generator().manual_seed(seed)

    def vary(path: str, tensor: torch.Tensor) -> torch.Tensor:
        if LENGTH_NAMES.match(path.partition("[")[0]) or path in example.lengths:
            return tensor
        if not tensor.is_floating_point():
            return tensor.flatten().roll(seed).view_as(tensor)
        if not tensor.any():
            return torch.randn(tensor.shape, generator=generator) / 2
        return tensor * (torch.rand(tensor.shape, generator=generator) + 0.5)

    tensors = {leaf.path: vary(leaf.path, leaf.tensor) for leaf in example.tensors}
    varied = example.with_tensors(tensors)
    return example if try_run(module, varied) is None else varied


def _first_difference(
    module: nn.Module,
    names: Iterable[str],
    data: Sequence[ExampleCall],
    alone: Sequence[RecordedRun],
) -> tuple[int, dict[str, Any]] | None:
    """Return the first call in a row that differs from a single one from the same states.

    Returns:
        Its index and what the attributes held before it; None where there is no difference.
    """
    with torch.no_grad(), preserve_state(module):
        for index, (example, single) in enumerate(zip(data, alone, strict=True)):
            values = attributes_of(module)
            before = {name: _copy(values[name]) for name in names if name in values}
            try:
                run = record_run(module, example, [call.states for call in single.calls])
            except Exception:
                return index, before
            if not run.did_the_same(single):
                return index, before
    return None


def _reads(
    module: nn.Module, example: ExampleCall, alone: RecordedRun, name: str, value: Any
) -> bool:
    """Return whether forward does something else where one attribute has another value."""
    run = try_run(module, example, {name: value}, [call.states for call in alone.calls])
    return run is not None and not run.did_the_same(alone)


def _reads_count(
    module: nn.Module, example: ExampleCall, name: str, before: Any, after: Any
) -> bool:
    """Return whether forward does something else once it has counted further."""
    if isinstance(after, list) or not isinstance(before, type(after)):
        return False
    alone = record_alone(module, example)
    return any(
        _reads(module, example, alone, name, before + (calls - one) * (after - before))
        for calls in _LATER
        for one in (0, 1)
    )


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value
