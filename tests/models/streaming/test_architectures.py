"""Published architectures, unchanged between training and export, become streams."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import edgernn
from tests.models.streaming.architectures import ARCHITECTURES, Architecture, trained
from tests.models.streaming.stream_host import StreamHost, check_streaming


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_an_architecture_is_a_stream(architecture: Architecture, tmp_path: Path) -> None:
    """It has a step graph with the least hop and delay, and gives what PyTorch gives."""
    model = trained(architecture.model())

    artifact = edgernn.export_model(
        copy.deepcopy(model), tmp_path / "m.edgernn", inputs=list(architecture.inputs)
    )

    check_streaming(artifact.path, architecture.eager(model), architecture.hops)
    host = StreamHost(artifact.path)
    assert host.hop == architecture.hop
    for key, expected in {"delay": architecture.delays, "tail": architecture.tails}.items():
        numbers = {name: host.sequence.number(key, name) for name in host.sequence.outputs}
        assert {name: number for name, number in numbers.items() if number} == expected
