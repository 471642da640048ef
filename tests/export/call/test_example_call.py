"""Example calls: given as tensors or specs, resized, and watched while they run.

What is refused of a spec is in `test_refused_specs`, which axes are dynamic in `test_axes`.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from edgernn.errors import InputError
from edgernn.export.call.argument_names import LENGTH_NAMES, forward_parameters
from edgernn.export.call.example_call import ExampleCall, resize_tensor
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner, run_forward


class Net(nn.Module):
    """Ids, lengths and states in; packs, warns and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.rnn = nn.GRU(3, 2, batch_first=True)
        self.calls = 0

    def forward(self, ids, lengths, hx=None, *, scale=1.0):
        self.calls += 1
        warnings.warn("an unusual size", stacklevel=2)
        rows = pack_padded_sequence(self.table(ids), lengths, True, enforce_sorted=False)
        return {"h": self.rnn(rows, hx)[1] * scale}


IDS = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 1]])
GIVEN = {"ids": IDS, "lengths": torch.tensor([2, 5])}


def shapes(example: ExampleCall) -> dict[str, tuple[int, ...]]:
    return {leaf.path: tuple(leaf.tensor.shape) for leaf in example.tensors}


# --- specs ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["lengths", "len", "x_lens", "Length", "seq_length"])
def test_names_of_lengths_are_known(name):
    """What people call the lengths of sequences."""
    assert LENGTH_NAMES.match(name)


@pytest.mark.parametrize("name", ["x", "lent", "lengthy", "silence"])
def test_other_names_are_no_lengths(name):
    """A name that only resembles one is not one."""
    assert not LENGTH_NAMES.match(name)


# --- tensors --------------------------------------------------------------------------------------


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


# --- other sizes ----------------------------------------------------------------------------------


def test_resizing_repeats_the_numbers():
    """A smaller axis is cut, a larger one goes round; the others stay, in one block of memory."""
    assert resize_tensor(torch.tensor([[1, 2, 3]]), {1: 2}).tolist() == [[1, 2]]
    larger = resize_tensor(torch.tensor([[1, 2, 3]]), {1: 5, 0: 2})
    assert larger.tolist() == [[1, 2, 3, 1, 2]] * 2
    assert larger.is_contiguous()


def test_a_dynamic_axis_is_resized_wherever_it_stands():
    """One symbol has one size on every tensor; a symbol that nobody has changes nothing."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5, 3), "hx": (torch.zeros(1, 2, 4),)},
        {"x": ("batch", "sequence", 3), "hx[0]": (1, "batch", 4)},
    )
    assert shapes(example.resized({"batch": 7, "width": 9})) == {"x": (7, 5, 3), "hx[0]": (1, 7, 4)}
    assert shapes(example) == {"x": (2, 5, 3), "hx[0]": (1, 2, 4)}


@pytest.mark.parametrize(("steps", "wanted"), [(3, [3, 2]), (9, [9, 2]), (1, [1, 1])])
def test_lengths_fit_the_steps(steps, wanted):
    """The longest is as long as the sequence, none is longer."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5), "n": torch.tensor([5, 2])},
        {"x": ("batch", "sequence"), "n": ("batch",)},
        lengths=("n",),
    )
    assert example.resized({"sequence": steps}).kwargs["n"].tolist() == wanted


def test_lengths_of_more_sequences_come_longest_first():
    """Repeated to fill, lengths are sorted again: forward may want them so."""
    example = ExampleCall({"n": torch.tensor([5, 2])}, {"n": ("batch",)}, lengths=("n",))
    assert example.resized({"batch": 4}).kwargs["n"].tolist() == [5, 5, 2, 2]


def test_a_settled_axis_is_a_number_everywhere():
    """An axis of `constants` has that size and no name on any tensor."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5), "h": torch.zeros(1, 2)},
        {"x": ("batch", "sequence"), "h": (1, "batch")},
        constants={"batch": 3},
    )
    settled = example.with_constant_axes()
    assert [str(leaf) for leaf in settled.tensors] == ["x:float32[3,sequence]", "h:float32[1,3]"]
    assert shapes(settled) == {"x": (3, 5), "h": (1, 3)}
    assert settled.constants == {}


# --- runs -----------------------------------------------------------------------------------------


def test_a_run_tells_calls_results_and_lengths():
    """What forward called, what it returned by path, and which argument it packed by."""
    run = run_forward(Net(), ExampleCall(GIVEN, {}))
    assert [call.function for call in run.calls] == ["gru"]
    assert {path: tuple(tensor.shape) for path, tensor in run.results.items()} == {
        '["h"]': (1, 2, 2)
    }
    assert run.lengths == ("lengths",)


def test_ids_that_equal_the_lengths_are_not_floats():
    """Only integers in one axis can be the lengths; numbers that look alike are not."""
    given = {**GIVEN, "scale": torch.tensor([2.0, 5.0])}
    assert run_forward(Net(), ExampleCall(given, {})).lengths == ("lengths",)


def test_a_run_leaves_no_trace():
    """Warnings stay unheard, and what forward changed on the module is as before."""
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModuleRunner(net)(ExampleCall(GIVEN, {}))
    assert net.calls == 0
    assert ModuleRunner(net).name == "Net.forward"


X = torch.zeros(5, 2, 3)
OPTIONS = (True, 1, 0.0, False, False, False)
WRONG = {
    "GRU": (
        lambda layer: torch.gru(X, torch.zeros(2, 2, 2), list(layer.parameters()), *OPTIONS),
        "a state is (2, 2, 2), its layer needs (1, 2, 2)",
    ),
    "LSTM": (
        lambda layer: torch.lstm(
            X,
            (torch.zeros(1, 2, 2), torch.zeros(1, 1, 2)),
            list(layer.parameters()),
            *OPTIONS,
        ),
        "a state is (1, 1, 2), its layer needs (1, 2, 2)",
    ),
    "LSTMCell": (
        lambda layer: torch.lstm_cell(
            X[0], (torch.zeros(2, 2), torch.zeros(1, 2)), *layer.parameters()
        ),
        "a state is (1, 2), its layer needs (2, 2)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_state_of_another_shape_is_an_error(kind):
    """Torch does not check every state itself: some it reads past the end of, or broadcasts."""
    call, message = WRONG[kind]

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(nn, kind)(3, 2)

        def forward(self):
            return call(self.layer)

    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_forward(Given(), ExampleCall({}, {}))


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
