"""Taggers and classifiers over padded sequences."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.models.case import Case


class BiLSTMTagger(nn.Module):
    """Packed, batch first, as in a hundred tutorials."""

    def __init__(self, enforce_sorted=True, vocab=25, emb=6, hidden=8, tags=5):
        super().__init__()
        self.enforce_sorted = enforce_sorted
        self.embedding = nn.Embedding(vocab, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, 2, batch_first=True, bidirectional=True, dropout=0.3)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(2 * hidden, tags)

    def forward(self, text, text_lengths):
        embedded = self.dropout(self.embedding(text))
        packed = pack_padded_sequence(
            embedded, text_lengths.cpu(), batch_first=True, enforce_sorted=self.enforce_sorted
        )
        packed_output, (hidden, cell) = self.lstm(packed)
        output, _ = pad_packed_sequence(packed_output, batch_first=True, total_length=text.size(1))
        return self.fc(self.dropout(output))


def padded(batch, steps, ordered=True, high=25):
    lengths = torch.randint(1, steps + 1, (batch,))
    lengths[batch // 2] = steps
    if ordered:
        lengths = lengths.sort(descending=True)[0]
    ids = torch.randint(1, high, (batch, steps))
    ids[torch.arange(steps) >= lengths[:, None]] = 0
    return ids, lengths


class LengthsInside(nn.Module):
    """Finds the lengths itself from the padding; time-major GRU."""

    def __init__(self, total=False):
        super().__init__()
        self.embedding = nn.Embedding(25, 6, padding_idx=0)
        self.gru = nn.GRU(6, 8, bidirectional=True)
        self.fc = nn.Linear(16, 2)

    def forward(self, x):
        mask = x != 0
        lengths = mask.sum(dim=1)
        e = self.embedding(x).transpose(0, 1)
        packed = pack_padded_sequence(e, lengths.cpu(), enforce_sorted=False)
        _, h = self.gru(packed)
        return self.fc(torch.cat([h[-2], h[-1]], dim=1))


class SortsItself(nn.Module):
    """Sorts by length before packing and undoes it after, as was needed before torch 1.1."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 7, batch_first=True)
        self.fc = nn.Linear(7, 3)

    def forward(self, x, lengths):
        sorted_lengths, perm = lengths.sort(0, descending=True)
        x = x[perm]
        packed = pack_padded_sequence(x, sorted_lengths.cpu().tolist(), batch_first=True)
        out, (h, c) = self.rnn(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        _, unperm = perm.sort(0)
        return self.fc(out[unperm])


class SortsTensor(SortsItself):
    def forward(self, x, lengths):
        sorted_lengths, perm = torch.sort(lengths, descending=True)
        packed = pack_padded_sequence(x.index_select(0, perm), sorted_lengths, batch_first=True)
        _, (h, c) = self.rnn(packed)
        unperm = perm.argsort()
        return self.fc(h[-1].index_select(0, unperm))


class MaskedMean(nn.Module):
    """Mean over the valid steps after packing; keeps the initial state as an argument."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(25, 6)
        self.rnn = nn.RNN(6, 7, batch_first=True)
        self.fc = nn.Linear(7, 3)

    def forward(self, ids, lengths, h0=None):
        packed = pack_padded_sequence(
            self.emb(ids), lengths, batch_first=True, enforce_sorted=False
        )
        out, hn = self.rnn(packed, h0)
        out, out_lengths = pad_packed_sequence(out, batch_first=True)
        mask = torch.arange(out.size(1))[None, :] < out_lengths[:, None]
        pooled = (out * mask.unsqueeze(-1)).sum(1) / out_lengths.unsqueeze(-1).float()
        return self.fc(pooled)


class CrfEmissions(nn.Module):
    """Unpacked padded tagger with max over time for a second head."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(25, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 8, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(16, 5)
        self.intent = nn.Linear(16, 3)

    def forward(self, sentence):
        out, _ = self.lstm(self.emb(sentence))
        pooled, _ = torch.max(out, dim=1)
        return {"tags": self.tags(out), "intent": self.intent(pooled)}


def features(batch, sequence):
    return {"x": torch.randn(batch, sequence, 4), "lengths": padded(batch, sequence, False)[1]}


def texts(*names, ordered=False):
    """Return what draws padded ids and their lengths by name."""
    return lambda batch, sequence: dict(zip(names, padded(batch, sequence, ordered)))


_TAGGER = (
    "text: int64[batch, sequence], text_lengths: int64[batch]; h[4, batch, 8], c[4, batch, 8] "
    "-> output: float32[batch, sequence, 5] (sequence)"
)

CASES = (
    Case(
        "packed and bidirectional, sorted",
        "Lengths are an input; every sequence ends at its own.",
        BiLSTMTagger,
        _TAGGER,
        data=texts("text", "text_lengths", ordered=True),
        example=(3, 6),
    ),
    Case(
        "packed and bidirectional, unsorted",
        "The same in any order.",
        lambda: BiLSTMTagger(enforce_sorted=False),
        _TAGGER,
        data=texts("text", "text_lengths"),
        example=(3, 6),
    ),
    Case(
        "a packed tagger needs no example",
        "Token ids and an argument that is called lengths are guessed.",
        lambda: BiLSTMTagger(enforce_sorted=False),
        _TAGGER,
        data=texts("text", "text_lengths"),
    ),
    Case(
        "lengths that forward counts itself",
        "Lengths computed from padding ids are no input.",
        LengthsInside,
        "x: int64[batch, sequence]; h[2, batch, 8] -> output: float32[batch, 2] (sequence)",
        data=texts("x"),
        example=(3, 6),
    ),
    Case(
        "a model that sorts and unsorts itself",
        "Forward permutes the batch and back.",
        SortsItself,
        "x: float32[batch, sequence, 4], lengths: int64[batch]; h[1, batch, 7], c[1, batch, 7] "
        "-> output: float32[batch, sequence, 3] (sequence)",
        data=features,
        example=(3, 6),
    ),
    Case(
        "a model that sorts with tensors",
        "The same with index_select and the last state only.",
        SortsTensor,
        "x: float32[batch, sequence, 4], lengths: int64[batch]; h[1, batch, 7], c[1, batch, 7] "
        "-> output: float32[batch, 3] (sequence)",
        data=features,
        example=(3, 6),
    ),
    Case(
        "a masked mean over packed steps",
        "The lengths that pad_packed_sequence gives back are used again.",
        MaskedMean,
        "ids: int64[batch, sequence], lengths: int64[batch]; h[1, batch, 7] -> output: "
        "float32[batch, 3] (sequence)",
        data=texts("ids", "lengths"),
        example=(3, 6),
    ),
    Case(
        "a dict of two heads",
        "Outputs are called as forward calls them.",
        CrfEmissions,
        "sentence: int64[batch, sequence]; h[2, batch, 8], c[2, batch, 8] -> tags: "
        "float32[batch, sequence, 5], intent: float32[batch, 3] (sequence)",
        data=texts("sentence"),
    ),
)
