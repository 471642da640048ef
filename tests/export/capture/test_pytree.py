"""The tensors of nested arguments and results, and their paths."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from edgernn.export.capture.pytree import map_tensors, tensor_leaves

ONE, TWO, THREE = (torch.full((2,), float(n)) for n in (1, 2, 3))


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Found:
    score: object
    memory: object = None


def paths(tree: object, name: str = "") -> list[str]:
    return [path for path, _ in tensor_leaves(tree, name)]


def test_a_tensor_is_its_own_leaf():
    """A tensor alone has the path that it was given, which is empty for a result."""
    assert list(tensor_leaves(ONE, "x")) == [("x", ONE)]
    assert paths(ONE) == [""]


def test_paths_read_like_python():
    """Places of tuples and lists, keys of dicts, fields of named tuples and dataclasses."""
    tree = (ONE, [TWO, {"h": THREE}], Pair(ONE, Found(TWO)))
    assert paths(tree, "hx") == [
        "hx[0]",
        "hx[1][0]",
        'hx[1][1]["h"]',
        "hx[2].left",
        "hx[2].right.score",
    ]


def test_what_is_no_tensor_has_no_path():
    """Numbers, strings, None and a dataclass's class are passed over; places still count them."""
    assert paths((3, None, "x", ONE, Found, Found(score=2.5))) == ["[3]"]


def test_mapped_leaves_keep_their_containers():
    """Every container comes back as its own kind, and the tree that was given is left alone."""
    tree = {"a": (ONE, 3), "b": [Pair(TWO, None)]}
    doubled = map_tensors(lambda _, tensor: tensor * 2, tree)
    assert [(path, tensor[0].item()) for path, tensor in tensor_leaves(doubled)] == [
        ('["a"][0]', 2.0),
        ('["b"][0].left', 4.0),
    ]
    assert type(doubled["a"]) is tuple
    assert type(doubled["b"][0]) is Pair
    assert doubled["a"][1] == 3
    assert tree["a"][0] is ONE


def test_a_change_is_told_the_path():
    """`map_tensors` gives each tensor's path, the same as `tensor_leaves`, and in its order."""
    tree = {"h": ONE, "rest": [TWO, (THREE,)]}
    seen: list[str] = []

    def change(path: str, tensor: torch.Tensor) -> torch.Tensor:
        seen.append(path)
        return tensor

    map_tensors(change, tree, "state")
    assert seen == paths(tree, "state") == ['state["h"]', 'state["rest"][0]', 'state["rest"][1][0]']
