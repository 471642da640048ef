"""An input that says which sequences start anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import UnsupportedModelError
from tests.nets.tagger import KINDS, learned, ports, replayed, tagged


class Named(nn.Module):
    """A model with an argument of the input's name."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6)

    def forward(self, reset: Tensor) -> Tensor:
        y: Tensor = self.rnn(reset)[0]
        return y


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_stands_between_data_and_states(kind: str, tmp_path: Path) -> None:
    """Both graphs take one truth value for each sequence; parity starts sequences by it."""
    artifact = tagged(kind, tmp_path, reset=True)
    assert ports(artifact)[:2] == ["ids: int64[batch, sequence]", "reset: bool[batch]"]
    for graph in artifact.contract.graphs.values():
        assert [port.name for port in graph.inputs][1] == "reset"
        assert graph.input("reset").origin is None
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 1e-5
    assert replayed(artifact).passed


def test_episodes_of_one_batch_end_on_their_own(tmp_path: Path) -> None:
    """A sequence that is reset goes on as a new one, the others as they were."""
    model = edgernn.load(tagged("LSTM", tmp_path, reset=True).path)
    both, new = model.stream(batch=2), model.stream(batch=1)
    both.feed(np.array([[1, 2], [3, 4]]), np.zeros(2, bool))
    alone = both.fork()
    mixed = both.step(np.array([5, 5]), np.array([True, False]))
    kept = alone.step(np.array([5, 5]), np.array([False, False]))
    np.testing.assert_allclose(mixed[:1], new.step(np.array([5]), np.array([False])), atol=1e-6)
    np.testing.assert_allclose(mixed[1:], kept[1:], atol=1e-6)
    assert abs(mixed[0] - kept[0]).max() > 1e-3


def test_states_share_the_mask(tmp_path: Path) -> None:
    """The mask gets its axes of size 1 once for h and c."""
    artifact = tagged("LSTM", tmp_path, reset=True, verify=False)
    for file in (artifact.sequence, artifact.step):
        assert file is not None
        readers = [node for node in onnx.load(file).graph.node if "reset" in node.input]
        assert [node.op_type for node in readers] == ["Unsqueeze"]


def test_a_reset_sequence_starts_from_the_trained_state(tmp_path: Path) -> None:
    """Start means what torch starts from, which need not be zeros."""
    model = edgernn.load(learned(tmp_path, reset=True).path)
    x = np.ones((1, 3, 4), np.float32)
    wrong = {"h": np.full((2, 1, 6), 9, np.float32)}
    by_mask = model.run({"x": x, "reset": np.array([True])}, wrong).outputs["output"]
    np.testing.assert_array_equal(by_mask, model(x, np.array([False])))


def test_an_argument_of_that_name_is_refused(tmp_path: Path) -> None:
    """Two inputs cannot have one name."""
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(
            Named(), tmp_path / "m.edgernn", inputs=(torch.zeros(5, 2, 4),), reset=True
        )
    assert str(caught.value) == (
        "The model has an input `reset` of its own. Rename forward's argument."
    )


def test_a_model_without_a_batch_is_refused(tmp_path: Path) -> None:
    """There are no sequences to tell apart."""
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(
            nn.GRU(4, 6),
            tmp_path / "m.edgernn",
            inputs=["input:float32[sequence,4]"],
            reset=True,
        )
    assert str(caught.value) == (
        "State `h_in` is [1, 1, 6]; `reset` needs a dynamic axis `batch` in it. "
        "Export it without `reset`."
    )


class Latched(nn.Module):
    """Remembers whether a number was ever large, in a flag for each sequence."""

    def __init__(self, start: bool) -> None:
        super().__init__()
        self.start = start
        self.rnn = nn.GRUCell(3, 4)
        self.seen = torch.full((1, 1), start)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        self.seen = self.seen ^ (x.amax(1, keepdim=True) > 1.5)
        y: Tensor = self.rnn(torch.where(self.seen, x, -x), h)
        return y


@pytest.mark.parametrize("start", [False, True])
def test_a_flag_starts_anew(start: bool, tmp_path: Path) -> None:
    """A state that is bool is chosen by logic, from its own initial value."""
    torch.manual_seed(0)
    specs = ["x:float32[batch,3]", "h:float32[batch,4]"]
    artifact = edgernn.export_model(
        Latched(start), tmp_path / "m.edgernn", inputs=specs, reset=True
    )
    assert artifact.contract.state_ports["seen"].dtype == "bool"
    stream = edgernn.load(artifact.path).stream(batch=2)
    large, small = np.full((2, 3), 2, np.float32), np.full((2, 3), 0.5, np.float32)
    stream.step(large, reset=np.zeros(2, bool))
    stream.step(small, reset=np.array([True, False]))
    assert stream.snapshot()["seen"].tolist() == [[start], [not start]]
