"""One run of a forward with all that it returned and that its recurrent calls did.

Unlike `run_forward`, a recorded run leaves what forward writes to its module, so that runs in a row
show what a module remembers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state, same_content, set_attribute
from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode, Results

__all__ = ["RecordedRun", "record_alone", "record_run", "same_tensors", "try_run"]

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class RecordedRun:
    """What one forward did.

    Attributes:
        results: The tensors it returned, by path.
        calls: Its recurrent calls.
        returned: What each of them returned.
    """

    results: Mapping[str, torch.Tensor]
    calls: tuple[RecurrentCall, ...]
    returned: tuple[Results, ...]

    def final_states(self, index: int) -> Tensors:
        """Return the states that a call left."""
        return self.returned[index][self.calls[index].first_state :]

    def previous_call(self, index: int) -> int | None:
        """Return the index of the call of this layer that left the states a call starts from."""
        call = self.calls[index]
        for other in reversed(range(index)):
            same_layer = self.calls[other].layer is call.layer
            if same_layer and same_tensors(self.final_states(other), call.states):
                return other
        return None

    def same_results(self, other: RecordedRun) -> bool:
        """Return whether both returned the same."""
        return list(self.results) == list(other.results) and same_tensors(
            tuple(self.results.values()), tuple(other.results.values())
        )

    def did_the_same(self, other: RecordedRun) -> bool:
        """Return whether both returned the same, and so did their recurrent calls."""
        return (
            len(self.returned) == len(other.returned)
            and self.same_results(other)
            and all(map(same_tensors, self.returned, other.returned))
        )


def record_run(
    module: nn.Module, example: ExampleCall, states: Sequence[Tensors] | None = None
) -> RecordedRun:
    """Run forward and leave what it writes; `states` are what its calls start from instead."""
    calls: list[RecurrentCall] = []
    returned: list[Results] = []

    def record(call: RecurrentCall, proceed: Any) -> Results:
        start = call.states if states is None else states[len(calls)]
        # copies, as forward may write into its own
        calls.append(replace(call, states=tuple(one.clone() for one in call.states)))
        results: Results = proceed(start)
        returned.append(tuple(one.clone() for one in results))
        return results

    kwargs = map_tensors(lambda _, tensor: tensor.clone(), dict(example.kwargs))
    with RecurrentCallMode(record), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = module(**kwargs)
    results = {path: tensor.detach().clone() for path, tensor in tensor_leaves(result)}
    return RecordedRun(results, tuple(calls), tuple(returned))


def record_alone(module: nn.Module, example: ExampleCall) -> RecordedRun:
    """Run forward and put back what it writes to the module."""
    with torch.no_grad(), preserve_state(module):
        return record_run(module, example)


def try_run(
    module: nn.Module,
    example: ExampleCall,
    attributes: Mapping[str, Any] = MappingProxyType({}),
    states: Sequence[Tensors] | None = None,
) -> RecordedRun | None:
    """Run forward with other attributes, by path, and put all back; return None where it fails."""
    with torch.no_grad(), preserve_state(module):
        for path, value in attributes.items():
            set_attribute(module, path, value)
        try:
            return record_run(module, example, states)
        except Exception:
            return None


def same_tensors(one: Tensors, other: Tensors) -> bool:
    """Return whether two tuples hold the same tensors."""
    return len(one) == len(other) and all(map(same_content, one, other))
