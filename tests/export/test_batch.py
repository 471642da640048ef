"""A constant batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError
from tests.nets.tagger import ports, replayed, tagged


def test_the_batch_is_a_number_on_every_port(tmp_path: Path) -> None:
    """Data, states and outputs of both graphs take that many sequences and no other number."""
    artifact = tagged("LSTM", tmp_path, batch_size=3, precision="float16", state_per_layer=True)
    graphs = artifact.contract.graphs.values()
    shapes = [port.shape for graph in graphs for port in (*graph.inputs, *graph.outputs)]
    assert all(3 in shape and "batch" not in shape for shape in shapes)
    assert ports(artifact)[0] == "ids: int64[3, sequence]"
    assert replayed(artifact).passed


def test_a_stream_of_another_batch_is_refused(tmp_path: Path) -> None:
    """The runtime says which batch there is."""
    model = edgernn.load(tagged("GRU", tmp_path, batch_size=3).path)
    assert model.stream(batch=3).step(np.array([0, 1, 2])).shape == (3, 5)
    with pytest.raises(InputError) as caught:
        model.stream(batch=2)
    assert str(caught.value) == (
        "`batch` is 2, but this model was exported for a batch of 3 only "
        "(`h_in: float32[2, 3, 6]`). Run 3 sequences at a time."
    )


@pytest.mark.parametrize(
    ("spec", "batch", "message"),
    [
        (
            "input:float32[sequence,4]",
            2,
            "`batch_size` cannot be 2: the model has no dynamic axis `batch`. "
            "It takes `input: float32[sequence, 4]`.",
        ),
        (
            "input:float32[sequence,batch,4]",
            0,
            "`batch_size` is 0; expected an integer of at least 1.",
        ),
    ],
)
def test_a_batch_that_cannot_be_is_refused(
    spec: str, batch: int, message: str, tmp_path: Path
) -> None:
    """There must be an axis to fix, and at least one sequence."""
    torch.manual_seed(0)
    with pytest.raises(InputError) as caught:
        edgernn.export_model(nn.GRU(4, 6), tmp_path / "m.edgernn", inputs=[spec], batch_size=batch)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []
