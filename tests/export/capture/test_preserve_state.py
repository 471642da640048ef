"""The rules for how a module is left as it was found."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
from torch import nn

from edgernn.export.capture.preserve_state import (
    attributes_of,
    preserve_state,
    same_content,
    same_value,
    set_attribute,
    snapshot,
)


class Note:
    def __init__(self):
        self.rows = [torch.zeros(2)]


class Keeps(nn.Module):
    """Holds something of every kind that can be written."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.inner.register_buffer("table", torch.zeros(2))
        self.number, self.none = 1, None
        self.tensor, self.rows, self.line = torch.zeros(2), [1], deque([1])
        self.pair, self.named, self.note = (torch.zeros(2),), {"a": [torch.zeros(2)]}, Note()


CHANGES = {
    "an attribute": lambda m: setattr(m, "number", 2),
    "a new attribute": lambda m: setattr(m, "other", 2),
    "a tensor for none": lambda m: setattr(m, "none", torch.ones(2)),
    "a tensor in place": lambda m: m.tensor.add_(1),
    "a tensor through data": lambda m: m.tensor.data.add_(1),
    "a tensor of another shape": lambda m: m.tensor.resize_(5),
    "a buffer": lambda m: setattr(m.inner, "table", torch.ones(2)),
    "a buffer in place": lambda m: m.inner.table.__setitem__(0, 1),
    "a list": lambda m: m.rows.append(2),
    "a deque": lambda m: m.line.appendleft(2),
    "a tensor in a tuple": lambda m: m.pair[0].fill_(2),
    "a tensor in a list in a dict": lambda m: m.named["a"][0].fill_(2),
    "a dict": lambda m: m.named.update(b=1),
    "an object": lambda m: m.note.rows.append(1),
    "a tensor in an object": lambda m: m.note.rows[0].fill_(2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_is_put_back(change):
    """New values and what is written in place are gone after the block; the objects stay."""
    module = Keeps()
    objects = attributes_of(module)
    before = {name: snapshot(value) for name, value in objects.items()}
    with preserve_state(module):
        CHANGES[change](module)
        assert not same_value(before, {n: snapshot(v) for n, v in attributes_of(module).items()})
    after = attributes_of(module)
    assert same_value(before, {name: snapshot(value) for name, value in after.items()})
    assert all(after[name] is value for name, value in objects.items())


def test_a_tensor_written_twice_is_put_back_twice():
    """What was kept the first time is not taken for what it holds the second time."""
    module = Keeps()
    for _ in range(2):
        with preserve_state(module):
            module.tensor += 1
        assert not module.tensor.any()
    module.tensor += 1
    with preserve_state(module):
        module.tensor += 1
    assert module.tensor.tolist() == [1, 1]


def test_content_is_shape_dtype_and_numbers():
    """NaN is the same as NaN in the same place; shapes and dtypes count."""
    one = torch.tensor([1.0, float("nan")])
    assert same_content(one, one.clone())
    assert not same_content(one, torch.tensor([float("nan"), 1.0]))
    assert not same_content(torch.zeros(1), torch.zeros(1, 1))
    assert not same_content(torch.zeros(1), torch.zeros(1, dtype=torch.int64))


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


SNAPSHOTS: dict[str, tuple[Any, Any]] = {
    "tensor": (torch.zeros(2), lambda value: value.add_(1)),
    "list": ([torch.zeros(2)], lambda value: value.append(1)),
    "tensor in a list": ([torch.zeros(2)], lambda value: value[0].add_(1)),
    "deque": (deque([1, 2]), lambda value: value.rotate()),
    "dict": ({"h": torch.zeros(2)}, lambda value: value["h"].add_(1)),
    "object": (Memory(), lambda value: value.h.add_(1)),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_stays_as_the_value_was(name):
    """Tensors are copied, also those inside of lists, dicts and objects."""
    value, change = SNAPSHOTS[name]
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
