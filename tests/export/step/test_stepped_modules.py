"""The step graph of what torch's exporter writes around recurrent operators."""

from __future__ import annotations

import re
import warnings

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgernn.export.passes.fold_embeddings import fold_embeddings
from edgernn.export.step.at_one_step import at_one_step, gemm_form
from tests.nets.layer_graphs import difference


class Stack(nn.Module):
    """Two LSTM operators in ONNX's own weight layout, time-major, with stacked states."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.hidden_size = sizes[1]
        for layer, size in enumerate(sizes):
            self.register_buffer(f"W{layer}", torch.rand(1, 4 * sizes[1], size) - 0.5)
            self.register_buffer(f"R{layer}", torch.rand(1, 4 * sizes[1], sizes[1]) - 0.5)
            self.register_buffer(f"B{layer}", torch.rand(1, 8 * sizes[1]) - 0.5)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last: tuple[list[Tensor], list[Tensor]] = ([], [])
        for layer in range(2):
            steps, batch, _ = x.shape
            state = (1, batch, self.hidden_size)
            weights = [getattr(self, f"{name}{layer}") for name in "WRB"]
            y, h_last, c_last = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (x, *weights, None, h[layer : layer + 1], c[layer : layer + 1]),
                {"hidden_size": self.hidden_size},
                dtypes=(torch.float32,) * 3,
                shapes=((steps, 1, batch, self.hidden_size), state, state),
                version=14,
            )
            x = y.squeeze(1)
            last[0].append(h_last)
            last[1].append(c_last)
        return x, torch.cat(last[0]), torch.cat(last[1])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.stack = nn.Embedding(9, 6), Stack((6, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor, h_in: Tensor, c_in: Tensor) -> tuple[Tensor, ...]:
        y, h, c = self.stack(self.embedding(x).transpose(0, 1), h_in, c_in)
        return torch.log_softmax(self.head(y.transpose(0, 1)), -1), h, c


class Last(Tagger):
    def forward(self, x: Tensor, h_in: Tensor, c_in: Tensor) -> tuple[Tensor, ...]:
        y, h, c = self.stack(self.embedding(x).transpose(0, 1), h_in, c_in)
        return self.head(y.transpose(0, 1)[:, -1]), h, c


class Residual(Tagger):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.stack = nn.Embedding(9, 8), Stack((8, 8))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor, h_in: Tensor, c_in: Tensor) -> tuple[Tensor, ...]:
        e = self.embedding(x)
        y, h, c = self.stack(e.permute(1, 0, 2), h_in, c_in)
        y = self.norm(torch.cat([e, y.permute(1, 0, 2) + e], -1))
        return torch.relu(self.head(y)).view(x.shape[0], -1, 5), h, c


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.stack = nn.Conv1d(6, 8, 1), Stack((8, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor, h_in: Tensor, c_in: Tensor) -> tuple[Tensor, ...]:
        y = torch.relu(self.convolution(x.transpose(1, 2))).permute(2, 0, 1)
        y, h, c = self.stack(y, h_in, c_in)
        return self.head(y).transpose(0, 1), h, c


def exported(module: nn.Module, x: Tensor) -> ir.Model:
    """Return what torch writes for `module`, with the axes named as the contract names them."""
    h, c = (torch.zeros(2, x.shape[0], 8) for _ in range(2))
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    shapes = ({0: batch, 1: sequence}, {1: batch}, {1: batch})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), (x, h, c), dynamic_shapes=shapes, strict=False)
        written = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=["x", "h_in", "c_in"],
            output_names=["output", "h_out", "c_out"],
        )
    assert written is not None
    model = written.model
    first, second = (dim for dim in model.graph.inputs[0].shape or () if not isinstance(dim, int))
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.shape = ir.Shape(
            dim
            if isinstance(dim, int)
            else re.sub(f"{second}", "sequence", re.sub(f"{first}", "batch", str(dim)))
            for dim in value.shape or ()
        )
    return model


GATES = ["Split", "Sigmoid", "Split", "Mul", "Tanh", "Mul", "Add", "Tanh", "Mul"]


@pytest.mark.parametrize(
    ("module", "x", "front", "back"),
    [
        (Tagger, torch.ones(3, 4).long(), ["Gather"], ["Squeeze", "Gemm", "LogSoftmax"]),
        (Last, torch.ones(3, 4).long(), ["Gather"], ["Squeeze", "Gemm"]),
        (
            Residual,
            torch.ones(3, 4).long(),
            ["Gather", "Gather"],
            ["Add", "Squeeze", "Concat", "LayerNormalization", "Gemm", "Relu"],
        ),
        (
            Convolution,
            torch.ones(3, 4, 6),
            ["Unsqueeze", "Conv", "Relu", "Squeeze", "Gemm"],
            ["Squeeze", "Gemm"],
        ),
    ],
)
def test_what_torch_writes_becomes_a_lean_step(
    module: type[nn.Module], x: Tensor, front: list[str], back: list[str]
):
    """The step graph agrees with the sequence graph, and only these operators are left of it."""
    torch.manual_seed(0)
    whole = exported(module(), x)
    step = gemm_form(at_one_step(whole))
    fold_embeddings(step)
    assert difference(whole, step, 3, 4) < 1e-5
    assert difference(whole, step, 1, 1) < 1e-5
    assert sorted(node.op_type for node in step.graph) == sorted(
        [*front, "Squeeze", "Gemm", *GATES, "Squeeze", "Squeeze", "Gemm", "Gemm", *GATES, *back]
        + ["Slice"] * 4
        + ["Concat"] * 2
    )
