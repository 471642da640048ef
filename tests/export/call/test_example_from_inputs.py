"""The rules for examples that are given as tensors or specs.

What is refused of a spec is in `test_refused_specs`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgernn.errors import InputError
from edgernn.export.call.argument_names import forward_parameters
from edgernn.export.call.example_from_inputs import example_from
from tests.nets.packed_ids import IDS, Net, shapes


def test_specs_become_numbers():
    """Floats are drawn in float32, ids stay below the smallest table, lengths are the longest."""
    specs = ["ids:int32[batch,sequence]", "lengths:int64[batch]", "hx:float64[1,batch,other]"]
    example = example_from(Net(), specs)
    ids, lengths, hx = (leaf.tensor for leaf in example.tensors)
    assert shapes(example) == {"ids": (2, 5), "lengths": (2,), "hx": (1, 2, 3)}
    assert (ids.dtype, lengths.dtype, hx.dtype) == (torch.int32, torch.int64, torch.float32)
    assert set(ids.flatten().tolist()) <= set(range(4))
    assert lengths.tolist() == [5, 5]
    assert hx.std() > 0
    assert str(example.tensors[0]) == "ids:int32[batch,sequence]"


def test_specs_into_containers_build_them():
    """Digits index a tuple, other keys a dict, in the order of forward's arguments."""
    specs = ['hx[1]["c"]:float32[2]', "hx[0]:float32[1]", "ids:int64[3]"]
    example = example_from(Net(), specs)
    assert list(example.kwargs) == ["ids", "hx"]
    first, second = example.kwargs["hx"]
    assert (type(example.kwargs["hx"]), tuple(first.shape), list(second)) == (tuple, (1,), ["c"])


def test_an_only_tensor_or_array_is_the_first_argument():
    """A bare tensor needs no tuple around it; NumPy's arrays are tensors too."""
    every: list[Any] = [IDS, IDS.numpy(), (IDS,), {"ids": IDS}]
    for given in every:
        (leaf,) = example_from(Net(), given).tensors
        assert leaf.path == "ids"
        assert torch.equal(leaf.tensor, IDS)


def test_other_floats_become_float32():
    """float64, float16 and arrays inside containers run in float32; integers stay."""
    state = (np.zeros(2), [torch.ones(1, dtype=torch.float16)], {"n": np.arange(2)})
    example = example_from(Net(), (IDS, {"state": state}))
    dtypes = [leaf.tensor.dtype for leaf in example.tensors]
    assert dtypes == [torch.int64, torch.float32, torch.float32, torch.int64]


def test_an_example_has_no_gradient():
    """A tensor that was computed with gradients is given without."""
    (leaf,) = example_from(Net(), (torch.ones(2, requires_grad=True) * 2,)).tensors
    assert not leaf.tensor.requires_grad


def test_only_arguments_of_forward_can_be_given():
    """A name is one of forward's; where it takes **others, any is."""

    class Closed(nn.Module):
        def forward(self, x, *rest, scale=1):
            return x

    class Open(nn.Module):
        def forward(self, x, *rest, scale=1, **others):
            return x

    assert list(forward_parameters(Open())) == ["x", "scale"]
    with pytest.raises(InputError) as caught:
        example_from(Closed(), {"others": IDS})
    assert str(caught.value) == (
        "`Closed.forward` takes `x`, `scale`; 1 inputs were given: `others`."
    )
    assert list(example_from(Open(), {"others": IDS}).kwargs) == ["others"]


def test_a_forward_without_arguments_says_so():
    """Where there is nothing to list, that is said."""

    class Shut(nn.Module):
        def forward(self):
            return IDS

    with pytest.raises(InputError) as caught:
        example_from(Shut(), (IDS,))
    assert str(caught.value) == "`Shut.forward` takes no arguments; 1 inputs were given."


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (torch.zeros(2, 5, dtype=torch.uint8),),
            "`ids:uint8[2,5]` is of a dtype that graphs do not take as an input; they take "
            "float32, int64, int32, bool. Give it as one of these, and let forward convert it.",
        ),
    ],
)
def test_what_is_no_example_is_refused(inputs, message):
    """A tensor of a dtype that graphs do not take is refused."""
    with pytest.raises(InputError) as caught:
        example_from(Net(), inputs)
    assert str(caught.value) == message
