"""A layer as a value: in words, and in contract.json."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError
from edgernn.layer import Layer
from tests.contract.filled import write

LSTM = Layer("LSTM", "encoder_rnn", 64, 1128, num_layers=2, bidirectional=True)
CONV = Layer("Conv2d", "conv", 1, 16, kernel_size=(3, 5))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Layer("Embedding", "table", 75, 32), "Embedding 75 × 32"),
        (Layer("Linear", "", 128, 75), "Linear 128 → 75"),
        (Layer("LayerNorm", "norm", 128, 128), "LayerNorm 128"),
        (LSTM, "LSTM 64 → 1,128, 2 layers, bidirectional"),
        (CONV, "Conv2d 1 → 16, kernel 3 × 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text(layer, text):
    """Kind and sizes; the sizes of a table of ids and of a norm are written as such."""
    assert str(layer) == text


def test_an_artifact_holds_its_layers(tmp_path):
    """contract.json lists the layers, and may lack them."""
    path = tmp_path / "m.edgernn"
    written = write(path)
    assert Artifact.open(path).layers is None
    assert "layers" not in written.to_json()
    with_layers = replace(written, layers=(LSTM, CONV))
    (path / "contract.json").write_text(json.dumps(with_layers.to_json()))
    assert Artifact.open(path) == with_layers


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": 1}, "`layers[0].kind` is `1`; expected text in UTF-8 of at most 100,000 chara"),
        ({"input_size": -1}, "`layers[0].input_size` is `-1`; expected an integer from 0 to"),
        ({"num_layers": 0}, "`layers[0].num_layers` is `0`; expected an integer from 1 to"),
        ({"bidirectional": 0}, "`layers[0].bidirectional` is `0`; expected true or false"),
        ({"kernel_size": [0]}, "`layers[0].kernel_size[0]` is `0`; expected an integer from 1 to"),
    ],
    ids=str,
)
def test_what_is_not_a_layer_is_refused(tmp_path, change, reason):
    """Each field of a layer is of its type and in its range."""
    path = tmp_path / "m.edgernn"
    table = write(path).to_json()
    (path / "contract.json").write_text(json.dumps({**table, "layers": [LSTM.to_json() | change]}))
    with pytest.raises(ContractError) as caught:
        Artifact.open(path)
    assert str(caught.value).startswith(f"`{path}` has a contract that cannot be read: {reason}")
