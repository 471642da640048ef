"""What a TorchScript archive is refused for, and what it raises itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.read_torchscript import read_torchscript
from tests.archive_entries import rewritten
from tests.nets.scripted import LastState, archive


def test_exceptions_of_the_model_are_raised(tmp_path):
    """What the model's own code raises, the module raises."""
    module, _, _ = read_torchscript(archive(tmp_path, nn.LSTM(4, 3)))
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
        'module="FILE.py:FACTORY".'
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
    module, _, _ = read_torchscript(path)
    assert torch.equal(module(torch.ones(1, 2)), torch.ones(1, 2))
    with pytest.raises(UnsupportedModelError) as info:
        module(torch.ones(2, 2))
    assert str(info.value) == refusal(path, "self.calls = ...")


def test_a_damaged_archive_is_a_source_error(tmp_path):
    """An archive that torch cannot read is named with torch's reason."""
    path = archive(tmp_path, LastState())
    rewritten(
        path, "code/__torch__/tests/nets/scripted.py", b"torch.log_softmax", b"torch.log_softmaz"
    )
    with pytest.raises(SourceError) as info:
        read_torchscript(path)
    assert str(info.value).startswith(
        f"`{path}` is a TorchScript archive that torch {torch.__version__} cannot read: "
    )
    assert str(info.value).endswith(". Save it again with this version of torch.")
