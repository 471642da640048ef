"""A trace with a constant number of steps, with the other options too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export import verify_artifact
from tests.nets.tagger import Learned, Tagger, ports, replayed, tagged


def test_the_sequence_graph_takes_that_many_steps(tmp_path: Path) -> None:
    """Its ports have the number, by the names of their axes; the step graph is as ever."""
    artifact = tagged("LSTM", tmp_path, steps=4)
    assert ports(artifact) == [
        "ids: int64[batch, 4]",
        "h_in: float32[2, batch, 6]",
        "c_in: float32[2, batch, 6]",
        "output: float32[batch, 4, 5]",
        "h_out: float32[2, batch, 6]",
        "c_out: float32[2, batch, 6]",
    ]
    assert ports(artifact, "step")[0] == "ids: int64[batch]"
    assert artifact.contract.constants == {"sequence": 4}
    assert artifact.contract.graphs["sequence"].input("ids").axes == ("batch", "sequence")
    report = artifact.parity
    assert report is not None
    assert {(check.graph, check.name, check.sequence) for check in report.checks} == {
        ("sequence", "whole", 4),
        ("sequence", "chunks", 8),
        ("sequence", "drift", 1000),
        ("sequence", "golden", 8),
        *(("step", "steps", steps) for steps in (1, 7, 5)),
        ("step", "drift", 1000),
        ("step", "golden", 8),
    }
    checks = {(check.name, check.sequence) for check in replayed(artifact).checks}
    assert checks == {("steps", 8), ("chunks", 8)}


@pytest.mark.parametrize("graph", ["both", "sequence"])
def test_cost_is_that_of_one_step_of_one_sequence(graph: str, tmp_path: Path) -> None:
    """The numbers of the axes do not count."""
    model = nn.LSTM(4, 6, 2)
    options: dict[str, Any] = {"graph": graph, "verify": False}
    free = edgernn.export_model(model, tmp_path / "a.edgernn", **options)
    fixed = edgernn.export_model(model, tmp_path / "b.edgernn", batch_size=3, steps=4, **options)
    assert fixed.cost == free.cost


def test_a_stream_agrees_with_eager_torch(tmp_path: Path) -> None:
    """Chunks of every length give what eager torch gives for the whole sequence."""
    stream = edgernn.load(tagged("GRU", tmp_path, steps=4, verify=False).path).stream(batch=2)
    ids = torch.randint(7, (2, 28))
    with torch.no_grad():
        expected = Tagger("GRU").eval()(ids).numpy()
    got = [stream.feed(ids[:, t * (t - 1) // 2 : t * (t + 1) // 2].numpy()) for t in range(1, 8)]
    np.testing.assert_allclose(np.concatenate(got, 1), expected, atol=1e-5)


class Windowed(nn.Module):
    """A convolution over 3 steps, which needs as many."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3)
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return y


class Flattened(nn.Module):
    """All steps at once into a head, which fixes their number."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(30, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.rnn(x)[0].reshape(x.shape[0], -1))
        return scores


def test_a_number_in_the_spec_is_the_same(tmp_path: Path) -> None:
    """`[batch,4,...]` where the model takes any number of steps is `steps=4`, step graph too."""
    model = Learned().eval()
    spec = edgernn.export_model(
        model, tmp_path / "a.edgernn", inputs=["x:float32[batch,4,4]"], verify=False
    )
    option = edgernn.export_model(
        model,
        tmp_path / "b.edgernn",
        inputs=["x:float32[batch,sequence,4]"],
        steps=4,
        verify=False,
    )
    assert spec.contract.graphs == option.contract.graphs
    assert spec.digests == option.digests


def test_it_is_proven_again(tmp_path: Path) -> None:
    """`verify --against` finds the numbers in the artifact."""
    artifact = tagged("GRU", tmp_path, steps=3, batch_size=2, verify=False)
    report = verify_artifact(artifact, Tagger("GRU"))
    assert report.passed
    wholes = {(c.batch, c.sequence) for c in report.checks if c.name == "whole"}
    assert wholes == {(2, 3)}


def test_lengths_reach_up_to_the_steps(tmp_path: Path) -> None:
    """Sequences may end before the last step, never after it."""
    artifact = tagged("LSTM", tmp_path, steps=4, lengths=True, verify=False)
    model = edgernn.load(artifact.path)
    ids = np.array([[1, 2, 3, 4], [5, 6, 0, 1]])
    short = model.run({"ids": ids, "lengths": np.array([4, 2])}).state["h"]
    other = np.array([[1, 2, 3, 4], [5, 6, 3, 3]])
    np.testing.assert_array_equal(
        short, model.run({"ids": other, "lengths": np.array([4, 2])}).state["h"]
    )
    with pytest.raises(InputError) as caught:
        model(ids, lengths=np.array([4, 5]))
    assert str(caught.value) == (
        "`lengths: int64[batch]` has length 5 at 1; sequences of this call have 1 to 4 steps."
    )


class Weighted(nn.Module):
    """Steps weighted by numbers that Python counts."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.tensor([1 / (1 + step) for step in range(x.shape[1])])
        y: Tensor = self.rnn(x)[0] * weights.unsqueeze(1)
        return y


def test_a_forward_that_counts_its_steps(tmp_path: Path) -> None:
    """What cannot be traced for any number of steps is traced for the one that the spec gives."""
    path = tmp_path / "m.edgernn"
    model = Weighted().eval()
    with pytest.raises(UnsupportedModelError, match="`Weighted` cannot be traced"):
        edgernn.export_model(model, path, inputs=["x:float32[batch,sequence,4]"])
    artifact = edgernn.export_model(model, path, inputs=["x:float32[batch,5,4]"])
    assert ports(artifact)[0] == "x: float32[batch, 5, 4]"
    assert artifact.contract.notes == (
        "There is no step graph: forward fixes its sequences to 5 steps.",
    )
    assert replayed(artifact).passed


def test_a_model_that_fixes_its_steps(tmp_path: Path) -> None:
    """It is only a sequence graph, of the steps of the example that it was given."""
    torch.manual_seed(0)
    artifact = edgernn.export_model(
        Flattened().eval(), tmp_path / "m.edgernn", inputs=(torch.zeros(2, 5, 4),)
    )
    assert ports(artifact)[0] == "x: float32[batch, 5, 4]"
    assert artifact.contract.notes == (
        "Axis 1 of `x` (sequence) is the constant 5: forward itself fails at other sizes (mat1 and "
        "mat2 shapes cannot be multiplied (2x36 and 30x2)).",
        "There is no step graph: forward fixes its sequences to 5 steps.",
    )
    assert not artifact.contract.carry
    assert replayed(artifact).passed


@pytest.mark.parametrize(
    ("model", "spec", "options", "message"),
    [
        (
            nn.GRU,
            "input:float32[sequence,batch,4]",
            {"steps": 0},
            "`steps` is 0; expected an integer of at least 1.",
        ),
        (
            nn.GRU,
            "input:float32[sequence,batch,4]",
            {"steps": -3},
            "`steps` is -3; expected an integer of at least 1.",
        ),
        (
            nn.GRU,
            "input:float32[5,batch,4]",
            {"steps": 6},
            "`steps` is 6, but the inputs are given with 5 steps. Give one number, in one place.",
        ),
        (
            nn.GRU,
            "input:float32[sequence,batch,4]",
            {"steps": 6, "graph": "step"},
            '`steps` is 6, which is of the sequence graph, but graph="step" writes none. Leave '
            "out one of the two.",
        ),
        (
            Flattened,
            "x:float32[batch,5,4]",
            {"steps": 6},
            "`steps` cannot be 6: the model has no dynamic axis `sequence`. It takes "
            "`x: float32[batch, 5, 4]`.",
        ),
        (
            Windowed,
            "x:float32[batch,sequence,4]",
            {"steps": 2},
            "eager torch itself fails at `sequence` 2: Calculated padded input size per channel: "
            "(2). Kernel size: (3). Kernel size can't be greater than actual input size. Give "
            "another size.",
        ),
    ],
    ids=["zero", "negative", "two numbers", "step alone", "fixed by the model", "too few"],
)
def test_numbers_that_cannot_be(
    model: Callable[..., nn.Module],
    spec: str,
    options: Mapping[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    """Each is refused by name before anything is written."""
    module = model(4, 6) if model is nn.GRU else model()
    with pytest.raises(InputError) as caught:
        edgernn.export_model(module, tmp_path / "m.edgernn", inputs=[spec], **options)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []
