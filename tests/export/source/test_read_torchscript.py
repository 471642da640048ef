"""The rules for TorchScript archives as a source: they run as the model that was saved."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from edgernn.export.source.read_torchscript import read_torchscript
from tests.nets.scripted import (
    CASES,
    CellLoop,
    LastState,
    Learned,
    OptionalState,
    Tagger,
    archive,
    quietly,
)
from tests.torch_calls import TorchCalls


@pytest.fixture(autouse=True)
def no_grad():
    """Run without gradients: torch takes other kernels where it records them."""
    with torch.no_grad():
        yield


def same(got, want):
    if isinstance(want, Tensor):
        return torch.equal(got, want)
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(same(got[k], want[k]) for k in want)
    return len(got) == len(want) and all(map(same, got, want))


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize("case", CASES)
def test_runs_as_the_model_at_every_size(tmp_path, case, how):
    """A scripted or traced model runs exactly as its code, at the traced size and at others."""
    make, inputs, operator = CASES[case]
    model = make().eval().requires_grad_(False)
    module, _, notes = read_torchscript(archive(tmp_path, model, *inputs(3, 5), how=how))
    for first, second in ((3, 5), (2, 5), (4, 1), (5, 9)):
        args = inputs(first, second)
        with TorchCalls() as calls:
            got = module(*args)
        assert same(got, model(*args))
        assert calls.count(operator) == 1
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
    module, _, _ = read_torchscript(archive(tmp_path, model, x, how=how))
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
    module, _, _ = read_torchscript(archive(tmp_path, model))
    assert same(module(x), model(x))


def test_a_scripted_loop_keeps_its_length_open(tmp_path):
    """A loop over time in a scripted model runs as often as the input is long."""
    model = CellLoop().requires_grad_(False)
    module, _, _ = read_torchscript(archive(tmp_path, model))
    for length in (1, 4):
        x = torch.randn(length, 2, 4)
        with TorchCalls() as calls:
            assert same(module(x), model(x))
        assert calls.count("lstm_cell") == 2 * length


def test_signature_and_results_keep_their_structure(tmp_path):
    """Argument names, defaults, keywords and named tuples are the model's."""
    module, _, _ = read_torchscript(archive(tmp_path, OptionalState()))
    assert str(inspect.signature(module.forward)) == "(x, hx=None, scale=2.0, double=False)"
    x = torch.randn(5, 2, 4)
    assert torch.equal(module(x, double=True)["y"], module(x=x, scale=4.0)["y"])
    module, _, _ = read_torchscript(archive(tmp_path, Tagger()))
    assert module(torch.ones(2, 3, dtype=torch.int64))._fields == ("scores", "last")


def test_training_mode_becomes_eval_mode(tmp_path):
    """A model that was saved or traced in training mode runs in eval mode."""
    model = Tagger().train()
    x = torch.ones(2, 3, dtype=torch.int64)
    for how in ("scripted", "traced"):
        path = archive(tmp_path, model.train(), x, how=how)
        module, _, _ = read_torchscript(path)
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
    module, _, notes = read_torchscript(archive(tmp_path, model, x, how=how))
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
    module, _, _ = read_torchscript(archive(tmp_path, model, *inputs(3, 5), how=how))
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
    module, _, _ = read_torchscript(archive(tmp_path, LastState()))
    copied = copy.deepcopy(module)
    copied.get_parameter("lstm.weight_ih_l0").zero_()
    x = torch.randn(5, 2, 4)
    assert not torch.equal(copied(x), module(x))
