"""`edgernn run`: steps as rows, in files and through pipes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import ROOT, X, close
from tests.nets.small_artifacts import expected


@pytest.mark.parametrize("chunk", [[], ["--chunk", "2"]])
@pytest.mark.parametrize("header", ["", "left,right\n", '"left","right"\n', "\n"])
def test_csv(edgernn: Invoke, features: Path, header: str, chunk: list[str]) -> None:
    """Every row is a step; the output has a header where the input has one."""
    rows = "".join(f"{a},{b}\n" for a, b in X[0].tolist())
    Path("x.csv").write_text(header + rows)
    for source, stdin in (("x.csv", None), ("-", header + rows)):
        result = edgernn("run", "--input", source, *chunk, stdin=stdin)
        assert result.exit_code == 0, result.output
        answers = result.stdout.splitlines()
        if header.strip():
            assert answers.pop(0) == "output_0,output_1,output_2"
        close(np.loadtxt(answers, delimiter=","), expected(X[:1])[0][0])


def test_lines_of_ids(edgernn: Invoke, hello: Path) -> None:
    """Bare numbers are rows, or lines of JSON where the name says so."""
    Path("x.txt").write_text("0\n1\n")
    Path("x.jsonl").write_text("0\n1\n")
    row = r"0\.0,0\.0,0\.0,6\.8\d+\n6\.8\d+,0\.0,0\.0,0\.0\n"
    line = r"\[0\.0, 0\.0, 0\.0, 6\.8\d+\]\n"
    assert re.fullmatch(row, edgernn("run", "--input", "x.txt").stdout)
    assert re.match(line, edgernn("run", "--input", "x.jsonl").stdout)


def test_lines_to_array(edgernn: Invoke, features: Path) -> None:
    """The output's suffix decides, whatever came in."""
    Path("x.csv").write_text("".join(f"{a},{b}\n" for a, b in X[0].tolist()))
    assert edgernn("run", "--input", "x.csv", "--output", "y.npy").exit_code == 0
    close(np.load("y.npy"), expected(X[:1])[0][0])


def test_live_pipe(features: Path) -> None:
    """A line on standard input is answered before the next one comes."""
    run = subprocess.Popen(
        [sys.executable, "-m", "edgernn", "run", "--input", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert run.stdin
    assert run.stdout
    for step, wanted in zip(X[0], expected(X[:1])[0][0], strict=True):
        run.stdin.write(",".join(map(str, step.tolist())) + "\n")
        run.stdin.flush()
        close([float(cell) for cell in run.stdout.readline().split(",")], wanted)
    run.stdin.close()
    assert run.stdout.read() == ""
    run.stdout.close()
    assert run.wait(30) == 0
