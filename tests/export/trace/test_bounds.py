"""Sizes up to which a trace is the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import edgernn
from edgernn.errors import InputError, ParityError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.bounds import Bounds, find_bounds

Forward = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """Does what it is given."""

    def __init__(self, run: Forward) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def bounds(run: Forward) -> Bounds:
    """Return the bounds of a trace at a batch of 2 and 5 steps."""
    x = torch.randn(2, 5, 4)
    free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    program = torch.export.export(Net(run), (x,), dynamic_shapes=({"x": free}), strict=False)
    return find_bounds(program, ExampleCall({"x": x}, {"x": ("batch", "sequence", 4)}))


WITHIN: dict[str, tuple[Forward, dict[str, int], dict[str, int]]] = {
    "a branch": (lambda x: x[:, :64] if x.shape[1] > 64 else x, {"sequence": 64}, {}),
    "on half": (lambda x: 2 * x if x.shape[1] // 2 > 10 else x, {"sequence": 21}, {}),
    "many steps": (lambda x: 2 * x if x.shape[1] > 70_000 else x, {"sequence": 70_000}, {}),
    "positions": (lambda x: x + torch.ones(512, 4)[: x.shape[1]], {"sequence": 512}, {}),
    "both sides": (
        lambda x: 2 * x if x.shape[1] < 3 or x.shape[1] > 99 else x,
        {"sequence": 99},
        {"sequence": 3},
    ),
    "sequences": (lambda x: 2 * x if x.shape[0] > 8 else x, {"batch": 8}, {}),
    "mirrored": (lambda x: nn.functional.pad(x.mT, (3, 0), "reflect"), {}, {"sequence": 4}),
    "any": (lambda x: x.cumsum(1), {}, {}),
}


@pytest.mark.parametrize(("run", "most", "least"), WITHIN.values(), ids=WITHIN)
def test_bounds_of_a_trace(run: Forward, most: dict[str, int], least: dict[str, int]) -> None:
    """The sizes of the side of each branch that was traced."""
    found = bounds(run)
    assert (found.most, found.least) == (most, least)


def test_unproven_sizes() -> None:
    """Single sizes, and sizes of two axes together, are not a bound, but have to be proven."""
    odd = bounds(lambda x: x if x.shape[1] % 2 else 2 * x)
    assert (odd.most, odd.least) == ({}, {})
    assert odd.unproven[:2] == ({"sequence": 2}, {"sequence": 4})
    seven = bounds(lambda x: 2 * x if x.shape[1] == 7 else x)
    assert seven.unproven == ({"sequence": 7},)
    together = bounds(lambda x: 2 * x if x.shape[0] * x.shape[1] > 100 else x)
    assert all(one["batch"] * one["sequence"] > 100 for one in together.unproven)
    assert len(together.unproven) == 3


def test_a_note_names_the_line() -> None:
    """For people: the bound, and where forward branches."""
    found = bounds(lambda x: x[:, :64] if x.shape[1] > 64 else x)
    (note,) = found.notes
    line = test_a_note_names_the_line.__code__.co_firstlineno + 2
    assert note.startswith("`sequence` is at most 64: forward does something else, or fails, for")
    assert note.endswith(f" more ({Path(__file__).name}:{line}).")


class Tagger(nn.Module):
    """A layer over at most `most` steps, or with another result for a number of steps."""

    def __init__(self, most: int = 64, doubled: int = 0) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True, bidirectional=True)
        self.most, self.doubled = most, doubled

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, : self.most] if x.shape[1] > self.most else x
        output: Tensor = self.rnn(x)[0]
        return 2 * output if x.shape[1] == self.doubled else output


def test_an_artifact_says_its_bound(tmp_path: Path) -> None:
    """The contract has it, the runtime refuses more, and a constant number above is refused."""
    torch.manual_seed(0)
    artifact = edgernn.export_model(Tagger(), tmp_path / "m.edgernn")
    assert artifact.contract.most == {"sequence": 64}
    assert any(note.startswith("`sequence` is at most 64") for note in artifact.contract.notes)
    model = edgernn.load(artifact.path)
    assert model(torch.zeros(1, 64, 3).numpy()).shape == (1, 64, 8)
    with pytest.raises(InputError) as caught:
        model(torch.zeros(1, 65, 3).numpy())
    assert str(caught.value) == (
        "`x: float32[batch, sequence, 3]` came with 65 steps; the sequence graph takes at most 64. "
        "Give fewer."
    )
    with pytest.raises(InputError) as caught:
        edgernn.export_model(Tagger(), tmp_path / "n.edgernn", steps=65)
    assert str(caught.value) == "`steps` cannot be 65: the model takes at most 64."


def test_a_size_apart_is_proven(tmp_path: Path) -> None:
    """A size at which forward does something else is found, wherever it is."""
    with pytest.raises(ParityError, match="at batch 2, sequence 41, "):
        edgernn.export_model(Tagger(doubled=41), tmp_path / "m.edgernn")


class Positions(nn.Module):
    """Fifty positions; results of half the steps, of the twenty largest, of windows of four."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)
        self.positions = nn.Embedding(50, 3)
        self.window = window

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        output = self.rnn(x + self.positions(torch.arange(x.shape[1])))[0]
        largest = output.topk(min(20, output.shape[1]), 1).values
        windows = output.unfold(1, self.window, 1).sum(-1)
        return {"half": output[:, ::2], "largest": largest, "windows": windows}


@pytest.mark.parametrize(("window", "least"), [(1, {}), (4, {"sequence": 4})])
def test_bounds_of_torchs_own_are_none(tmp_path: Path, window: int, least: dict[str, int]) -> None:
    """Those that stay are where forward fails, or the graph is another; each axis has a name."""
    torch.manual_seed(0)
    path = tmp_path / "m.edgernn"
    artifact = edgernn.export_model(Positions(window).eval(), path, verify=False)
    contract = artifact.contract
    assert (contract.most, contract.least) == ({"sequence": 50}, least)
    assert contract.sequence is not None
    shapes = {port.name: port.shape[1] for port in contract.data_outputs("sequence")}
    assert shapes == {
        "half": "(sequence + 1)//2",
        "largest": "largest_dim1",
        "windows": "sequence" if window == 1 else "sequence - 3",
    }
    assert (
        "Axis 1 of `largest` is `largest_dim1`: its size has no expression in the contract."
        in contract.notes
    )
