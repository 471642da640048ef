"""The rules for the form in which every source is traced."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.prepare_module import make_submodule, prepare_module, private_copy


def test_floats_of_other_widths_become_float32():
    """Parameters and buffers in float64, float16 and bfloat16 run in float32, and are counted."""
    model = nn.Module()
    model.a = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    model.register_buffer("b", torch.zeros(1, dtype=torch.bfloat16))
    model.register_buffer("ids", torch.zeros(1, dtype=torch.int32))
    notes = prepare_module(model)
    assert notes == ("2 parameters and buffers in bfloat16 and float64 run in float32.",)
    assert [str(t.dtype) for t in model.state_dict().values()] == [
        "torch.float32",
        "torch.float32",
        "torch.int32",
    ]


def test_float32_needs_no_note():
    """A float32 model is set to eval mode without a note."""
    model = nn.LSTM(2, 3)
    assert prepare_module(model) == ()
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_tensors_that_autograd_computed_are_copied():
    """A state that the model keeps from its last call does not stand in the way of the copy."""
    model = nn.GRU(2, 3)
    model.kept = [model(torch.ones(1, 2))[1]]
    copied = private_copy(model)
    (kept,) = vars(copied)["kept"]
    assert torch.equal(kept, vars(model)["kept"][0])
    assert kept.grad_fn is None


def test_wrappers_are_taken_off():
    """The wrapper of data parallelism is left behind."""
    assert isinstance(private_copy(nn.DataParallel(nn.GRU(2, 3))), nn.GRU)


def test_what_cannot_be_copied_is_refused():
    """A module that holds what cannot be copied is refused with the reason."""
    model = nn.GRU(2, 3)
    model.log = open(__file__, encoding="utf-8")  # noqa: SIM115  # an attribute that cannot be copied
    with pytest.raises(SourceError) as info:
        private_copy(model)
    model.log.close()
    assert str(info.value) == (
        "`GRU` cannot be copied with copy.deepcopy: cannot pickle '_io.TextIOWrapper' object. "
        "Remove what cannot be copied from the module, or export its state_dict with `module`."
    )


def test_lazy_parameters_are_refused():
    """A parameter without a shape is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(SourceError) as info:
        prepare_module(model)
    assert str(info.value) == (
        "`0.weight` is lazy and has no shape yet. Run the model once before saving it."
    )


def test_parameters_without_values_are_refused():
    """A parameter on the meta device is refused."""
    with pytest.raises(SourceError) as info:
        prepare_module(nn.Linear(2, 3, device="meta"))
    assert str(info.value) == (
        "`weight` is on the meta device and has no values. Load the weights first."
    )


def test_quantized_parts_are_refused():
    """A part with packed weights is refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(
            nn.ModuleDict({"rnn": nn.LSTM(2, 3)}), {nn.LSTM}, dtype=torch.qint8
        )
    with pytest.raises(UnsupportedModelError) as info:
        prepare_module(quantized)
    assert str(info.value) == (
        "`rnn` has quantized weights, those of a LSTM, which only torch can unpack. Export the "
        'float model; precision="int8" quantizes it.'
    )


@pytest.mark.parametrize(
    ("parametrized", "name"),
    [
        (parametrizations.orthogonal(nn.LSTM(3, 4), "weight_hh_l0"), "weight_hh_l0"),
        (parametrizations.weight_norm(nn.GRUCell(3, 4), "weight_ih"), "weight_ih"),
        (parametrizations.spectral_norm(nn.Linear(3, 4)), "weight"),
    ],
    ids=["orthogonal", "weight_norm", "spectral_norm"],
)
def test_parametrizations_become_what_they_make(parametrized, name):
    """The weight is a plain parameter of the same numbers; the original keeps its making."""
    parametrized.eval()
    x = torch.ones(2, 3)
    expected = parametrized(x)
    copied = private_copy(parametrized)
    prepare_module(copied)
    assert torch.equal(copied.get_parameter(name), getattr(parametrized, name))
    assert not any("parametrizations" in key for key in copied.state_dict())
    assert parametrize.is_parametrized(parametrized, name)
    torch.testing.assert_close(copied(x), expected)
    torch.testing.assert_close(parametrized(x), expected)


def test_missing_submodules_are_added():
    """One that exists is returned as it is."""
    module = nn.Module()
    inner = make_submodule(module, "a.b")
    assert make_submodule(module, "a.b") is inner is module.get_submodule("a.b")
    assert make_submodule(module, "") is module
