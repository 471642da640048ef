"""The rules for the numbers in the value of an attribute."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, NamedTuple

import torch
from torch import nn

from edgernn.export.streaming.attribute_leaves import (
    leaves_of,
    map_leaves,
    owners_of,
    with_leaves,
)


class Pair(NamedTuple):
    h: Any
    c: Any


class Kept:
    def __init__(self):
        self.last = torch.zeros(2)
        self.name = "kept"


def test_numbers_are_found_by_path():
    """In lists, tuples, named tuples, dicts, deques and objects of the model's own."""
    value = {
        "pair": Pair(torch.zeros(1), 2),
        "list": [None, (1.5, True)],
        "text": "none",
        "kept": Kept(),
        "weight": nn.Parameter(torch.zeros(1)),
        "queue": deque([torch.ones(1)], maxlen=3),
    }
    assert [path for path, _ in leaves_of(value, "state")] == [
        'state["pair"].h',
        'state["pair"].c',
        'state["list"][1][0]',
        'state["list"][1][1]',
        'state["kept"].last',
        'state["queue"][0]',
    ]


def test_replaced_numbers_leave_the_value_as_it_was():
    """Containers are copied, of the same kinds."""
    kept = Kept()
    value = OrderedDict(pair=Pair(1, 2), queue=deque([3], maxlen=2), kept=kept)
    changed = map_leaves(lambda path, leaf: -leaf, value, "v")
    assert isinstance(changed, OrderedDict)
    assert changed["pair"] == Pair(-1, -2)
    assert changed["queue"] == deque([-3])
    assert changed["queue"].maxlen == 2
    assert changed["kept"] is not kept
    assert changed["kept"].name == "kept"
    assert value["pair"] == Pair(1, 2)


def test_attributes_own_their_numbers():
    """`h` does not own what is in `hx`."""
    values = {"h": [1, 2], "hx": 3}
    assert owners_of(values, ["h[1]"]) == ["h"]
    assert owners_of(values, ["hx"]) == ["hx"]
    assert with_leaves(values, {"h[1]": 5}) == {"h": [1, 5], "hx": 3}
