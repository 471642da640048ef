"""Functions over many steps, and of large numbers, that torch's exporter writes otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import edgernn
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.lower.running_results import write_running
from edgernn.export.trace.trace import trace

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "logcumsumexp": lambda x: (30 * x).logcumsumexp(1),
    "logcumsumexp of -inf": lambda x: x.masked_fill(x < 1, -math.inf).logcumsumexp(1),
    "over features": lambda x: (30 * x).logcumsumexp(-1),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: (1 + x / 100).cumprod(1),
    "cumprod of signs": lambda x: x.sign().cumprod(dim=1),
    "cummax": lambda x: x.cummax(1).values,
    "cummax places": lambda x: (2 * x).round().cummax(1).indices,
    "cummin": lambda x: torch.cummin(x, 1)[0],
    "logsumexp": lambda x: (50 * x).logsumexp(1),
    "logaddexp": lambda x: torch.logaddexp(100 * x, -90 * x),
    "logaddexp of -inf": lambda x: torch.logaddexp(x * 0 - math.inf, x.log()),
    "logaddexp2": lambda x: torch.logaddexp2(100 * x, -90 * x),
    "logsigmoid": lambda x: F.logsigmoid(100 * x),
    "softplus": lambda x: F.softplus(100 * x, beta=2, threshold=10),
    "log_softmax": lambda x: F.log_softmax(100 * x, 1),
    "log1p": lambda x: 1e6 * torch.log1p(1e-6 * x.abs()),
    "log1p, large": lambda x: torch.log1p(x.abs() * 1e30),
    "expm1": lambda x: 1e6 * torch.expm1(1e-6 * x),
    "expm1, large": lambda x: torch.expm1(20 * x),
}


class All(nn.Module):
    """Every function of one input."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: function(x) for name, function in FUNCTIONS.items()}


@pytest.fixture(scope="module")
def graph() -> ort.InferenceSession:
    """All functions, traced at five steps."""
    x = torch.randn(2, 5, 3)
    model = trace(All(), ExampleCall({"x": x}, {"x": ("batch", "sequence", 3)}))
    write_running(model)
    return ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString())


@pytest.mark.parametrize("steps", [1, 2, 1000, 10_000])
def test_functions_are_eager_torchs_over_many_steps(
    graph: ort.InferenceSession, steps: int
) -> None:
    """To a part in a hundred thousand of the largest number, infinities where torch has them."""
    x = torch.randn(1, steps, 3, generator=torch.Generator().manual_seed(steps))
    expected = All()(x)
    found = zip(expected, graph.run(None, {"x": x.numpy()}), strict=True)
    for name, got in found:
        right = expected[name].numpy()
        finite = np.isfinite(right)
        assert got.shape == right.shape, name
        np.testing.assert_array_equal(got[~finite], right[~finite], err_msg=name)
        scale = max(1.0, float(np.abs(right[finite], dtype=float).max(initial=0)))
        gap = np.abs(got[finite].astype(float) - right[finite]).max(initial=0)
        assert gap <= 1e-5 * scale, f"{name}: {gap / scale:.1e}"


class LogSpace(nn.Module):
    """A minimal GRU as its paper computes it: all steps at once, in logarithms; h > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.h = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.z(x), self.h(x)
        v = torch.where(v >= 0, v + 0.5, v.sigmoid()).log()
        a = F.pad(torch.cumsum(F.logsigmoid(-k), 1), (0, 0, 1, 0))
        b = torch.cat((h.unsqueeze(1).log(), F.logsigmoid(k) + v), 1)
        y = (a + torch.logcumsumexp(b - a, 1)).exp()[:, 1:]
        return y, y[:, -1]


def test_a_recurrence_in_logarithms_holds_over_many_steps(tmp_path: Path) -> None:
    """Whole, and step by step with its state carried on."""
    torch.manual_seed(0)
    module = LogSpace().eval()
    inputs = ["x:float32[batch,sequence,3]", "h:float32[batch,4]"]
    artifact = edgernn.export_model(
        module, tmp_path / "m.edgernn", inputs=inputs, states={"h": 1}, verify=False
    )
    model = edgernn.load(artifact.path)
    x, h = torch.randn(1, 1000, 3), torch.rand(1, 4) + 0.1
    with torch.no_grad():
        expected = module(x, h)[0].numpy()
    whole = model.run({"x": x.numpy()}, {"h": h.numpy()}).outputs["output"]
    np.testing.assert_allclose(whole, expected, atol=1e-3)
    assert artifact.step is not None
    stream = model.stream()
    stream.restore({"h": h.numpy()})
    steps = np.stack([stream.step(one) for one in x[:, :200].numpy().swapaxes(0, 1)], 1)
    np.testing.assert_allclose(steps, expected[:, :200], atol=1e-4)
