"""The rules for which axes are dynamic and what they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.dynamic_axes import find_dynamic_axes, infer_example
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner


class Base(nn.Module):
    """A GRU over (batch, sequence, 4); subclasses say what is around it."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)


class Layer(Base):
    def forward(self, x):
        return self.rnn(x)[0]


class Window(Base):
    """Takes windows of six steps, flattened for the head."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(18, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].flatten(1))


class FirstState(Base):
    """Uses the first of the states it is given."""

    def forward(self, x, hx):
        return self.rnn(x, hx[:1])[0]


class Squeezed(Base):
    """Drops every axis of size 1 of its last step, or of all steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        return self.rnn(x)[0][:, self.steps].squeeze()


class LastItem(Base):
    """Picks each sequence's own last step, without packing."""

    def forward(self, x, x_len):
        y, _ = self.rnn(x)
        return y.gather(1, (x_len - 1).view(-1, 1, 1).expand(-1, 1, 3)).squeeze(1)


class Packed(Base):
    def forward(self, x, lengths, h):
        return self.rnn(pack_padded_sequence(x, lengths, True, enforce_sorted=False), h)[1]


class Chars(Base):
    """A layer over the characters of each word, then one over the words."""

    def __init__(self):
        super().__init__()
        self.words = nn.GRU(3, 3, batch_first=True)

    def forward(self, x):
        batch, words, chars, size = x.shape
        h = self.rnn(x.view(batch * words, chars, size))[1]
        return self.words(h.view(batch, words, 3))[0]


def found(module: nn.Module, *tensors: torch.Tensor) -> list[str]:
    example = find_dynamic_axes(ModuleRunner(module.eval()), example_from(module, tensors))
    return [str(leaf) for leaf in example.tensors]


def test_more_steps_make_a_sequence_and_more_sequences_a_batch():
    """The recurrent calls tell the axes apart, whatever their order."""
    assert found(Layer(), torch.zeros(2, 5, 4)) == ["x:float32[batch,sequence,4]"]
    time_major = nn.GRU(4, 3)
    assert found(time_major, torch.zeros(2, 5, 4)) == ["input:float32[sequence,batch,4]"]


class Summed(nn.Module):
    """A recurrence over all steps at once, without a layer: h goes on in a running sum."""

    def forward(self, x, h):
        y = h.unsqueeze(1) + x.cumsum(1)
        return y, y[:, -1]


def test_steps_without_a_layer_are_those_that_results_follow():
    """An axis along which a result depends on the entries so far, and on no later one."""
    assert found(Summed(), torch.randn(2, 7, 5), torch.randn(2, 5)) == [
        "x:float32[batch,sequence,5]",
        "h:float32[batch,5]",
    ]


def test_axes_of_equal_size_are_told_apart():
    """A batch as large as the sequence is long, and both as the input is wide, is no trouble."""
    assert found(Layer(), torch.zeros(4, 4, 4)) == ["x:float32[batch,sequence,4]"]


def test_an_axis_at_which_torch_fails_is_constant():
    """A window that a head fixes stays a number."""
    assert found(Window(), torch.zeros(2, 6, 4)) == ["x:float32[batch,6,4]"]


def test_a_named_axis_at_which_torch_fails_is_constant_and_noted():
    """What the user named is tried, and the note gives torch's own reason."""
    example = find_dynamic_axes(
        ModuleRunner(Window()), example_from(Window(), ["x:float32[batch,6,4]"])
    )
    assert example.notes == ()
    with pytest.raises(
        InputError, match=r"^`Window\.forward` fails on x:float32\[batch,sequence,4\]"
    ):
        find_dynamic_axes(
            ModuleRunner(Window()), example_from(Window(), ["x:float32[batch,sequence,4]"])
        )


def test_a_batch_on_which_the_rank_of_a_result_depends_is_one():
    """A guessed or named batch becomes 1, one of example tensors stays as it is."""
    module = Squeezed(-1)
    named = find_dynamic_axes(
        ModuleRunner(module), example_from(module, ["x:float32[batch,sequence,4]"])
    )
    given = find_dynamic_axes(ModuleRunner(module), example_from(module, torch.zeros(3, 5, 4)))
    assert shapes_of(module) == ["x:float32[1,sequence,4]"]
    assert [str(leaf) for leaf in named.tensors] == ["x:float32[1,sequence,4]"]
    assert [str(leaf) for leaf in given.tensors] == ["x:float32[3,sequence,4]"]
    assert given.notes == (
        "Axis 0 of `x` (batch) is the constant 3: at other sizes forward returns its result with "
        "another number of axes.",
    )


def test_steps_on_which_the_rank_of_a_result_depends_must_be_given():
    """A number that nobody chose would make a graph for that number of steps alone."""
    module = Squeezed(slice(None))
    given = find_dynamic_axes(ModuleRunner(module), example_from(module, torch.zeros(3, 5, 4)))
    assert [str(leaf) for leaf in given.tensors] == ["x:float32[3,5,4]"]
    with pytest.raises(UnsupportedModelError) as caught:
        infer_example(module)
    assert str(caught.value) == (
        "Axis 1 of `x` (sequence) cannot be dynamic: at other sizes forward returns its result "
        "with another number of axes, as squeeze() without an axis does. Name the axis that it "
        "drops, such as squeeze(-1), or give example tensors of the size that the graph is to have."
    )


def test_an_axis_that_nothing_looks_at_is_constant():
    """A stack of one state, of which the first is used, does not become dynamic."""
    assert found(FirstState(), torch.zeros(2, 5, 4), torch.zeros(1, 2, 3)) == [
        "x:float32[batch,sequence,4]",
        "hx:float32[1,batch,3]",
    ]


@pytest.mark.parametrize("lengths", [(1, 4, 5), (5, 4, 1), (3, 5, 5)])
def test_lengths_belong_to_the_batch(lengths):
    """The longest sequence may stand anywhere: fewer sequences are not fewer steps."""
    given = (torch.zeros(3, 5, 4), torch.tensor(lengths), torch.zeros(1, 3, 3))
    assert found(Packed(), *given) == [
        "x:float32[batch,sequence,4]",
        "lengths:int64[batch]",
        "h:float32[1,batch,3]",
    ]


def test_a_further_axis_has_its_own_name():
    """The characters of a word are neither the steps nor the batch."""
    assert found(Chars(), torch.zeros(2, 5, 6, 4)) == ["x:float32[batch,sequence,x_dim2,4]"]
    named = example_from(Chars(), ["x:float32[batch,sequence,chars,4]"])
    assert [str(leaf) for leaf in find_dynamic_axes(ModuleRunner(Chars()), named).tensors] == [
        "x:float32[batch,sequence,chars,4]"
    ]


def test_dynamic_axes_come_back_with_sizes_of_their_own():
    """An example of one sequence of one step is traced at two sizes above one, not alike."""
    example = find_dynamic_axes(ModuleRunner(Layer()), example_from(Layer(), torch.zeros(1, 1, 4)))
    assert [tuple(leaf.tensor.shape) for leaf in example.tensors] == [(2, 3, 4)]


def shapes_of(module):
    example = infer_example(module)
    return [str(leaf) for leaf in example.tensors]


def test_steps_behind_every_length_are_steps_all_the_same():
    """More steps that no length reaches change no result, but the layer runs over them."""
    assert shapes_of(LastItem()) == ["x:float32[batch,sequence,4]", "x_len:int64[batch]"]


class PackedAlone(nn.Module):
    """An LSTM over packed sequences, of which torch does not check how wide they are."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths):
        return self.rnn(pack_padded_sequence(x, lengths, True, enforce_sorted=False))[1][0]


class Sums(nn.Module):
    """Takes any number of features, and a state with an axis that may grow."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 3, batch_first=True)

    def forward(self, x, past=None):
        y = self.rnn(x.sum(-1, keepdim=True))[0]
        return y if past is None else y * past.sum(1, keepdim=True)


class Watching(Base):
    """Notes the numbers of sequences that it is called with."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=batch_first)
        self.seen: list[tuple[int, int]] = []

    def forward(self, x, hx):
        SEEN.append((x.shape[0 if self.rnn.batch_first else 1], hx.shape[1]))
        return self.rnn(x[:2] if self.rnn.batch_first else x, hx)[0]


SEEN: list[tuple[int, int]] = []


def test_features_are_what_a_layer_takes():
    """Another number is refused before a layer reads beyond its input."""
    assert found(PackedAlone(), torch.zeros(2, 5, 4), torch.tensor([5, 5])) == [
        "x:float32[batch,sequence,4]",
        "lengths:int64[batch]",
    ]
    specs = ["x:float32[batch,sequence,features]", "lengths:int64[batch]"]
    with pytest.raises(InputError, match=r"an input has 3 features, its layer needs 4$"):
        find_dynamic_axes(ModuleRunner(PackedAlone()), example_from(PackedAlone(), specs))


def test_features_that_nobody_asked_for_stay():
    """An axis of features is dynamic where the user names it; else a note says what it is."""
    note = (
        "Axis 2 of `x` is the constant {}: no parameter fixes it. Give another number, or a name "
        'to leave it open, in inputs=["x:float32[{},{},features]"].'
    )
    given = example_from(Sums(), torch.ones(2, 5, 7))
    example = find_dynamic_axes(ModuleRunner(Sums()), given)
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,sequence,7]"]
    assert example.notes == (note.format("7, as in the example", 2, 5),)
    named = example_from(Sums(), ["x:float32[batch,sequence,features]"])
    example = find_dynamic_axes(ModuleRunner(Sums()), named)
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,sequence,features]"]


def test_axes_of_states_stay():
    """Of a state, named by the user or by its name, only the batch may be dynamic."""
    given = example_from(Sums(), (torch.ones(2, 5, 1), torch.ones(2, 9, 3)))
    example = find_dynamic_axes(ModuleRunner(Sums()), given, states=["past"])
    assert [str(leaf) for leaf in example.tensors][1] == "past:float32[batch,9,3]"
    assert example.notes[-1] == (
        "Axis 1 of `past` is the constant 9, as in the example: `past` is a state, of which only "
        "the batch may be dynamic."
    )


def test_axes_that_are_constants_have_a_note():
    """So have steps that a head fixes."""
    example = find_dynamic_axes(
        ModuleRunner(Window()), example_from(Window(), torch.zeros(2, 6, 4))
    )
    assert len(example.notes) == 1
    assert example.notes[0].startswith(
        "Axis 1 of `x` (sequence) is the constant 6: forward itself fails at other sizes ("
    )


@pytest.mark.parametrize(
    ("batch_first", "sizes"), [(True, (2, 5)), (True, (1, 5)), (False, (5, 2)), (False, (5, 1))]
)
def test_sizes_are_tried_with_as_many_sequences_everywhere(batch_first, sizes):
    """A model that takes one number of sequences is never called with two."""
    SEEN.clear()
    module = Watching(batch_first).eval()
    given = example_from(module, (torch.randn(*sizes, 4), torch.zeros(1, min(sizes), 3)))
    find_dynamic_axes(ModuleRunner(module), given)
    assert len(SEEN) > 3
    assert all(one == other for one, other in SEEN)


def test_a_guess_tries_the_batch_where_the_layer_has_it():
    """States are guessed for the axis of x that its layer takes for the batch."""
    SEEN.clear()
    infer_example(Watching(batch_first=False).eval())
    assert len(SEEN) > 3
    assert all(one == other for one, other in SEEN)


class Attends(nn.Module):
    """One step that attends to a memory, which is no state although it is called like one."""

    def __init__(self):
        super().__init__()
        self.cell, self.query = nn.GRUCell(9, 6), nn.Linear(6, 5)

    def forward(self, x, memory, h):
        weights = (memory @ self.query(h)[:, :, None]).softmax(1)
        return self.cell(torch.cat((x, (weights * memory).sum(1)), 1), h)


def test_a_memory_that_does_not_come_back_is_no_state():
    """Its entries may be any number."""
    given = (torch.randn(2, 4), torch.randn(2, 7, 5), torch.zeros(2, 6))
    assert found(Attends(), *given) == [
        "x:float32[batch,4]",
        "memory:float32[batch,memory_dim1,5]",
        "h:float32[batch,6]",
    ]


class Told(nn.Module):
    """Its first weight takes more than its input."""

    def __init__(self):
        super().__init__()
        self.input_size = 5
        self.mix = nn.Linear(8, 3)
        self.rnn = nn.GRU(3, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(self.mix(torch.cat([x, x[..., :3]], -1)))[0]


class Stacked(nn.Module):
    """Two cells, their states stacked in one tensor."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(4, 3), nn.GRUCell(3, 3)])

    def forward(self, x, hx=None):
        hx = x.new_zeros(2, x.shape[0], 3) if hx is None else hx
        h0 = self.cells[0](x, hx[0])
        h1 = self.cells[1](h0, hx[1])
        return h1, torch.stack([h0, h1])


def test_an_example_is_inferred():
    """Layers and forward's signature are enough for both axes."""
    assert [str(leaf) for leaf in infer_example(Layer()).tensors] == ["x:float32[batch,sequence,4]"]
    given = [str(leaf) for leaf in infer_example(nn.LSTM(4, 3)).tensors]
    assert given == [
        "input:float32[sequence,batch,4]",
        "hx[0]:float32[1,batch,3]",
        "hx[1]:float32[1,batch,3]",
    ]


def test_the_model_tells_its_input_size():
    """Where the first weight does not fit, `input_size` and its like are tried."""
    assert shapes_of(Told()) == ["x:float32[batch,sequence,5]"]


def test_states_of_several_cells_are_tried_in_one_tensor():
    """An argument that is called like a state may take those of all cells."""
    assert shapes_of(Stacked()) == ["x:float32[batch,4]", "hx:float32[2,batch,3]"]
