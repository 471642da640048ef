"""The rule for all stacks of operators and layers: any pieces give what PyTorch gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import edgernn
from tests.models.streaming.stream_host import check_streaming
from tests.models.streaming.time_operators import (
    OPERATORS,
    PADDINGS,
    RECURRENT,
    SIZE,
    TimeOperator,
    Window,
)

WINDOWS = st.builds(
    Window,
    operator=st.sampled_from(OPERATORS),
    padding=st.sampled_from(PADDINGS),
    kernel=st.integers(1, 5),
    dilation=st.integers(1, 3),
    stride=st.sampled_from([1, 1, 2, 3]),
).filter(Window.exists)


class Stack(nn.Module):
    """Operators and recurrent layers, one after the other."""

    def __init__(self, parts: list[Window | str]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            TimeOperator(part)
            if isinstance(part, Window)
            else RECURRENT[part](SIZE, SIZE, batch_first=True)
            for part in parts
        )

    def forward(self, x):
        for part in self.parts:
            x = torch.tanh(part(x)) if isinstance(part, TimeOperator) else part(x)[0]
        return x


@settings(
    max_examples=2,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    before=st.lists(WINDOWS, max_size=2),
    recurrent=st.sampled_from(list(RECURRENT)),
    behind=st.lists(WINDOWS | st.sampled_from(list(RECURRENT)), max_size=2),
    seed=st.integers(0, 99),
)
def test_any_stack_in_any_pieces_gives_what_torch_gives(before, recurrent, behind, seed):
    """Windows of any size and rate, in front of and behind recurrent layers."""
    torch.manual_seed(seed)
    model = Stack([*before, recurrent, *behind]).eval()
    with tempfile.TemporaryDirectory() as folder:
        artifact = edgernn.export_model(
            model, Path(folder) / "m.edgernn", inputs=[f"x:float32[batch,sequence,{SIZE}]"]
        )
        check_streaming(
            artifact.path, lambda data: {"output": model(torch.from_numpy(data["x"]))}, hops=60
        )
