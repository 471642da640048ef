"""What a module remembers from call to call besides the states of its recurrent calls."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.argument_names import LENGTH_NAMES
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.capture.preserve_state import preserve_state, same_content
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results
from edgernn.export.streaming.module_attributes import (
    attributes_of,
    same_value,
    set_attribute,
    snapshot,
)

__all__ = [
    "check_memory_is_state",
    "refuse_hidden_memory",
    "reset_memory",
    "reset_memory_with_guess",
]

_CALLS = 3
_COUNTED_CALLS = 12
_LATER = (16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024, 10_000, 100_000)

States = tuple[torch.Tensor, ...]


@dataclass
class _Done:
    """What one forward did.

    Attributes:
        results: The tensors it returned, by path.
        calls: Its recurrent calls.
        returned: What each of them returned.
    """

    results: Mapping[str, torch.Tensor] = field(default_factory=dict)
    calls: list[RecurrentCall] = field(default_factory=list)
    returned: list[Results] = field(default_factory=list)

    def finals(self, place: int) -> States:
        """Return the states that a call left."""
        return tuple(self.returned[place][self.calls[place].first_state :])

    def before(self, place: int) -> int | None:
        """Return the place of the call of the same layer that left the states of this one."""
        call = self.calls[place]
        for other in reversed(range(place)):
            alike = self.calls[other].layer is call.layer
            if alike and _all_alike(self.finals(other), call.states):
                return other
        return None


def refuse_hidden_memory(module: nn.Module, example: ExampleCall) -> None:
    """Refuse a module whose forward reads what an earlier call left, but for recurrent states.

    Calls in a row are compared with single ones from what the module came with. What differs is
    memory. Where it is only the state that recurrent calls start from, and they left it so the last
    time, it becomes a state of the graphs; a counter that nobody reads and a cache that changes no
    result are no memory.

    Raises:
        UnsupportedModelError: There is other memory; it names the attributes.
    """
    changed = _changed(module, example)
    if not changed:
        return
    counted = [name for name, values in changed.items() if _counts(*values)]
    data = [_other(module, example, k) for k in range(_COUNTED_CALLS if counted else _CALLS)]
    alone = [_alone(module, one) for one in data]
    with torch.no_grad(), preserve_state(module):
        row = [_run(module, one) for one in data]
    if all(_same_results(a, b) for a, b in zip(row, alone, strict=True)):
        if names := [name for name in counted if _read_later(module, example, name, changed[name])]:
            raise UnsupportedModelError(_refusal(module, names))
        return
    if (found := _first_unlike(module, changed, data, alone)) is not None:
        place, before = found
        one, single = data[place], alone[place]
        names = [name for name in before if _reads(module, one, single, name, before[name])]
        raise UnsupportedModelError(_refusal(module, names or sorted(changed)))
    if not _carried(row[0], row[1], alone[1]):
        raise UnsupportedModelError(_refusal(module, sorted(changed)))


def check_memory_is_state(module: nn.Module, example: ExampleCall, calls: Collection[int]) -> None:
    """Refuse a module whose memory is not among the states of its graphs.

    Args:
        module: The model.
        example: A call of it; at sizes that forward does not take nothing is checked.
        calls: The places of its recurrent calls whose states the graphs have as their own.

    Raises:
        UnsupportedModelError: There is such memory; it names the attributes.
    """
    try:
        alone = _alone(module, example)
    except Exception:
        return
    changed = _changed(module, example)
    if not changed:
        return
    with torch.no_grad(), preserve_state(module):
        _run(module, example)
        second = _run(module, example)
    if _same_results(second, alone) or _kept(second, alone, calls):
        return
    names = [
        name
        for name, (_, after) in changed.items()
        if (done := _try(module, example, {name: after})) is None or not _same_results(done, alone)
    ]
    raise UnsupportedModelError(_refusal(module, names or sorted(changed)))


def _kept(second: _Done, alone: _Done, calls: Collection[int]) -> bool:
    """Return whether all that a second call starts its layers from are states of the graphs."""
    if len(second.calls) != len(alone.calls):
        return bool(calls)
    carried = [
        place
        for place, (call, single) in enumerate(zip(second.calls, alone.calls, strict=True))
        if not _all_alike(call.states, single.states) and second.before(place) is None
    ]
    return bool(carried) and set(carried) <= set(calls)


def _refusal(module: nn.Module, names: Sequence[str]) -> str:
    listed = " and ".join(f"`self.{name}`" for name in names)
    it = "it" if len(names) == 1 else "them"
    return (
        f"`{type(module).__name__}.forward` gives {listed} new values that later calls read, and a "
        f"graph has no such memory. Take {it} as arguments and return the next values, each named "
        "with --state INPUT=OUTPUT where it is not recognised."
    )


def _changed(module: nn.Module, example: ExampleCall) -> dict[str, tuple[Any, Any]]:
    """Return the attributes that forward overwrites: by path what they held before and after.

    Raises:
        UnsupportedModelError: Parameters are among them.
    """
    before = {name: snapshot(value) for name, value in attributes_of(module).items()}
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch.no_grad(), preserve_state(module):
        _run(module, example)
        after = {name: snapshot(value) for name, value in attributes_of(module).items()}
    written = [n for n, weight in module.named_parameters() if not same_content(weight, weights[n])]
    if written:
        raise UnsupportedModelError(_refusal(module, written))
    return {
        name: (before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if not same_value(before.get(name), after.get(name))
    }


def _counts(before: Any, after: Any) -> bool:
    """Return whether a value counts calls: a number, or a list that grows."""
    if isinstance(after, torch.Tensor):
        return not after.is_floating_point() and after.dtype != torch.bool
    return isinstance(after, (int, float, list)) and not isinstance(after, bool)


def _other(module: nn.Module, example: ExampleCall, number: int) -> ExampleCall:
    """Return the example with other numbers of the same kind, or itself where forward fails."""
    generator = torch.Generator().manual_seed(number)

    def other(path: str, tensor: torch.Tensor) -> torch.Tensor:
        if LENGTH_NAMES.match(path.partition("[")[0]) or path in example.lengths:
            return tensor
        if not tensor.is_floating_point():
            return tensor.flatten().roll(number).view_as(tensor)
        if not tensor.any():
            return torch.randn(tensor.shape, generator=generator) / 2
        return tensor * (torch.rand(tensor.shape, generator=generator) + 0.5)

    changed = example.with_tensors(
        {leaf.path: other(leaf.path, leaf.tensor) for leaf in example.tensors}
    )
    try:
        with torch.no_grad(), preserve_state(module):
            _run(module, changed)
    except Exception:
        return example
    return changed


def _run(module: nn.Module, example: ExampleCall, fed: Sequence[States] | None = None) -> _Done:
    """Run forward and leave what it remembers; `fed` gives its recurrent calls other states."""
    done = _Done()

    def note(call: RecurrentCall, proceed: Any) -> Results:
        states = call.states if fed is None else fed[len(done.calls)]
        # copies, as forward may write into its own
        done.calls.append(replace(call, states=tuple(one.clone() for one in call.states)))
        results: Results = proceed(states)
        done.returned.append(tuple(one.clone() for one in results))
        return results

    kwargs = map_tensors(lambda _, tensor: tensor.clone(), dict(example.kwargs))
    with RecurrentCallMode(note), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done.results = {
            path: tensor.detach().clone() for path, tensor in tensor_leaves(module(**kwargs))
        }
    return done


def _run_fed(module: nn.Module, example: ExampleCall, like: _Done) -> _Done | None:
    """Run forward with the states of another run fed to its calls; None where it does not run."""
    try:
        return _run(module, example, [call.states for call in like.calls])
    except Exception:
        return None


def _alone(module: nn.Module, example: ExampleCall) -> _Done:
    with torch.no_grad(), preserve_state(module):
        return _run(module, example)


def _first_unlike(
    module: nn.Module, names: Iterable[str], data: Sequence[ExampleCall], alone: Sequence[_Done]
) -> tuple[int, dict[str, Any]] | None:
    """Return the first call in a row that differs from a single one with the same states fed.

    Returns:
        Its place and what the attributes held before it; None where all are alike.
    """
    with torch.no_grad(), preserve_state(module):
        for place, (example, single) in enumerate(zip(data, alone, strict=True)):
            held = attributes_of(module)
            before = {name: _copied(held[name]) for name in names if name in held}
            fed = _run_fed(module, example, single)
            if fed is None or not _did_the_same(fed, single):
                return place, before
    return None


def _reads(module: nn.Module, example: ExampleCall, alone: _Done, name: str, value: Any) -> bool:
    """Return whether forward does something else where one attribute has another value."""
    with torch.no_grad(), preserve_state(module):
        set_attribute(module, name, value)
        done = _run_fed(module, example, alone)
    return done is not None and not _did_the_same(done, alone)


def _read_later(
    module: nn.Module, example: ExampleCall, name: str, values: tuple[Any, Any]
) -> bool:
    """Return whether forward does something else once it has counted further."""
    before, after = values
    if isinstance(after, list) or not isinstance(before, type(after)):
        return False
    alone = _alone(module, example)
    return any(
        _reads(module, example, alone, name, before + (calls - one) * (after - before))
        for calls in _LATER
        for one in (0, 1)
    )


def _carried(first: _Done, second: _Done, alone: _Done) -> bool:
    """Return whether the second of two calls starts its layers from where the first left them."""
    for place, (call, single) in enumerate(zip(second.calls, alone.calls, strict=True)):
        if _all_alike(call.states, single.states) or second.before(place) is not None:
            continue
        last = place
        for later in range(place + 1, len(first.calls)):
            last = later if first.before(later) == last else last
        if not _all_alike(call.states, first.finals(last)):
            return False
    return True


def _did_the_same(one: _Done, other: _Done) -> bool:
    return (
        len(one.returned) == len(other.returned)
        and _same_results(one, other)
        and all(_all_alike(a, b) for a, b in zip(one.returned, other.returned, strict=True))
    )


def _same_results(one: _Done, other: _Done) -> bool:
    return list(one.results) == list(other.results) and _all_alike(
        tuple(one.results.values()), tuple(other.results.values())
    )


def _all_alike(one: States, other: States) -> bool:
    return len(one) == len(other) and all(map(same_content, one, other))


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def reset_memory(module: nn.Module, example: ExampleCall) -> tuple[str, ...]:
    """Let memory that an earlier call left on `module` start anew, in place.

    An attribute that forward overwrites and that holds numbers becomes None, as before the first
    call, or zeros where forward does not take that; so do buffers.

    Returns:
        A note for each of them that changes what forward returns.
    """
    held = [name for name, value in attributes_of(module).items() if _holds_numbers(value)]
    if not held:
        return ()
    names = _overwritten_of(module, example, held)
    chosen = next((v for v in _starts(module, names) if _runs(module, example, v)), None)
    if not names or chosen is None:
        return ()
    alone = _try(module, example, {})
    if alone is not None and _same_results(alone, _try(module, example, chosen) or alone):
        return ()
    read = [
        name
        for name in names
        if alone is None
        or not _same_results(alone, _try(module, example, {name: chosen[name]}) or _Done())
    ]
    for name, value in chosen.items():
        set_attribute(module, name, value)
    return tuple(
        f"`self.{name}` held what an earlier call had left; the graphs start without it."
        for name in read or names
    )


def reset_memory_with_guess(module: nn.Module) -> tuple[str, ...]:
    """Do what `reset_memory` does, with the first of the calls that forward may take; see there."""
    if not any(map(_holds_numbers, attributes_of(module).values())):
        return ()
    for candidate in candidate_examples(module):
        if notes := reset_memory(module, candidate):
            return notes
        if _runs(module, candidate, {}):
            return ()
    return ()


def _holds_numbers(value: Any) -> bool:
    return not isinstance(value, nn.Parameter) and any(
        tensor.is_floating_point() and bool(tensor.any()) and not isinstance(tensor, nn.Parameter)
        for _, tensor in tensor_leaves(value)
    )


def _overwritten_of(module: nn.Module, example: ExampleCall, held: Sequence[str]) -> list[str]:
    """Return the attributes of `held` that forward overwrites, if need be once it has none."""
    try:
        return [name for name in _changed(module, example) if name in held]
    except UnsupportedModelError:
        raise
    except Exception:
        buffers = {name for name, _ in module.named_buffers()}
    plain = [name for name in held if name not in buffers]
    with torch.no_grad(), preserve_state(module):
        for name in plain:
            set_attribute(module, name, None)
        try:
            _run(module, example)
        except Exception:
            return []
        after = attributes_of(module)
        return [name for name in plain if after[name] is not None]


def _starts(module: nn.Module, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what attributes may have held before the first call, likely first."""
    values = attributes_of(module)
    buffers = {name for name, _ in module.named_buffers()}
    zeros = {
        name: map_tensors(lambda _, one: torch.zeros_like(one), values[name]) for name in names
    }
    none = {name: zeros[name] if name in buffers else None for name in names}
    return [none, zeros]


def _try(module: nn.Module, example: ExampleCall, values: Mapping[str, Any]) -> _Done | None:
    """Run forward with some attributes set; None where it fails."""
    with torch.no_grad(), preserve_state(module):
        for name, value in values.items():
            set_attribute(module, name, value)
        try:
            return _run(module, example)
        except Exception:
            return None


def _runs(module: nn.Module, example: ExampleCall, values: Mapping[str, Any]) -> bool:
    return _try(module, example, values) is not None
