"""The C host on artifacts of models that keep memory from call to call."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import edgernn
from tests.hosts.test_c import differences, replay
from tests.models.memory_models import RunningPeak


class Counted(nn.Module):
    """A count that is not zero at rest, a flag, and a level."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.seen = torch.tensor(5), torch.ones(1, 1, dtype=torch.bool)
        self.level = torch.full((1, 4), 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the level, (1, 4)."""
        self.count = self.count + 1
        self.seen = self.seen & (x.amax(1, keepdim=True) < 1.5)
        self.level = self.level + torch.where(self.seen, x, -x) / self.count
        return self.level


def test_counts_and_flags_start_from_their_values(program: Path, tmp_path: Path) -> None:
    """States in int64 and bool, beside one in float32."""
    artifact = edgernn.export_model(Counted(), tmp_path / "m.edgernn", inputs=["x:float32[1,4]"])
    ports = artifact.contract.state_ports.values()
    assert sorted(port.dtype for port in ports) == ["bool", "float32", "int64"]
    run = replay(program, artifact.path)
    assert (run.returncode, run.stderr) == (0, "")
    found = differences(run.stdout)
    assert len(found) == 3
    assert max(found.values()) < 1e-6


def test_a_call_that_is_a_chunk_is_replayed_whole(program: Path, tmp_path: Path) -> None:
    """Where `edgernn.divisible` is `no`, chunks would give other numbers."""
    artifact = edgernn.export_model(
        RunningPeak(), tmp_path / "m.edgernn", inputs=["x:float32[batch,sequence,4]"]
    )
    run = replay(program, artifact.path)
    assert (run.returncode, run.stderr) == (0, "")
    assert list(differences(run.stdout)) == ["whole"]
