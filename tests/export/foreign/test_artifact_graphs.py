"""Artifacts and their graphs exported once more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgernn.artifact import Artifact
from edgernn.errors import ContractError, UnsupportedModelError
from edgernn.export.pipeline import export_model
from tests.nets.torch_onnx import shown


class Speller(nn.Module):
    """A layer that starts from a learned state, and another behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.encoder = nn.GRU(4, 3, batch_first=True)
        self.decoder = nn.LSTM(3, 3, batch_first=True)
        self.start = nn.Parameter(torch.tensor([[[0.5, -1.0, 2.0]]]))
        self.head = nn.Linear(3, 5)

    def forward(self, tokens):
        start = self.start.expand(1, tokens.shape[0], 3).contiguous()
        y, _ = self.encoder(self.embedding(tokens), start)
        return self.head(self.decoder(y)[0])


@pytest.fixture(scope="module")
def spellers(tmp_path_factory) -> dict[str, Artifact]:
    """An artifact with a vocabulary and a learned state, and the same with lengths."""
    folder = tmp_path_factory.mktemp("spellers")
    torch.manual_seed(0)
    model = Speller()
    return {
        name: export_model(
            model,
            folder / f"{name}.edgernn",
            vocabulary=list("abcde"),
            lengths=name == "ended",
            rate=62.5,
            verify=False,
        )
        for name in ("plain", "ended")
    }


def kept(first: Artifact, again: Artifact) -> None:
    """Assert that a contract came through: names, initial values, symbols, rate."""
    assert again.contract.vocabulary == first.contract.vocabulary
    assert (again.contract.sample_rate, first.contract.sample_rate) == (62.5, 62.5)
    for before, after in zip(first.contract.states, again.contract.states, strict=True):
        assert (after.name, after.input, after.output) == (before.name, before.input, before.output)
        np.testing.assert_array_equal(
            first.contract.initial(before, 2), again.contract.initial(after, 2)
        )


@pytest.mark.parametrize("source", [".", "sequence.onnx", "step.onnx"])
def test_what_is_in_the_metadata_is_kept(tmp_path, spellers, source):
    """Vocabulary, learned states and names come from the folder as from each of its graphs."""
    first = spellers["plain"]
    again = export_model(first.path / source, tmp_path / "again.edgernn")
    kept(first, again)
    assert [state.name for state in again.contract.states] == [
        "encoder_h",
        "decoder_h",
        "decoder_c",
    ]
    for kind in ("sequence", "step"):
        assert shown(again, kind) == shown(first, kind)
    assert again.parity is not None
    other = "reached" if source == "step.onnx" else "random"  # no layer shows in its operators
    assert {check.initial for check in again.parity.checks} == {"learned", other}


def test_lengths_are_kept(tmp_path, spellers):
    """A folder has the step graph that a graph with lengths cannot be taken apart into."""
    first = spellers["ended"]
    folder = export_model(first.path, tmp_path / "folder.edgernn")
    kept(first, folder)
    assert folder.contract.lengths == ("lengths",)
    assert shown(folder) == shown(first)
    assert shown(folder, "step") == shown(first, "step")
    alone = export_model(first.path / "sequence.onnx", tmp_path / "alone.edgernn")
    assert alone.contract.lengths == ("lengths",)
    assert alone.contract.notes == (
        "There is no step graph: its lengths are written in operators that cannot be taken apart "
        "into steps. Export the folder of the artifact in float32, which has one.",
    )


def test_a_recurrence_that_is_a_scan(tmp_path):
    """A projected layer, which is a Scan, keeps its states; its folder has the step."""
    first = export_model(nn.LSTM(3, 4, proj_size=2), tmp_path / "first.edgernn", verify=False)
    folder = export_model(first.path, tmp_path / "folder.edgernn")
    assert shown(folder, "step") == shown(first, "step")
    alone = export_model(first.path / "sequence.onnx", tmp_path / "alone.edgernn")
    assert shown(alone) == shown(first)
    assert alone.contract.notes == (
        "There is no step graph: its recurrence is written in operators that cannot be taken apart "
        "into steps. Export the folder of the artifact in float32, which has one.",
    )


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_an_artifact_of_integers_is_refused(tmp_path, precision):
    """What is quantized already is not taken for the model itself, in any precision."""
    model = nn.GRU(16, 4)
    first = export_model(model, tmp_path / "q.edgernn", precision=precision, verify=False)
    for again in ("float32", "float16", "int8", "int4"):
        with pytest.raises(UnsupportedModelError) as caught:
            export_model(first.path, tmp_path / "again.edgernn", precision=again)
        assert str(caught.value) == (
            f"`{first.sequence}` is in {precision}: its weights are integers, from which no other "
            "precision and no other graph can be made. Export the model that it was made from, "
            "with the options that you want."
        )
    export_model(model, tmp_path / "again.edgernn", precision="float16", verify=False)


def test_a_table_of_bytes_is_no_quantized_weight(tmp_path):
    """A model in float32 whose features are stored as bytes is exported again in any precision."""
    torch.manual_seed(0)
    features = torch.randint(0, 100, (20, 6), dtype=torch.uint8)

    class Described(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 4, batch_first=True)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            """Return (batch, sequence, 4) of (batch, sequence) ids."""
            whole: torch.Tensor = self.gru(features[ids].float() / 100)[0]
            return whole

    ids = torch.zeros(2, 3, dtype=torch.int64)
    first = export_model(Described(), tmp_path / "first", inputs=[ids], verify=False)
    again = export_model(first.path, tmp_path / "again", verify=False)
    assert shown(again) == shown(first)


def test_options_for_an_artifact(tmp_path, spellers):
    """What was not asked for at first can be asked for of the folder."""
    first = spellers["plain"]
    again = export_model(
        first.path, tmp_path / "again.edgernn", precision="float16", state_layout="batch-major"
    )
    assert shown(again, "step")[:2] == [
        "tokens: int64[batch]",
        "encoder_h_in: float16[batch, 1, 3]",
    ]
    third = export_model(again.path, tmp_path / "third.edgernn")
    assert shown(third, "step")[:2] == [
        "tokens: int64[batch]",
        "encoder_h_in: float32[batch, 1, 3]",
    ]


def test_an_artifact_of_one_graph(tmp_path):
    """A folder with a step graph alone gets its sequence graph."""
    first = export_model(nn.GRU(3, 4), tmp_path / "first.edgernn", graph="step", verify=False)
    again = export_model(first.path, tmp_path / "again.edgernn")
    assert list(again.contract.graphs) == ["sequence", "step"]
    assert shown(again, "step") == shown(first, "step")


def test_a_folder_that_was_changed(tmp_path, spellers):
    """A graph that is not the one that was written is refused."""
    first = spellers["plain"].path
    folder = tmp_path / "changed.edgernn"
    folder.mkdir()
    for file in ("contract.json", "step.onnx", "sequence.onnx"):
        (folder / file).write_bytes(Path(first / file).read_bytes())
    with (folder / "sequence.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert json.loads((folder / "contract.json").read_text("utf-8"))["contract"] == "1"
    with pytest.raises(ContractError) as info:
        export_model(folder, tmp_path / "again.edgernn")
    assert str(info.value).startswith(f"`{folder / 'sequence.onnx'}`")
