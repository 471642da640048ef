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


def test_a_quote_that_is_not_closed(edgernn: Invoke, features: Path) -> None:
    """The rows after it would be a part of the header; with the quote closed, they are steps."""
    Path("x.csv").write_text('"a,b\n1,2\n3,4\n')
    result = edgernn("run", "--input", "x.csv")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: A name in the header of `x.csv` goes on over several lines: `'a,b\\n1,2\\n3,4'`. "
        "Close its double quotes, or remove them.\n",
    )
    Path("x.csv").write_text('"a",b\n1,2\n3,4\n')
    assert edgernn("run", "--input", "x.csv").exit_code == 0


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


EXPORTS = {
    "German Excel": (
        "\ufeffDatum;Uhrzeit;Temperatur °C;Feuchte %;\r\n"
        "01.05.2024;10:00;-1,0;-0,9429;\r\n"
        "01.05.2024;10:10;-0,8857;-0,8286;\r\n"
        ";;;;\r\n;;;;\r\n",
        "3-4",
    ),
    "US Excel": (
        'Date,Time,"Temp, °F","Hum, %"\r\n5/1/2024,10:00 AM,-1,-0.9429\r\n'
        "5/1/2024,10:10 AM,-0.8857,-0.8286\r\n",
        '"Temp, °F","Hum, %"',
    ),
    "pandas": (",temp,hum,note\n0,-1.0,-0.9429,\n1,-0.8857,-0.8286,low\n", "temp,hum"),
    "logger": (
        "2024-05-01T10:00:00Z\tok\t-1.0\t-0.9429\n2024-05-01T10:10:00Z\tlow\t-0.8857\t-0.8286\n\n",
        "3-4",
    ),
}


@pytest.mark.parametrize(("text", "columns"), EXPORTS.values(), ids=EXPORTS.keys())
def test_exports(edgernn: Invoke, features: Path, text: str, columns: str) -> None:
    """What spreadsheets, pandas and loggers write is read as it is."""
    Path("x.csv").write_bytes(text.encode())
    result = edgernn("run", "--input", "x.csv", "--columns", columns, "--output", "y.npy")
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load("y.npy"), expected(X[:1, :2])[0][0], atol=1e-4)
