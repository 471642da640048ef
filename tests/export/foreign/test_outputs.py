"""The outputs of an ONNX file that somebody else made: numbers as names, and the same one twice."""

from torch import nn, randn

from tests.nets.torch_onnx import export, from_torch, shown


class Twice(nn.Module):
    """A cell that returns its state as its output too."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x, h):
        h = self.cell(x, h)
        return h, h


def test_one_value_as_two_outputs_with_a_number_for_a_name(tmp_path):
    """Torch lists it twice under one name, such as `25`; it is one output, and the next state."""
    axes = {"x": {0: "batch"}, "h": {0: "batch"}}
    file = from_torch(
        tmp_path / "twice.onnx",
        Twice(),
        (randn(2, 3), randn(2, 4)),
        dynamo=False,
        input_names=["x", "h"],
        dynamic_axes=axes,
    )
    artifact = export(file)
    assert shown(artifact, "step") == [
        "x: float32[batch, 3]",
        "h_in: float32[batch, 4]",
        "output: float32[batch, 4]",
        "h_out: float32[batch, 4]",
    ]
