"""The rules for rebuilding a model from its state_dict."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from edgernn.errors import SourceError
from edgernn.export.source.rebuild_module import rebuild_module


class Model(nn.Module):
    """Embedding, layer and head under names of a user's own."""

    def __init__(self, layer, vocabulary=None, classes=None, bias=True):
        super().__init__()
        if vocabulary:
            self.embed = nn.Embedding(vocabulary, layer.input_size)
        self.encoder = nn.ModuleDict({"rnn": layer})
        width = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
        self.head = nn.Linear(width, classes, bias=bias) if classes else None

    def forward(self, x, hx=None):
        y, hx = self.encoder["rnn"](self.embed(x) if hasattr(self, "embed") else x, hx)
        return (self.head(y) if self.head else y), hx


@pytest.fixture(autouse=True)
def no_grad():
    """Run without gradients: torch takes other kernels where it records them."""
    with torch.no_grad():
        yield


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("vocabulary", [None, 7])
@pytest.mark.parametrize("classes", [None, 2])
def test_rebuilt_equals_the_original(kind, layers, bidirectional, bias, vocabulary, classes):
    """Kind, layers, directions, bias, Embedding and head follow from keys and shapes."""
    layer = kind(5, 3, layers, bias=bias, bidirectional=bidirectional, batch_first=True)
    model = Model(layer, vocabulary, classes, bias).requires_grad_(False)
    rebuilt, _ = rebuild_module(model.state_dict(), "`m.pt`", True)
    rebuilt.requires_grad_(False)
    x = torch.randint(vocabulary, (2, 4)) if vocabulary else torch.randn(2, 4, 5)
    want, state = model(x)
    got, got_state = rebuilt(x)
    assert torch.equal(got, want)
    assert all(map(torch.equal, got_state, state))
    assert dict(rebuilt.named_parameters()).keys() == dict(model.named_parameters()).keys()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projection_is_rebuilt():
    """`weight_hr_l0` gives an LSTM's proj_size and hidden_size."""
    layer = nn.LSTM(5, 6, 2, proj_size=3, bidirectional=True, batch_first=True)
    model = Model(layer, classes=4).requires_grad_(False)
    rebuilt, _ = rebuild_module(model.state_dict(), "`m.pt`", True)
    x = torch.randn(2, 4, 5)
    assert torch.equal(rebuilt.requires_grad_(False)(x)[0], model(x)[0])


def test_state_given_is_used():
    """A state handed to forward is where the layer starts."""
    layer = nn.GRU(5, 3, batch_first=True)
    rebuilt, _ = rebuild_module(layer.state_dict(), "`m.pt`", True)
    x, h = torch.randn(2, 4, 5), torch.randn(1, 2, 3)
    assert torch.equal(rebuilt(x, h)[0], layer(x, h)[0])


def test_a_layer_without_prefix_gets_its_kind_as_name():
    """A bare layer is rebuilt under the name of its kind, and what is taken is told."""
    rebuilt, notes = rebuild_module(nn.LSTM(5, 3).state_dict(), "`m.pt`")
    assert next(iter(dict(rebuilt.named_parameters()))) == "lstm.weight_ih_l0"
    assert notes == (
        "Warning: the model was rebuilt from the state_dict's keys; forward was not seen. It is "
        "taken to be `lstm` LSTM(5, 3, batch_first=True), with no activation after `lstm`, every "
        'step\'s output. Give its code with module="FILE.py:FACTORY" to prove the graphs against '
        "the model itself.",
        "batch_first leaves no trace in a state_dict: True is taken.",
    )


OPEN = "`m.pt` is a state_dict that does not determine the model: "
REMEDY = (
    '. Give the model\'s code: repeat with module="FILE.py:FACTORY", where FACTORY is a class or '
    "function in FILE.py without required arguments."
)


GUESSED = {
    "head": (
        lambda: Model(nn.GRU(5, 3), classes=2),
        "what comes between and after `encoder.rnn` and `head` (activations, the step that is "
        "read)",
    ),
    "embedding": (
        lambda: Model(nn.LSTM(5, 3), 7),
        "what comes between and after `embed` and `encoder.rnn` (activations, the step that is "
        "read)",
    ),
    "rnn": (lambda: nn.RNN(5, 3), "whether its nn.RNN has tanh or relu"),
}


@pytest.mark.parametrize("case", GUESSED)
def test_what_leaves_no_trace_is_taken_only_when_told(case):
    """Layers in a row, and an nn.RNN, are rebuilt with `assume_plain` alone."""
    make, unknown = GUESSED[case]
    weights = make().state_dict()
    with pytest.raises(SourceError) as info:
        rebuild_module(weights, "`m.pt`")
    assert str(info.value) == (
        f"{OPEN}{unknown} leaves no trace in it{REMEDY.removesuffix('.')}; or, if every step's "
        "output goes on as it is and an nn.RNN has tanh, repeat with assume_plain=True."
    )
    model, notes = rebuild_module(weights, "`m.pt`", assume_plain=True)
    assert len(model.state_dict()) == len(weights)
    assert notes[0].startswith("Warning: the model was rebuilt from the state_dict's keys")


def test_first_argument_is_named_after_what_it_takes():
    """The first argument is `tokens` where there is an Embedding, `x` otherwise."""
    tokens, _ = rebuild_module(Model(nn.LSTM(5, 3), 7).state_dict(), "`m.pt`", True)
    features, _ = rebuild_module(Model(nn.LSTM(5, 3)).state_dict(), "`m.pt`", True)
    assert list(inspect.signature(tokens.forward).parameters) == ["tokens", "hx"]
    assert list(inspect.signature(features.forward).parameters) == ["x", "hx"]


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module._orig_mod.model."])
def test_wrappers_prefixes_are_dropped(prefix):
    """Prefixes of Lightning, data parallelism and torch.compile are not part of the names."""
    weights = {prefix + k: v for k, v in Model(nn.LSTM(5, 3), 7).state_dict().items()}
    rebuilt, _ = rebuild_module(weights, "`m.pt`", True)
    assert "encoder.rnn.weight_ih_l0" in dict(rebuilt.named_parameters())


def test_tied_embedding_and_head_follow_from_their_order():
    """Without bias, what stands before the layer is the Embedding and what follows is the head."""
    weights = Model(nn.LSTM(3, 3, batch_first=True), 7, 7, bias=False).state_dict()
    rebuilt, _ = rebuild_module(weights, "`m.pt`", True)
    assert isinstance(rebuilt.embed, nn.Embedding)
    assert isinstance(rebuilt.head, nn.Linear)


def test_dtype_is_kept():
    """The model is rebuilt in the dtype of its weights."""
    rebuilt, _ = rebuild_module(nn.LSTM(5, 3).to(torch.float64).state_dict(), "`m.pt`", True)
    assert {p.dtype for p in rebuilt.parameters()} == {torch.float64}


def with_keys(model, **extra):
    return {**model.state_dict(), **{k.replace("__", "."): v for k, v in extra.items()}}


def two_heads():
    model = Model(nn.LSTM(5, 3), 7, 4)
    model.last = nn.Linear(4, 2)
    return model.state_dict()


def several_layers():
    return nn.ModuleDict({"rnn": nn.RNN(5, 3), "lstm": nn.LSTM(5, 3)}).state_dict()


AROUND = "an Embedding before it and one Linear layer after it would be determined, but not "

CASES = {
    "two heads": (
        two_heads,
        f"`encoder.rnn` takes 5 and gives 3 features; {AROUND}`last.weight` [2, 4]",
    ),
    "unknown module": (
        lambda: with_keys(Model(nn.GRU(5, 3), 7), norm__weight=torch.ones(3)),
        f"`encoder.rnn` takes 5 and gives 3 features; {AROUND}`norm.weight` [3]",
    ),
    "linear before": (
        lambda: (
            {"inp.weight": torch.ones(5, 9), "inp.bias": torch.ones(5)}
            | Model(nn.GRU(5, 3)).state_dict()
        ),
        f"`encoder.rnn` takes 5 and gives 3 features; {AROUND}`inp.weight` [5, 9]",
    ),
    "square before": (
        lambda: {"inp.weight": torch.ones(5, 5)} | Model(nn.GRU(5, 3)).state_dict(),
        f"`encoder.rnn` takes 5 and gives 3 features; {AROUND}`inp.weight` [5, 5]",
    ),
    "several layers": (
        several_layers,
        "it has 2 recurrent layers, `rnn`, `lstm`, and nothing says which are used and in which "
        "order",
    ),
    "no layer": (
        lambda: nn.Linear(3, 2).state_dict(),
        "no key ends in `weight_ih_l0`, so there is no recurrent layer of torch's among `weight` "
        "[2, 3], `bias` [2]",
    ),
    "gates": (
        lambda: {"r.weight_ih_l0": torch.ones(10, 4), "r.weight_hh_l0": torch.ones(10, 5)},
        "`r` has 10 rows in `weight_ih_l0` for 5 hidden units; expected were 20 (nn.LSTM), "
        "15 (nn.GRU), 5 (nn.RNN)",
    ),
    "no hidden weight": (
        lambda: {"r.weight_ih_l0": torch.ones(10, 4)},
        "`r` has no two-dimensional `weight_ih_l0` and `weight_hh_l0`",
    ),
    "a layer left out": (
        lambda: nn.GRU(5, 3).state_dict() | {"weight_ih_l9999": torch.ones(9, 3)},
        "`the layer` has weights of its layer 9999, but not of all before it",
    ),
    "integers": (
        lambda: {key: value.to(torch.int8) for key, value in nn.GRU(5, 3).state_dict().items()},
        "`weight_ih_l0` is int8 [9, 5], which cannot be a weight of a layer",
    ),
    "no numbers": (
        lambda: {"r.weight_ih_l0": torch.ones(0, 4), "r.weight_hh_l0": torch.ones(0, 0)},
        "`r.weight_ih_l0` is float32 [0, 4], which cannot be a weight of a layer",
    ),
    "names": (
        lambda: {f"a..b.{key}": value for key, value in nn.GRU(5, 3).state_dict().items()},
        "its keys cannot name the parts of a module",
    ),
    "second layer": (
        lambda: with_keys(Model(nn.GRU(5, 3)), encoder__rnn__weight_ih_l1=torch.ones(9, 4)),
        "`encoder.rnn` would be GRU(5, 3, num_layers=2, batch_first=True), which does not agree "
        "with `encoder.rnn.weight_ih_l1` [9, 4], no `encoder.rnn.weight_hh_l1`, no "
        "`encoder.rnn.bias_ih_l1`, no `encoder.rnn.bias_hh_l1`",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_open_is_refused_by_name(case):
    """Where keys and shapes leave something open, the error names it and asks for the code."""
    make, reason = CASES[case]
    with pytest.raises(SourceError) as info:
        rebuild_module(make(), "`m.pt`", True)
    assert str(info.value) == OPEN + reason + REMEDY


def test_sorted_keys_leave_a_bare_matrix_open():
    """In a file that sorts its keys, a matrix that fits before and after the layer is open."""
    weights = Model(nn.LSTM(3, 3), 7, 7, bias=False).state_dict()
    weights = {k.replace("embed", "table"): v for k, v in weights.items()}
    with pytest.raises(SourceError) as info:
        rebuild_module(dict(sorted(weights.items())), "`m.pt`", True)
    assert str(info.value) == (
        f"{OPEN}`encoder.rnn` takes 3 and gives 3 features; {AROUND}`head.weight` [7, 3], "
        f"`table.weight` [7, 3]{REMEDY}"
    )
