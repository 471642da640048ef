"""Attributes of modules as values that can be compared."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
from torch import nn

from edgernn.export.streaming.module_attributes import (
    attributes_of,
    same_value,
    set_attribute,
    snapshot,
)


def model() -> nn.Module:
    """Return a module with a count, a buffer, and a part that keeps a state."""
    outer, inner = nn.Module(), nn.GRU(3, 4)
    outer.count, inner.hidden = 2, torch.ones(2)  # type: ignore[assignment]
    outer.register_buffer("mean", torch.zeros(3))
    outer.encoder = inner
    return outer


def test_attributes_and_buffers_have_paths():
    """Parameters and parts are neither."""
    found = attributes_of(model())
    assert found["count"] == 2
    assert torch.equal(found["mean"], torch.zeros(3))
    assert torch.equal(found["encoder.hidden"], torch.ones(2))
    assert not {"encoder", "encoder.weight_ih_l0", "weight_ih_l0"} & set(found)


@pytest.mark.parametrize("path", ["count", "mean", "encoder.hidden"])
def test_an_attribute_is_set_by_its_path(path):
    """A buffer stays a buffer, whatever it becomes."""
    module = model()
    set_attribute(module, path, None)
    assert attributes_of(module)[path] is None
    assert set(dict(model().named_buffers())) - set(dict(module.named_buffers())) == (
        {"mean"} if path == "mean" else set()
    )
    assert "mean" in module._buffers


class Memory:
    """An object of the model's own."""

    def __init__(self) -> None:
        self.h = torch.zeros(2)


CHANGES: dict[str, tuple[Any, Any]] = {
    "tensor": (torch.zeros(2), lambda value: value.add_(1)),
    "list": ([torch.zeros(2)], lambda value: value.append(1)),
    "tensor in a list": ([torch.zeros(2)], lambda value: value[0].add_(1)),
    "deque": (deque([1, 2]), lambda value: value.rotate()),
    "dict": ({"h": torch.zeros(2)}, lambda value: value["h"].add_(1)),
    "object": (Memory(), lambda value: value.h.add_(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_snapshot_stays_as_the_value_was(name):
    """Tensors are copied, also those inside of lists, dicts and objects."""
    value, change = CHANGES[name]
    before = snapshot(value)
    assert same_value(before, snapshot(value))
    change(value)
    assert not same_value(before, snapshot(value))


def test_values_of_other_kinds_differ():
    """A number is not the same as a tensor of it, nor as another number; NaN tensors agree."""
    assert not same_value(1, torch.tensor(1))
    assert not same_value(1, True)
    assert not same_value([1], [1, 1])
    assert not same_value({"a": 1}, {"b": 1})
    assert same_value("a", "a")
