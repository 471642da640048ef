"""The rules for how the tensors of a checkpoint come into the module they belong to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.load_weights import check_weights, load_weights


class Tagger(nn.Module):
    """A head that may be the embedding's own weight."""

    def __init__(self, tied=False):
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.rnn = nn.GRU(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        if tied:
            self.head.weight = self.table.weight


def trained(tied=False):
    torch.manual_seed(1)
    return Tagger(tied).state_dict()


def under(prefix, weights):
    return {prefix + key: value for key, value in weights.items()}


def same(model, weights):
    return all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_weights_must_fit_exactly():
    """Missing keys, keys left over, other shapes and other kinds of numbers are named together."""
    weights = trained() | {
        "rnn.bias_ih_l0": torch.zeros(9, dtype=torch.int64),
        "head.weight": torch.zeros(4, 3),
        "head.scale": torch.zeros(1),
    }
    del weights["table.weight"]
    with pytest.raises(SourceError) as info:
        load_weights(Tagger(), weights, "`w.pt`")
    assert str(info.value) == (
        "`w.pt` does not fit `Tagger`: the file lacks `table.weight`; the module lacks "
        "`head.scale`; shapes differ for `head.weight` [5, 3] in the module, [4, 3] in the file; "
        "kinds of numbers differ for `rnn.bias_ih_l0` float32 in the module, int64 in the file. "
        "Give `module` the code that the weights were trained with."
    )


PREFIXES = ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "net.", "lit.tagger."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("beside", [{}, {"class_weights": torch.ones(5)}])
def test_prefixes_of_wrappers_are_dropped(prefix, beside):
    """Weights load under any one prefix; what lies beside it is left, with a note."""
    beside = {} if not prefix else beside
    model = Tagger()
    notes = load_weights(model, under(prefix, trained()) | beside, "`w.pt`")
    assert same(model, trained())
    left = "Left out of the file, which the module has no place for: `class_weights`."
    assert notes == ((left,) if beside else ())


def test_prefixes_inside_are_dropped():
    """Wrappers of a part leave their names in the middle of its keys."""
    inside = {"rnn.": "rnn._orig_mod.", "table.": "table.module."}
    weights = trained()
    for old, new in inside.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    model = Tagger()
    load_weights(model, under("model.", weights), "`w.pt`")
    assert same(model, trained())


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_a_second_copy_is_left(prefix):
    """Running means of the weights and teachers beside the model are left, with a note."""
    copy = {key: value + 1 for key, value in trained().items()}
    model = Tagger()
    (note,) = load_weights(model, under("ema.", copy) | under(prefix, trained()), "`w.pt`")
    assert same(model, trained())
    assert note.startswith("Left out of the file, which the module has no place for: `ema.")


def test_two_copies_without_a_known_prefix_are_refused():
    """Where nothing tells which copy is meant, both are named."""
    weights = under("student.", trained()) | under("teacher.", trained())
    with pytest.raises(SourceError) as info:
        load_weights(Tagger(), weights, "`w.pt`")
    assert str(info.value) == (
        "`w.pt` has weights that fit the module under 2 prefixes: `student.`, `teacher.`. Save "
        "the state_dict of the one that is to be exported."
    )


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("stored", ["table.weight", "head.weight"])
def test_a_tied_weight_may_be_stored_once(prefix, stored):
    """A weight that the module has under two names is taken from the one in the file."""
    weights = trained(tied=True)
    del weights[({"table.weight", "head.weight"} - {stored}).pop()]
    model = Tagger(tied=True)
    load_weights(model, under(prefix, weights), "`w.pt`")
    assert torch.equal(model.head.weight, weights[stored])


def test_a_tied_weight_that_is_two_in_the_file_is_refused():
    """A file with two weights where the module has one belongs to other code."""
    with pytest.raises(SourceError) as info:
        load_weights(Tagger(tied=True), trained(), "`w.pt`")
    assert str(info.value) == (
        "`w.pt` does not fit `Tagger`: the module has one weight for `table.weight`, "
        "`head.weight`. Give `module` the code that the weights were trained with."
    )


def test_own_names_that_look_like_prefixes_are_kept():
    """A model whose own names start with `model.` takes its weights as they are."""
    made = nn.ModuleDict({"model": nn.Linear(2, 1), "module": nn.Linear(2, 1)})
    weights = {key: torch.ones_like(value) for key, value in made.state_dict().items()}
    load_weights(made, weights, "`w.pt`")
    assert same(made, weights)


FAULTS = {
    "meta": (torch.zeros(2, device="meta"), "is on the meta device and has no values"),
    "sparse": (torch.eye(2).to_sparse(), "is sparse_coo, not dense"),
    "repeated": (
        torch.zeros(1).expand(1 << 21),
        "claims 2097152 numbers and stores 4 bytes",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_tensors_without_numbers_are_refused(case):
    """A tensor that holds no numbers of its own is named."""
    tensor, fault = FAULTS[case]
    with pytest.raises(SourceError) as info:
        check_weights({"a": torch.ones(1), "b": tensor}, "`w.pt`")
    assert str(info.value) == (
        f"`w.pt` holds no model: `b` {fault}. Save the state_dict of a model whose weights are "
        "numbers in memory."
    )


@pytest.mark.filterwarnings("ignore")
def test_quantized_weights_are_refused():
    """A quantized tensor is named, with what to export instead."""
    tensor = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises(UnsupportedModelError) as info:
        check_weights({"a": tensor}, "`w.pt`")
    assert str(info.value) == (
        "`w.pt` has quantized weights, such as `a`, which only torch can unpack. Export the "
        'float model; precision="int8" quantizes it.'
    )
