"""Lifted graphs against eager torch, from one-step graphs that torch's exporter wrote."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.export.lift.lift_over_time import lift_over_time
from tests.nets.one_step import H_STATES, LSTM_STATES, SYMBOLS, largest_difference

HIDDEN = 6


class LstmCellWithHead(nn.Module):
    """An embedding, an nn.LSTMCell that exports as the operator, and scores."""

    states = LSTM_STATES
    form = "operator"

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 4)
        self.cell = nn.LSTMCell(4, HIDDEN)
        self.head = nn.Linear(HIDDEN, SYMBOLS)
        order = torch.cat([torch.arange(HIDDEN) + HIDDEN * gate for gate in (0, 3, 1, 2)])
        for name in ("weight_ih", "weight_hh"):
            self.register_buffer(name, getattr(self.cell, name).detach()[order][None])
        biases = [self.cell.bias_ih.detach()[order], self.cell.bias_hh.detach()[order]]
        self.register_buffer("bias", torch.cat(biases)[None])

    def forward(self, x: Tensor, h_in: Tensor, c_in: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        e = self.embedding(x)
        if torch.compiler.is_exporting():
            batch = x.shape[0]
            weights: list[Tensor] = [*self.buffers()]
            _, h, c = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                [e[None], *weights, None, h_in[None], c_in[None]],
                {"hidden_size": HIDDEN},
                dtypes=[torch.float32] * 3,
                shapes=[(1, 1, batch, HIDDEN), (1, batch, HIDDEN), (1, batch, HIDDEN)],
                version=14,
            )
            h, c = h[0], c[0]
        else:
            h, c = self.cell(e, (h_in, c_in))
        return torch.log_softmax(self.head(h), 1), h, c


class NormalisedCell(nn.Module):
    """A hand-written cell on x and h side by side, with a layer norm inside."""

    states = H_STATES
    form = "scan"

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 4)
        self.both = nn.Linear(4 + HIDDEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.head = nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, x: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.norm(self.both(torch.cat([self.embedding(x), h_in], 1))))
        return self.head(h), h


def exported(module: nn.Module, states: list[tuple[str, str]]) -> ir.Model:
    """Export one step with a dynamic batch."""
    inputs = (torch.tensor([0, 1]), *(torch.randn(2, HIDDEN) for _ in states))
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        module, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs), strict=False
    )
    onnx_program = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=18,
        input_names=["x", *(before for before, _ in states)],
        output_names=["output", *(after for _, after in states)],
    )
    assert onnx_program is not None
    model = onnx_program.model
    for port in (*model.graph.inputs, *model.graph.outputs):
        port.shape = ir.Shape(["batch", *list(port.shape or ())[1:]])
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", [LstmCellWithHead, NormalisedCell])
def test_a_lifted_torch_step_agrees_with_eager_torch(kind):
    """The lift of an exported step gives what eager torch gives step by step."""
    torch.manual_seed(0)
    module = kind().eval()
    one = exported(module, kind.states)

    def eager(feeds):
        ports = ["x", *(before for before, _ in kind.states)]
        with torch.no_grad():
            results = module(*(torch.from_numpy(feeds[port]) for port in ports))
        names = ["output", *(after for _, after in kind.states)]
        return {name: value.numpy() for name, value in zip(names, results, strict=True)}

    lifted = lift_over_time(one, kind.states)
    assert lifted.form == kind.form
    assert largest_difference(one, lifted.model, kind.states, reference=eager) < 1e-5


class DroppedState(nn.Module):
    """A cell with a state beside one that starts every step from the data."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.dropped = nn.GRUCell(3, HIDDEN), nn.LSTMCell(3, HIDDEN)
        self.first = nn.Linear(3, HIDDEN)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h, z = self.kept(x, h), self.first(x)
        return self.dropped(x, (z, z))[0] + h, h


def test_a_state_that_is_dropped(tmp_path: Path) -> None:
    """A cell that leaves a state which nobody keeps is no layer: the sequence graph is a Scan."""
    inputs = ["x:float32[batch,3]", f"h:float32[batch,{HIDDEN}]"]
    artifact = edgernn.export_model(DroppedState().eval(), tmp_path / "model", inputs=inputs)
    assert artifact.contract.notes == (
        "The sequence graph repeats single steps in a Scan, which is slower than an operator for "
        "all steps: `LSTM` `dropped_l0` drops the state it leaves.",
    )


class Gaussian(nn.Module):
    """A policy that returns a deviation that is the same at all steps, a weight."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, HIDDEN), nn.Linear(HIDDEN, 2)
        self.log_std = nn.Parameter(torch.randn(2) if axis == 0 else torch.randn(2, 1))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.cell(x, h)
        return self.head(h), self.log_std.exp(), h


@pytest.mark.parametrize("axis", [0, 1])
def test_an_output_that_depends_on_no_input_needs_no_scan(
    tmp_path: Path, axis: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is repeated for each step, beside cells that stay operators."""
    inputs = ["x:float32[batch,3]", f"h:float32[batch,{HIDDEN}]"]
    artifact = edgernn.export_model(Gaussian(axis).eval(), tmp_path / "model", inputs=inputs)
    assert artifact.contract.notes == ()
    assert not [record for record in caplog.records if record.name.startswith("onnx_ir")]
