"""What the user says of one input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import InputError
from edgernn.export.example.spec import Spec, parse_spec
from edgernn.export.pipeline import export_model


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("x:float32[batch,40]", Spec("x", torch.float32, ("batch", 40))),
        (" hx[0] : float32[ 2, batch ] ", Spec("hx[0]", torch.float32, (2, "batch"))),
        ("rate:int64[]=16000", Spec("rate", torch.int64, (), 16000)),
        ("gain:float32[] = -2.5", Spec("gain", torch.float32, (), -2.5)),
        ("flag:bool[]=true", Spec("flag", torch.bool, (), True)),
        ("flag:bool[]=0", Spec("flag", torch.bool, (), False)),
    ],
)
def test_what_a_spec_says(text, spec):
    """Name, dtype and axes, and the value of an input that is always the same."""
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    "text", ["x", "x:int8[3]", "x:float32[0]", "x:float32[3]=", "x:float32[a b]"]
)
def test_what_is_no_spec(text):
    """Anything else is refused with the form that is expected."""
    with pytest.raises(InputError) as info:
        parse_spec(text)
    assert str(info.value) == (
        f"`{text}` is not an input spec. Expected NAME:DTYPE[DIMS], such as "
        "tokens:int64[batch,sequence] or x:float32[1,sequence,40], with a dtype of float32, "
        "float16, float64, int64, int32, bool."
    )


class Rated(nn.Module):
    """A network for each sampling rate."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.GRU(3, 4, batch_first=True)
        self.narrow = nn.GRU(3, 2, batch_first=True)

    def forward(self, x, rate: int):
        return (self.wide if rate == 16000 else self.narrow)(x)[0]


@pytest.mark.parametrize(("rate", "width"), [(16000, 4), (8000, 2)])
def test_an_argument_that_is_a_number(tmp_path, rate, width):
    """A number that forward takes is given by a spec, and is no input of the graphs."""
    inputs = ["x:float32[batch,sequence,3]", f"rate:int64[]={rate}"]
    artifact = export_model(Rated(), tmp_path / "rated.edgernn", inputs=inputs)
    ports = artifact.contract.graphs["sequence"].inputs
    assert [str(one) for one in ports] == [
        "x: float32[batch, sequence, 3]",
        f"h_in: float32[1, batch, {width}]",
    ]
