"""The rules for TorchScript archives as a source."""

from __future__ import annotations

import copy
import inspect
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.torchscript import read_torchscript


@pytest.fixture(autouse=True)
def no_grad():
    """Run without gradients: torch takes other kernels where it records them."""
    with torch.no_grad():
        yield


class Out(NamedTuple):
    scores: Tensor
    last: Tensor


class Tagger(nn.Module):
    """Embedding, dropout, an LSTM with its own zeros, a head; returns a named tuple."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Embedding(7, 4), nn.Dropout(0.5))
        self.rnn = nn.LSTM(4, 3, 2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(3, 5)

    def forward(self, tokens):
        h = torch.zeros(2, tokens.size(0), 3)
        y, (h, _) = self.rnn(self.embed(tokens), (h, h))
        return Out(self.head(y), h)


class LastState(nn.Module):
    """Time-major, many layers, only the last hidden state used."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return torch.log_softmax(self.fc(h[-1]), dim=1)


class OptionalState(nn.Module):
    """A state that is optional, a flag, keyword arguments."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, bidirectional=True)

    def forward(self, x, hx: Tensor | None = None, scale: float = 2.0, double: bool = False):
        y, h = self.gru(x, hx)
        return {"y": y * scale if not double else y * (2 * scale), "h": h}


class CellLoop(nn.Module):
    """A Python loop over time around a cell."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 3)

    def forward(self, x):
        h, c = torch.zeros(x.size(1), 3), torch.zeros(x.size(1), 3)
        outputs: list[Tensor] = []
        for t in range(x.size(0)):
            h, c = self.cell(x[t], (h, c))
            outputs.append(h)
        return torch.stack(outputs), (h, c)


class Flat(nn.Module):
    """Sizes that are multiplied, divided and compared."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 6, nonlinearity="relu", batch_first=True)

    def forward(self, x):
        y, _ = self.rnn(x)
        n, t = y.size(0), y.size(1)
        flat = y.contiguous().view(n * t, y.size(2) // 2, 2)
        return flat.mean(dim=-1).view(n, t, -1) / t


class Packed(nn.Module):
    """Sequences of several lengths."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = self.lstm(packed)
        return pad_packed_sequence(y, batch_first=True)[0]


class Learned(nn.Module):
    """A learned initial state, and a plain tensor attribute."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(1, 1, 3))
        self.shift = torch.arange(3.0)

    def forward(self, x):
        return self.gru(x, self.h0.expand(-1, x.size(0), -1).contiguous())[0] + self.shift


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.rnn = nn.GRU(3, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def tokens(batch, sequence):
    return (torch.randint(7, (batch, sequence)),)


def features(first, second):
    return (torch.randn(first, second, 4),)


def packed(batch, sequence):
    return torch.randn(batch, sequence, 4), torch.tensor(
        [1, sequence] + [min(2, sequence)] * (batch - 2)
    )


CASES = {
    "tagger": (Tagger, tokens, "lstm"),
    "last state": (LastState, features, "lstm"),
    "optional": (OptionalState, features, "gru"),
    "flat": (Flat, features, "rnn_relu"),
    "packed": (Packed, packed, "lstm"),
    "learned": (Learned, features, "gru"),
    "tied": (Tied, tokens, "gru"),
}


def quietly(make, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*args, **kwargs)


def archive(tmp_path: Path, model: nn.Module, *example, how="scripted") -> Path:
    made = (
        quietly(torch.jit.script, model)
        if how == "scripted"
        else quietly(torch.jit.trace, model, example, strict=False)
    )
    quietly(torch.jit.save, made, tmp_path / "m.pt")
    return tmp_path / "m.pt"


def same(got, want):
    if isinstance(want, Tensor):
        return torch.equal(got, want)
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(same(got[k], want[k]) for k in want)
    return len(got) == len(want) and all(map(same, got, want))


class Calls(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", "").partition(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize("case", CASES)
def test_runs_as_the_model_at_every_size(tmp_path, case, how):
    """A scripted or traced model runs exactly as its code, at the traced size and at others."""
    make, inputs, operator = CASES[case]
    model = make().eval().requires_grad_(False)
    module, notes = read_torchscript(archive(tmp_path, model, *inputs(3, 5), how=how))
    for first, second in ((3, 5), (2, 5), (4, 1), (5, 9)):
        args = inputs(first, second)
        with Calls() as calls:
            got = module(*args)
        assert same(got, model(*args))
        assert calls.names.count(operator) == 1
    assert notes == ()
    names = dict(model.named_parameters(remove_duplicate=False))
    assert dict(module.named_parameters(remove_duplicate=False)).keys() == names.keys()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bias": False, "num_layers": 2}])
@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_bare_layers_run_exactly(tmp_path, kind, options, how):
    """A bare layer runs exactly, batched, unbatched where scripted, its state given or not."""
    model = kind(4, 3, **options).eval().requires_grad_(False)
    x = torch.randn(5, 2, 4)
    module, _ = read_torchscript(archive(tmp_path, model, x, how=how))
    assert same(module(x), model(x))
    if how == "scripted":
        assert same(module(x[:, 0]), model(x[:, 0]))
        state = model(x)[1]
        assert same(module(x, state), model(x, state))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projection_runs_exactly(tmp_path):
    """An LSTM with a projection runs exactly."""
    model = nn.LSTM(4, 5, proj_size=3).eval().requires_grad_(False)
    x = torch.randn(5, 2, 4)
    module, _ = read_torchscript(archive(tmp_path, model))
    assert same(module(x), model(x))


def test_a_scripted_loop_keeps_its_length_open(tmp_path):
    """A loop over time in a scripted model runs as often as the input is long."""
    model = CellLoop().requires_grad_(False)
    module, _ = read_torchscript(archive(tmp_path, model))
    for length in (1, 4):
        x = torch.randn(length, 2, 4)
        with Calls() as calls:
            assert same(module(x), model(x))
        assert calls.names.count("lstm_cell") == 2 * length


def test_signature_and_results_keep_their_structure(tmp_path):
    """Argument names, defaults, keywords and named tuples are the model's."""
    module, _ = read_torchscript(archive(tmp_path, OptionalState()))
    assert str(inspect.signature(module.forward)) == "(x, hx=None, scale=2.0, double=False)"
    x = torch.randn(5, 2, 4)
    assert torch.equal(module(x, double=True)["y"], module(x=x, scale=4.0)["y"])
    module, _ = read_torchscript(archive(tmp_path, Tagger()))
    assert module(torch.ones(2, 3, dtype=torch.int64))._fields == ("scores", "last")


def test_training_mode_becomes_eval_mode(tmp_path):
    """A model that was saved or traced in training mode runs in eval mode."""
    model = Tagger().train()
    x = torch.ones(2, 3, dtype=torch.int64)
    for how in ("scripted", "traced"):
        path = archive(tmp_path, model.train(), x, how=how)
        module, _ = read_torchscript(path)
        assert not module.training
        assert torch.allclose(
            module(x).scores if how == "scripted" else module(x)[0], model.eval()(x).scores
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_other_floats_run_in_float32(tmp_path, dtype, how):
    """A model in another floating dtype runs in float32, its own casts and zeros too."""
    model = Learned().to(dtype).eval()
    model.shift = model.shift.to(dtype)
    x = torch.randn(2, 5, 4, dtype=dtype)
    module, notes = read_torchscript(archive(tmp_path, model, x, how=how))
    y = module(x.float())
    assert y.dtype == torch.float32
    assert torch.allclose(y, model(x).float(), atol=1e-2)
    assert notes == (f"6 parameters and buffers in {str(dtype)[6:]} run in float32.",)


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize("case", ["last state", "flat", "learned", "tagger"])
def test_traces_again_with_dynamic_axes_under_a_mode(tmp_path, case, how):
    """torch.export.export takes the module, with dynamic axes, under a mode that replaces calls."""
    make, inputs, operator = CASES[case]
    model = make().eval().requires_grad_(False)
    module, _ = read_torchscript(archive(tmp_path, model, *inputs(3, 5), how=how))
    wrapped = Wrapped(module, operator)
    axes = tuple({0: torch.export.Dim("a"), 1: torch.export.Dim("b")} for _ in inputs(3, 5))
    program = quietly(
        torch.export.export, wrapped, inputs(3, 5), dynamic_shapes=(axes,), strict=False
    )
    targets = [str(node.target) for node in program.graph.nodes]
    assert not any(f"aten.{operator}." in target for target in targets)
    args = inputs(4, 9)
    assert same(program.module()(*args), wrapped(*args))


class Wrapped(nn.Module):
    """Runs a module with its recurrent calls replaced by sums of their inputs."""

    def __init__(self, module, operator):
        super().__init__()
        self.module, self.operator = module, operator

    def forward(self, *args):
        with Replaced(self.operator):
            return tuple(tree_leaves(self.module(*args)))


class Replaced(TorchFunctionMode):
    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "").partition(".")[0] != self.operator:
            return func(*args, **(kwargs or {}))
        x, hidden, weights = args[:3]
        states = hidden if isinstance(hidden, (list, tuple)) else [hidden]
        rows = weights[1].shape[1]
        return (x.sum(-1, keepdim=True).expand(-1, -1, rows), *(state + 1 for state in states))


def test_module_is_deeply_copied(tmp_path):
    """A copy of the module has parameters of its own."""
    module, _ = read_torchscript(archive(tmp_path, LastState()))
    copied = copy.deepcopy(module)
    copied.get_parameter("lstm.weight_ih_l0").zero_()
    x = torch.randn(5, 2, 4)
    assert not torch.equal(copied(x), module(x))


def test_exceptions_of_the_model_are_raised(tmp_path):
    """What the model's own code raises, the module raises."""
    module, _ = read_torchscript(archive(tmp_path, nn.LSTM(4, 3)))
    with pytest.raises(ValueError, match=r"^LSTM: Expected input to be 2D or 3D, got 1D instead$"):
        module(torch.zeros(4))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class CountingSometimes(Counting):
    def forward(self, x):
        if x.size(0) > 1:
            self.calls += 1
        return x


def refusal(path, code):
    return (
        f"`{path}` uses the TorchScript operator `prim::SetAttr`, in `{code}`, which edgernn does "
        "not run. Export the model from its code: the nn.Module itself, or its state_dict with "
        "--module FILE.py:FACTORY."
    )


def test_an_unknown_operator_is_refused_by_name(tmp_path):
    """An operator that always runs and cannot is refused when the archive is read."""
    path = archive(tmp_path, Counting())
    with pytest.raises(UnsupportedModelError) as info:
        read_torchscript(path)
    assert str(info.value) == refusal(path, "self.calls = ...")


def test_an_unknown_operator_in_a_branch_is_refused_when_reached(tmp_path):
    """An operator in a branch is refused when it is reached."""
    path = archive(tmp_path, CountingSometimes())
    module, _ = read_torchscript(path)
    assert torch.equal(module(torch.ones(1, 2)), torch.ones(1, 2))
    with pytest.raises(UnsupportedModelError) as info:
        module(torch.ones(2, 2))
    assert str(info.value) == refusal(path, "self.calls = ...")


def test_a_damaged_archive_is_a_source_error(tmp_path):
    """An archive that torch cannot read is named with torch's reason."""
    path = archive(tmp_path, LastState())
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, content.replace(b"def forward", b"dex forward"))
    with pytest.raises(SourceError) as info:
        read_torchscript(path)
    assert str(info.value).startswith(
        f"`{path}` is a TorchScript archive that torch {torch.__version__} cannot read: "
    )
    assert str(info.value).endswith(". Save it again with this version of torch.")
