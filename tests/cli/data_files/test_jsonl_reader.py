"""`edgernn run`: steps as lines of JSON, in files and through pipes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import X, close
from tests.nets.small_artifacts import expected


@pytest.mark.parametrize("batch", [1, 2])
def test_jsonl(edgernn: Invoke, features: Path, batch: int) -> None:
    """Every line is a step, with or without the batch axis, bare or by port."""
    steps = X[0] if batch == 1 else np.moveaxis(X, 1, 0)
    bare = "".join(json.dumps(step.tolist()) + "\n" for step in steps)
    named = "".join(json.dumps({"x": step.tolist()}) + "\n\n" for step in steps)
    output = expected(X[:batch])[0]
    wanted = output[0] if batch == 1 else np.moveaxis(output, 1, 0)
    for lines in (bare, named):
        result = edgernn("run", "--input", "-", stdin=lines)
        close([json.loads(line) for line in result.stdout.splitlines()], wanted)


def test_lines_of_several_ports(edgernn: Invoke, pair: Path) -> None:
    """Several outputs stand in one object per line, on standard output and in files."""
    lines = '{"a": 2, "b": 3}\n{"a": 1, "b": [0.5]}\n'
    wanted = '{"total": [6.0], "product": [6.0]}\n{"total": [6.5], "product": [0.5]}\n'
    assert edgernn("run", "--input", "-", stdin=lines).stdout == wanted
    assert edgernn("run", "--input", "-", "--output", "y.jsonl", stdin=lines).stdout == ""
    assert Path("y.jsonl").read_text() == wanted
