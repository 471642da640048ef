"""Between torch's ports and written ones."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from edgernn.errors import ContractError, ParityError
from edgernn.export import export_model, verify_artifact
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.port_adapter import PortAdapter
from tests.nets.tagger import Tagger, replayed, tagged

EVERYTHING = {
    "opset": 14,
    "precision": "float16",
    "state_layout": "batch-major",
    "state_per_layer": True,
    "int32_ids": True,
    "reset": True,
}


def test_all_options_together_are_proven_and_verified_anew(tmp_path: Path) -> None:
    """An artifact tells by its ports alone how torch's data reach it."""
    artifact = tagged("LSTM", tmp_path, **EVERYTHING)
    ids = torch.zeros(2, 5, dtype=torch.int64)
    assert replayed(artifact).passed
    report = verify_artifact(artifact, Tagger("LSTM"), inputs=(ids,))
    assert (report.tolerance, report.passed) == (2e-2, True)
    other = Tagger("LSTM")
    torch.nn.init.ones_(other.head.weight)
    with pytest.raises(ParityError, match=r"^The sequence graph does not agree with eager torch: "):
        verify_artifact(artifact, other, inputs=(ids,))


def test_a_mask_that_does_nothing_is_found(tmp_path: Path) -> None:
    """Parity starts sequences by the mask alone, from states that are no numbers."""
    artifact = tagged("GRU", tmp_path, reset=True)
    model = onnx.load(artifact.sequence or "")
    for node in model.graph.node:
        if node.op_type == "Where":
            node.input[1] = node.input[2]
    onnx.save(model, artifact.sequence or "")
    contract = artifact.contract
    plain = tagged("GRU", tmp_path / "plain").contract
    written = graph_function("sequence", contract, str(artifact.sequence))
    run = PortAdapter(plain, contract).adapt(written)
    ids = torch.zeros(2, 3, dtype=torch.int64).numpy()
    states = {"h": plain.initial(plain.states[0], 2)}
    assert not abs(run({"ids": ids}, states)[0]["output"]).max() < 1e9


def test_ports_of_another_model_are_refused(tmp_path: Path) -> None:
    """States that are not the model's in another form are an error."""
    lstm, gru = tagged("LSTM", tmp_path / "lstm"), tagged("GRU", tmp_path / "gru")
    with pytest.raises(ContractError) as caught:
        PortAdapter(lstm.contract, gru.contract)
    assert str(caught.value) == (
        "The sequence graph has the ports ids, h_in, output, h_out; the model would give "
        "ids, h_in, c_in, output, h_out, c_out. It is not the model that the graph was made from."
    )


def test_states_of_another_size_are_refused(tmp_path: Path) -> None:
    """States with other numbers of layers, directions or features are an error."""
    artifact = export_model(torch.nn.LSTM(3, 4, bidirectional=True), tmp_path / "lstm.edgernn")
    with pytest.raises(ContractError) as caught:
        verify_artifact(artifact, torch.nn.LSTM(3, 4))
    assert str(caught.value) == (
        "The sequence graph has the state h_in: float32[2, batch, 4]; the model would give "
        "h_in: float32[1, batch, 4]. It is not the model that the graph was made from."
    )


def test_constant_batch_is_the_same_size(tmp_path: Path) -> None:
    """A constant batch is the form of an axis, not another size."""
    layer = torch.nn.LSTM(3, 4, 2)
    artifact = export_model(
        layer,
        tmp_path / "lstm.edgernn",
        batch_size=3,
        steps=5,
        state_layout="batch-major",
        state_per_layer=True,
    )
    assert verify_artifact(artifact, layer).passed
