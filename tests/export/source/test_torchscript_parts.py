"""TorchScript archives that keep their state in attributes, and the parts of them that do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.pipeline import export_model
from edgernn.export.source.read_torchscript import read_torchscript
from tests.nets.torch_onnx import shown

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class Network(nn.Module):
    """One step that takes and returns its state, h and c in one tensor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 4, width)
        self.rnn = nn.LSTMCell(4, 3)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, c = self.rnn(self.encoder(x.unsqueeze(1)).squeeze(-1), (state[0], state[1]))
        return h.sum(1, keepdim=True), torch.stack([h, c])


class Detector(nn.Module):
    """A network for each sampling rate; keeps the state of the last call to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = Network(8)
        self.narrow = Network(4)
        self.state = torch.zeros(2, 1, 3)

    def forward(self, x: Tensor, rate: int):
        if rate == 16000:
            out, self.state = self.wide(x, self.state)
        else:
            out, self.state = self.narrow(x, self.state)
        return out


def test_a_state_in_attributes(tmp_path):
    """The refusal names the parts that take and return their state, and how to export one."""
    file = tmp_path / "detector.jit"
    torch.jit.save(torch.jit.script(Detector().eval()), file)
    module, _, _ = read_torchscript(file)
    with pytest.raises(UnsupportedModelError) as info:
        module(torch.zeros(1, 8), 16000)
    assert str(info.value) == (
        f"`{file}` keeps what it carries from call to call in its attributes (`self.state = ...`), "
        "which a graph does not have. These parts of it do not: `wide`, `narrow`. "
        "Export one of them, from Python: edgernn.export_model(torch.jit.load(...).wide, "
        "inputs=...)."
    )


def test_a_part_that_takes_its_state(tmp_path):
    """What the refusal advises gives both graphs, with the state as one port."""
    file = tmp_path / "detector.jit"
    torch.jit.save(torch.jit.script(Detector().eval()), file)
    artifact = export_model(
        torch.jit.load(file).wide,
        tmp_path / "wide.edgernn",
        inputs=["x:float32[batch,8]", "state:float32[2,batch,3]"],
    )
    assert shown(artifact) == [
        "x: float32[batch, sequence, 8]",
        "state_in: float32[2, batch, 3]",
        "output: float32[batch, sequence, 1]",
        "state_out: float32[2, batch, 3]",
    ]
    assert artifact.contract.step is not None
