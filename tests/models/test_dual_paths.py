"""States with a row for every bin: their options, single sequences in a batch, wrong pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import edgernn
from edgernn.errors import ParityError
from edgernn.export.states.folded_batch import FoldedBatch
from tests.models.dual_paths import BINS, WIDTH, DualPath, LearnedStart, TakesState, TimeFirst
from tests.models.proof import signature
from tests.nets.tagger import replayed

LAYOUTS: dict[str, Any] = {"state_layout": "batch-major", "state_per_layer": True, "reset": True}


class Swapped(nn.Module):
    """Takes and returns two states of equal shape."""

    def __init__(self):
        super().__init__()
        self.first, self.second = TakesState(), TakesState()

    def forward(self, x, a, b):
        y, a = self.first(x, a)
        z, b = self.second(x.flip(3), b)
        return y + z, a, b


class WithConvolutions(nn.Module):
    """A dual path between causal convolutions over time and bins, of (batch, sequence, bins)."""

    def __init__(self, bins=9):
        super().__init__()
        self.encoder = nn.Conv2d(1, WIDTH, (2, 5), stride=(1, 2), padding=(0, 2))
        self.path, self.decoder = DualPath(), nn.Conv2d(WIDTH, 2, (3, 1), dilation=(2, 1))

    def forward(self, x):
        y = self.encoder(nn.functional.pad(x[:, None], (0, 0, 1, 0))).relu()
        y = self.path(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.decoder(nn.functional.pad(y, (0, 0, 4, 0)))


@pytest.mark.parametrize(
    ("model", "states"),
    [
        (TimeFirst, ("h_l0", "c_l0", "h_l1", "c_l1")),
        (LearnedStart, ("h_l0", "h_l1")),
    ],
)
def test_options_of_states_take_rows(model: type[nn.Module], states: tuple[str, ...], tmp_path):
    """Batch in front, a state for each layer, and a mask, whatever the order of torch's rows."""
    example = torch.randn(2, 6, BINS, WIDTH)
    artifact = edgernn.export_model(model(), tmp_path / "m.edgernn", inputs=(example,), **LAYOUTS)
    contract = artifact.contract
    assert [state.name.removeprefix("inter_") for state in contract.states] == [*states]
    assert {port.shape[:3] for port in contract.state_ports.values()} == {("batch", 1, BINS)}
    assert replayed(artifact).passed


@pytest.mark.parametrize("kind", [DualPath, TimeFirst, LearnedStart])
def test_a_sequence_that_is_reset_starts_anew_with_all_its_rows(kind: type[nn.Module], tmp_path):
    """The others go on: each row is that of its own sequence."""
    module = kind().eval()
    x = torch.randn(3, 7, BINS, WIDTH)
    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=(x,), reset=True)
    stream = edgernn.load(artifact.path).stream(batch=3)
    stream.feed(x[:, :4].numpy(), np.zeros(3, bool))
    rest = stream.feed(x[:, 4:].numpy(), np.array([False, True, False]))
    with torch.no_grad():
        whole, anew = module(x)[:, 4:], module(x[:, 4:])
    for sequence, expected in enumerate((whole, anew, whole)):
        np.testing.assert_allclose(rest[sequence], expected[sequence], rtol=0, atol=1e-5)


def test_the_numbers_of_a_state_are_in_torchs_order(tmp_path):
    """A state of torch, given another shape, starts both graphs."""
    module = TakesState().eval()
    artifact = edgernn.export_model(
        module,
        tmp_path / "m.edgernn",
        inputs=["x:float32[batch,sequence,5,4]", "h:float32[2,5*batch,6]"],
    )
    x, h = torch.randn(3, 4, BINS, WIDTH), torch.randn(2, 3 * BINS, 6)
    with torch.no_grad():
        expected, after = module(x, h)
    result = edgernn.load(artifact.path).run({"x": x.numpy()}, {"h": h.numpy().reshape(2, 3, 5, 6)})
    np.testing.assert_allclose(result.outputs["output"], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        result.state["h"].reshape(2, 15, 6), after.numpy(), rtol=0, atol=1e-5
    )


def test_states_of_equal_shape_that_are_named_the_wrong_way_are_found(tmp_path):
    """Parity runs both pairs from states of their own."""
    inputs = ["x:float32[batch,sequence,5,4]", *(f"{one}:float32[2,5*batch,6]" for one in "ab")]
    right = edgernn.export_model(Swapped(), tmp_path / "right.edgernn", inputs=inputs)
    assert right.step is not None
    wrong = edgernn.export_model(
        Swapped(), tmp_path / "wrong.edgernn", inputs=inputs, states={"a": 2, "b": 1}
    )
    assert wrong.step is None
    assert "its state cannot be carried on" in wrong.contract.no_step


def test_rows_in_another_order_than_torchs_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Parity runs from states whose rows all differ, so that the graph and torch disagree."""

    def turned(folded: FoldedBatch, state: NDArray[Any]) -> NDArray[Any]:
        return state.swapaxes(1, 2).reshape(len(state), -1, state.shape[-1])

    monkeypatch.setattr(FoldedBatch, "fold", turned)
    with pytest.raises(ParityError, match=r"^The sequence graph does not agree with eager torch"):
        edgernn.export_model(
            DualPath(), tmp_path / "m.edgernn", inputs=(torch.randn(2, 6, BINS, WIDTH),)
        )
    assert list(tmp_path.iterdir()) == []


class Rolled(TakesState):
    """Rows that no array of axes has: they are shifted by one."""

    def forward(self, x):
        rows = x.transpose(1, 2).flatten(0, 1).roll(1, 0)
        return self.gru(rows)[0].unflatten(0, (len(x), BINS)).transpose(1, 2)


@pytest.mark.parametrize(
    ("model", "bins", "reason"),
    [
        (
            TimeFirst,
            "bins",
            "layer `inter` has a state of `bins*batch` rows, which cannot be told by sequence. "
            "Give `bins` as a number in the inputs.",
        ),
        (
            Rolled,
            "5",
            "layer `gru` has a state of `5*batch` rows, which cannot be told by sequence. Fold the "
            "axes of x into them by reshape and transpose alone.",
        ),
    ],
)
def test_rows_that_cannot_be_told_by_sequence_are_no_state(
    model: type[nn.Module], bins: str, reason: str, tmp_path
):
    """The graph runs whole sequences, and says what to do for a step."""
    artifact = edgernn.export_model(
        model(), tmp_path / "m.edgernn", inputs=[f"x:float32[batch,sequence,{bins},4]"]
    )
    contract = artifact.contract
    assert (contract.carry, contract.states, contract.no_step) == (False, (), reason)


def test_a_layer_along_bins_is_inside_of_a_step_with_contexts(tmp_path):
    """Between convolutions over time, the layer along the bins stays an operator in both graphs."""
    module = WithConvolutions().eval()
    artifact = edgernn.export_model(
        module, tmp_path / "m.edgernn", inputs=["x:float32[batch,sequence,9]"]
    )
    assert signature(artifact) == (
        "x: float32[batch, sequence, 9]; path_inter_h[1, batch, 5, 4], "
        "encoder_context[batch, 1, 1, 9], decoder_context[batch, 4, 4, 5] -> "
        "output: float32[batch, 2, sequence, 5] (sequence + step)"
    )
    kinds = [node.op_type for node in onnx.load(artifact.step or "").graph.node]
    assert kinds.count("GRU") == 1
    x = torch.randn(3, 11, 9)
    with torch.no_grad():
        expected = module(x)
    stream = edgernn.load(artifact.path).stream(batch=3)
    steps = [stream.step(one.numpy()) for one in x.unbind(1)]
    np.testing.assert_allclose(np.stack(steps, 2), expected, rtol=0, atol=1e-5)
