"""What the tests of refusals share: a place that stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Where to export to; afterwards nothing is in that folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder / "m.edgernn"
    assert list(folder.iterdir()) == []
