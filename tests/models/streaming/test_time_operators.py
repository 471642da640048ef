"""The rule for operators that mix time steps: whole, chunks and steps give what PyTorch gives.

`pytest --full` runs the whole product (hours) instead of a cover of all pairs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import edgernn
from tests.models.streaming.stream_host import StreamHost, check_streaming
from tests.models.streaming.time_operators import (
    SIZE,
    PlacedOperator,
    Placement,
    Window,
    placements,
)
from tests.parity.design import cover

HOPS = 14


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = metafunc.config.getoption("--full")
    cases = placements() if full else cover(placements(), together=1)
    metafunc.parametrize("placement", cases, ids=str)


def delay_of(window: Window) -> int:
    """Return the least delay: how many frames later the last step that a frame sees has come."""
    if window.operator == "transposed":
        return {"both": window.overhang // 2, "right": window.overhang}.get(window.padding, 0)
    return (window.span - window.sides()[0]) // window.stride


def test_an_operator_is_a_stream(placement: Placement, tmp_path: Path) -> None:
    """The step graph takes a stride's worth of steps, and nothing comes later than it must."""
    model = PlacedOperator(placement).eval()

    artifact = edgernn.export_model(
        model, tmp_path / "m.edgernn", inputs=[f"x:float32[batch,sequence,{SIZE}]"]
    )

    check_streaming(artifact.path, lambda x: {"output": model(torch.from_numpy(x["x"]))}, HOPS)
    host = StreamHost(artifact.path)
    assert host.hop == (1 if placement.operator == "transposed" else placement.stride)
    assert host.sequence.number("delay", "output") == delay_of(placement.window)
