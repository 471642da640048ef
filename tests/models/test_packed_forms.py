"""Lengths and packed sequences in the forms that people's code has them in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from edgernn import export_model, load
from edgernn.errors import InputError, UnsupportedModelError
from tests.models.proof import proven

EXAMPLE = (torch.randn(2, 9, 4), torch.tensor([9, 4]))


class Base(nn.Module):
    """A layer over packed sequences, and a head."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 1)

    def pack(self, x, lengths):
        return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)

    def pad(self, packed, **options):
        return pad_packed_sequence(packed, batch_first=True, **options)[0]


class NumPy(Base):
    """Lengths as NumPy has them; as long as the longest of them."""

    def forward(self, x, lengths):
        listed = lengths.cpu().data.numpy()
        packed = self.pack(x, listed)
        return self.pad(self.rnn(packed)[0], total_length=max(listed))


class Listed(Base):
    """A list of tensors of one number each, and `len` of a tensor."""

    def forward(self, x, lengths):
        mask = torch.arange(lengths.max()).expand(len(x), lengths.max()) < lengths.unsqueeze(1)
        y = self.pad(self.rnn(self.pack(x, list(lengths)))[0])
        return y * mask.unsqueeze(2)


class Numbers(Base):
    """A list of Python's numbers, cropped to the longest."""

    def forward(self, x, lengths):
        numbers = [int(length) for length in lengths]
        packed = self.pack(x[:, : max(numbers)], numbers)
        return self.pad(self.rnn(packed)[0], total_length=int(lengths.max()))


class Strided(Base):
    """Lengths behind a convolution that steps over every other frame."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, 2, 1)

    def forward(self, x, lengths):
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        fewer = [(length - 1) // 2 + 1 for length in lengths.tolist()]
        return self.pad(self.rnn(self.pack(y, fewer))[0])


class Data(Base):
    """What is computed from the rows of a packed sequence, packed again."""

    def forward(self, x, lengths):
        packed, _ = self.rnn(self.pack(x, lengths))
        return self.pad(PackedSequence(self.head(packed.data).squeeze(1), *packed[1:]))


class Ids(Base):
    """The best of some scores of each row, an integer."""

    def forward(self, x, lengths):
        packed, _ = self.rnn(self.pack(x, lengths))
        return self.pad(packed._replace(data=packed.data.argmax(1)), padding_value=0)


class Returned(Base):
    """A packed sequence as it is."""

    def forward(self, x, lengths):
        return self.rnn(self.pack(x, lengths))[0]


class LastOneByOne(Base):
    """The last step of one sequence after another."""

    def forward(self, x, lengths):
        y = self.pad(self.rnn(self.pack(x, lengths))[0])
        return torch.stack([y[i, length - 1] for i, length in enumerate(lengths)])


class Mean(Base):
    """The mean over as many steps as the longest sequence has, or as x has."""

    def __init__(self, full):
        super().__init__()
        self.full = full

    def forward(self, x, lengths):
        options = {"total_length": x.shape[1]} if self.full else {}
        return self.pad(self.rnn(self.pack(x, lengths))[0], **options).mean(1)


def data(b, t):
    lengths = torch.randint(1, t + 1, (b,))
    lengths[b // 2] = t
    return {"x": torch.randn(b, t, 4), "lengths": lengths}


@pytest.mark.parametrize("kind", [NumPy, Listed, Numbers, Strided, Data, Ids])
def test_lengths_and_rows_in_the_forms_of_python_are_those_of_tensors(kind, tmp_path):
    """No form fixes the batch, and every sequence ends at its own length."""
    ports = proven(kind(), tmp_path, data, sizes=((1, 3), (3, 11), (5, 4)), inputs=EXAMPLE)

    assert ports.startswith("x: float32[batch, sequence, 4], lengths: int64[batch]; h[1, batch, 6]")


@pytest.mark.parametrize("full", [True, False], ids=["all steps", "the longest"])
def test_lengths_below_the_steps_are_right_or_refused(full, tmp_path):
    """Where forward pads to the longest length, the runtime takes no other number of steps."""
    module = Mean(full).eval()
    model = load(export_model(module, tmp_path / "m.edgernn", inputs=EXAMPLE, verify=False).path)
    x, lengths = torch.randn(2, 6, 4), torch.tensor([4, 2])
    note = "The longest of `lengths` must be as long as the sequences: forward pads to it."
    assert (note in model.contract.notes, model.contract.full_lengths) == (
        (False, ()) if full else (True, ("lengths",))
    )
    if not full:
        with pytest.raises(InputError) as caught:
            model(x.numpy(), lengths.numpy())
        assert str(caught.value).endswith("would pad. Give the first 4 steps only.")
    taken = x if full else x[:, :4]
    with torch.no_grad():
        expected = module(x, lengths)
    got = model(taken.numpy(), lengths.numpy())
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


def test_a_packed_result_comes_out_padded(tmp_path):
    """It has the layout of what was packed, and a note says so."""

    def call(x, lengths):
        return pad_packed_sequence(model(x, lengths), batch_first=True)[0]

    model = Returned()
    ports = proven(model, tmp_path, data, call=call, inputs=EXAMPLE)

    assert ports.partition(" -> ")[2] == "output: float32[batch, sequence, 6] (sequence + step)"


def test_lengths_that_pick_one_step_after_another_are_refused(tmp_path):
    """A graph has no such loop over the batch; the message has the operator that does it."""
    with pytest.raises(UnsupportedModelError) as caught:
        export_model(LastOneByOne(), tmp_path / "m", inputs=EXAMPLE)
    assert str(caught.value) == (
        "forward takes the lengths one by one in Python, which a graph for any batch cannot. Take "
        "the last step of each sequence as y[torch.arange(len(lengths)), lengths - 1], and "
        "compare with torch.arange(steps) for a mask."
    )


def test_a_packed_argument_is_refused(tmp_path):
    """Its rows are sorted by step, which no port of a graph is."""
    packed = pack_padded_sequence(*EXAMPLE, batch_first=True, enforce_sorted=False)
    with pytest.raises(InputError) as caught:
        export_model(Ids(), tmp_path / "m", inputs={"x": packed})
    assert str(caught.value) == (
        "`x` is a PackedSequence, whose rows are sorted by step. Let forward take the padded "
        "sequences and their lengths, and pack them itself."
    )
