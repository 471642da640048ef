"""Lengths and packed sequences in the forms that people's code has them in."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tests.models.case import Case

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


CASES = (
    *(
        Case(
            name,
            "No form of lengths fixes the batch, and every sequence ends at its own length.",
            model,
            "x: float32[batch, sequence, 4], lengths: int64[batch]; h[1, batch, 6] -> output: "
            f"{output}",
            data=data,
            example=lambda: EXAMPLE,
            sizes=((1, 3), (3, 11), (5, 4)),
        )
        for name, model, output in (
            ("lengths in NumPy", NumPy, "float32[batch, sequence, 6] (sequence + step)"),
            ("lengths in a list of tensors", Listed, "float32[batch, sequence, 6] (sequence)"),
            (
                "lengths in a list of numbers",
                Numbers,
                "float32[batch, sequence, 6] (sequence + step)",
            ),
            (
                "lengths after a stride",
                Strided,
                "float32[batch, (sequence - 1)//2 + 1, 6] (sequence)",
            ),
            (
                "a head on the rows of a packed sequence",
                Data,
                "float32[batch, sequence] (sequence + step)",
            ),
            (
                "ids from the rows of a packed sequence",
                Ids,
                "int64[batch, sequence] (sequence + step)",
            ),
        )
    ),
    Case(
        "a packed result comes out padded",
        "It has the layout of what was packed, and a note says so.",
        Returned,
        "x: float32[batch, sequence, 4], lengths: int64[batch]; h[1, batch, 6] -> output: "
        "float32[batch, sequence, 6] (sequence + step)",
        data=data,
        example=lambda: EXAMPLE,
        call=lambda model, x, lengths: pad_packed_sequence(model(x, lengths), batch_first=True)[0],
    ),
)
