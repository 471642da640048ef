"""The rules for memory as arguments and results of forward."""

from __future__ import annotations

import inspect

import pytest
import torch

from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.streaming.find_memory import find_memory
from edgernn.export.streaming.memory_arguments import MemoryArguments
from tests.export.streaming.keepers import Base, Decayed, Past


def taken(module):
    module = module.eval().requires_grad_(False)
    example = find_dynamic_axes(ModuleRunner(module), example_from(module, (torch.randn(2, 4),)))
    memory, example = find_memory(module, example)
    assert memory is not None
    arguments = MemoryArguments(module, memory)
    arguments.override(module)
    return arguments, arguments.add_to(example)


def test_memory_is_given_and_returned_and_the_module_keeps_nothing():
    """The names are those of the paths; the call is the same as from the attribute."""
    module = Past()
    arguments, example = taken(module)
    assert [one.name for one in arguments.arguments] == ["hidden", "past_1", "past_2"] or [
        one.name for one in arguments.arguments
    ] == ["past_1", "past_2", "hidden"]
    assert example.memory == tuple(one.name for one in arguments.arguments)
    assert [*inspect.signature(module.forward).parameters] == ["x", *example.memory]
    held = dict(vars(module))
    given = {name: torch.randn(example.kwargs[name].shape) for name in example.memory}
    x = torch.randn(2, 4)
    result = dict(tensor_leaves(module(x=x, **given)))
    assert vars(module) == held
    assert torch.equal(result["past_2"], x)
    assert torch.equal(result["past_1"], given["past_2"])
    expected = module.cell(given["past_1"] + given["past_2"] + x, given["hidden"])
    assert torch.equal(result[""], expected)


class Broken(Base):
    def after(self, y):
        if y.isnan().any():
            raise ValueError("not a number")
        return y


class Shadowed(Decayed):
    def forward(self, x, hidden=None):
        return super().forward(x)


def test_the_module_is_put_back_after_an_exception():
    """Forward fails halfway, with its memory given."""
    module = Broken()
    _, example = taken(module)
    held = dict(vars(module))
    nan = torch.full((2, 6), torch.nan)
    with pytest.raises(ValueError, match=r"^not a number$"):
        module(x=torch.zeros(2, 4), hidden=nan)
    assert vars(module) == held
    assert module.hidden is None
    assert example.memory == ("hidden",)


def test_an_argument_keeps_its_name():
    """Memory of the same name gets another one."""
    _, example = taken(Shadowed())
    assert example.memory == ("hidden_",)
