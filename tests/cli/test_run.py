"""`edgernn run`: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import ArrayLike, NDArray

from edgernn import cli
from tests.cli import artifacts
from tests.cli.artifacts import expected
from tests.cli.conftest import Invoke, seconds

ROOT = str(Path(cli.__file__).parents[2])
X = np.linspace(-1, 1, 2 * 9 * 2, dtype=np.float32).reshape(2, 9, 2)


def load(path: str) -> dict[str, NDArray[Any]]:
    with np.load(path) as archive:
        return dict(archive)


def close(got: ArrayLike, wanted: ArrayLike) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=1e-6, rtol=0)


def refused(result: Result, message: str, code: int = 1) -> None:
    """Check that a command said one thing on standard error and nothing else."""
    assert result.stderr.splitlines()[-1] == f"Error: {message}"
    assert (result.stdout, result.exit_code) == ("", code)


# --- which artifact -------------------------------------------------------------------------------


def test_golden_run(edgernn: Invoke, hello: Path) -> None:
    """Without artifact and input, the only artifact here replays its golden run in every form."""
    result = edgernn("run")
    assert result.exit_code == 0
    assert re.fullmatch(
        r"whole, steps, chunks: max difference \d\.\de-0\d to the golden run\n"
        r"\d+\.\d µs per step on cpu \(median\)\n",
        result.stdout,
    )


def test_inside_artifact(edgernn: Invoke, hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder that is an artifact is the one that is meant."""
    monkeypatch.chdir(hello)
    assert edgernn("run", "--text", "hello").stdout == "ohlol\n"


def test_golden_run_without_carry(edgernn: Invoke, folder: Path) -> None:
    """A state that cannot be carried leaves the whole run, and no time per step."""
    artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",))
    assert re.fullmatch(
        r"whole: max difference \d\.\de-0\d to the golden run\n", edgernn("run").stdout
    )


def test_no_artifact(edgernn: Invoke, folder: Path) -> None:
    """No artifact here is an error that says how to get one."""
    refused(
        edgernn("run"),
        "There is no artifact in the current folder. Name one, or write one with "
        "`edgernn export MODEL`.",
    )


def test_several_artifacts(edgernn: Invoke, hello: Path, features: Path) -> None:
    """Several artifacts here are listed."""
    refused(
        edgernn("run"),
        "There are 2 artifacts here: `features.edgernn`, `hello.edgernn`. Name one of them.",
    )


def test_other_numbers(edgernn: Invoke, features: Path) -> None:
    """A golden run that comes out otherwise is an error that names the form."""
    np.save(features / "golden/output.npy", np.zeros((2, 7, 3), np.float32))
    refused(
        edgernn("run"),
        "`whole` through the sequence graph differs from the golden run by 8.6e-01 at batch 2, "
        "sequence 7; at most 1.0e-05 passes. Export the model again.",
    )


def test_unknown_provider(edgernn: Invoke, hello: Path) -> None:
    """A provider that does not exist is refused, not replaced."""
    refused(
        edgernn("run", "--provider", "abacus"),
        "`abacus` is not a provider; known are: cpu, cuda, tensorrt, openvino, directml, coreml.",
    )


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 1, 4, 100])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays(edgernn: Invoke, features: Path, suffix: str, chunk: int | None) -> None:
    """An array goes in and out of files, in chunks of any size, with its batch axis."""
    np.save("x.npy", X)
    options = [] if chunk is None else ["--chunk", str(chunk)]
    result = edgernn(
        "run", "--input", "x.npy", "--output", f"y.{suffix}", "--state-out", "s.npz", *options
    )
    assert (result.output, result.exit_code) == ("", 0)
    y = np.load("y.npy") if suffix == "npy" else load("y.npz")["output"]
    output, state = expected(X)
    assert y.dtype == np.float32
    close(y, output)
    close(load("s.npz")["h"], state)
    assert sorted(os.listdir()) == sorted(["features.edgernn", "s.npz", "x.npy", f"y.{suffix}"])


def test_without_batch_axis(edgernn: Invoke, features: Path) -> None:
    """An array without the batch axis gives one without it; float64 is rounded."""
    np.save("x.npy", X[0].astype(np.float64))
    assert edgernn("run", "--input", "x.npy", "--output", "y.npy").exit_code == 0
    close(np.load("y.npy"), expected(X[:1])[0][0])


def test_array_through_pipes(edgernn: Invoke, features: Path) -> None:
    """Standard input is told apart by its content, and the answer has its format."""
    buffer = io.BytesIO()
    np.savez(buffer, x=X)
    result = edgernn("run", "--input", "-", stdin=buffer.getvalue())
    with np.load(io.BytesIO(result.stdout_bytes)) as archive:
        close(archive["output"], expected(X)[0])
    buffer = io.BytesIO()
    np.save(buffer, X)
    result = edgernn("run", "--input", "-", stdin=buffer.getvalue())
    close(np.load(io.BytesIO(result.stdout_bytes)), expected(X)[0])


def test_several_ports(edgernn: Invoke, pair: Path) -> None:
    """Several inputs come and several outputs go as .npz, by name."""
    a = np.arange(6, dtype=np.float32).reshape(6, 1, 1)
    np.savez("x.npz", a=a, b=a)
    for options in ([], ["--chunk", "4"]):
        assert edgernn("run", "--input", "x.npz", "--output", "y.npz", *options).exit_code == 0
        y = load("y.npz")
        close(y["product"], a * a)
        close(y["total"], np.cumsum(a * a, 0))


def test_state_goes_on(edgernn: Invoke, features: Path) -> None:
    """A run that ends with --state-out goes on with --state-in as if it had never ended."""
    np.save("a.npy", X[:, :4])
    np.save("b.npy", X[:, 4:])
    edgernn("run", "--input", "a.npy", "--output", "ya.npy", "--state-out", "s.npz")
    edgernn("run", "--input", "b.npy", "--output", "yb.npy", "--state-in", "s.npz")
    close(np.concatenate([np.load("ya.npy"), np.load("yb.npy")], 1), expected(X)[0])


def test_progress(features: Path) -> None:
    """Chunks move a bar on standard error where that is a terminal, and only there."""
    pty = pytest.importorskip("pty")
    np.save("x.npy", X)
    command = [sys.executable, "-m", "edgernn", "run", "--input", "x.npy", "--output", "y.npy"]
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": ROOT}
    run = subprocess.run(
        [*command, "--chunk", "4"],
        stdout=subprocess.PIPE,
        stderr=slave,
        check=True,
        env=environment,
    )
    drawn = os.read(master, 1 << 16)
    os.close(slave)
    os.close(master)
    assert (run.stdout, b"9/9" in drawn, b"steps" in drawn) == (b"", True, True)


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [[], ["--chunk", "2"]])
@pytest.mark.parametrize("header", ["", "left,right\n", '"left","right"\n', "\n"])
def test_csv(edgernn: Invoke, features: Path, header: str, chunk: list[str]) -> None:
    """Every row is a step; a header and empty lines are passed over."""
    rows = "".join(f"{a},{b}\n" for a, b in X[0].tolist())
    Path("x.csv").write_text(header + rows)
    for source, stdin in (("x.csv", None), ("-", header + rows)):
        result = edgernn("run", "--input", source, *chunk, stdin=stdin)
        assert result.exit_code == 0, result.output
        close(np.loadtxt(result.stdout.splitlines(), delimiter=","), expected(X[:1])[0][0])


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


def test_lines_of_ids(edgernn: Invoke, hello: Path) -> None:
    """Bare numbers are rows, or lines of JSON where the name says so."""
    Path("x.txt").write_text("0\n1\n")
    Path("x.jsonl").write_text("0\n1\n")
    row = r"0\.0,0\.0,0\.0,6\.8\d+\n6\.8\d+,0\.0,0\.0,0\.0\n"
    line = r"\[0\.0, 0\.0, 0\.0, 6\.8\d+\]\n"
    assert re.fullmatch(row, edgernn("run", "--input", "x.txt").stdout)
    assert re.match(line, edgernn("run", "--input", "x.jsonl").stdout)


def test_lines_of_several_ports(edgernn: Invoke, pair: Path) -> None:
    """Several outputs stand in one object per line, on standard output and in files."""
    lines = '{"a": 2, "b": 3}\n{"a": 1, "b": [0.5]}\n'
    wanted = '{"total": [6.0], "product": [6.0]}\n{"total": [6.5], "product": [0.5]}\n'
    assert edgernn("run", "--input", "-", stdin=lines).stdout == wanted
    assert edgernn("run", "--input", "-", "--output", "y.jsonl", stdin=lines).stdout == ""
    assert Path("y.jsonl").read_text() == wanted


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


def test_cold_start(features: Path) -> None:
    """A cold run takes under 0.4 s."""
    command = [sys.executable, "-m", "edgernn", "run", "--input", "-"]
    environment = {**os.environ, "PYTHONPATH": ROOT}

    def run() -> None:
        subprocess.run(command, input=b"1,2\n", check=True, env=environment)

    assert min(seconds(run) for _ in range(3)) < 0.4


# --- text -----------------------------------------------------------------------------------------


def test_text(edgernn: Invoke, hello: Path) -> None:
    """Text gives the symbol with the best score at every step."""
    assert edgernn("run", "hello.edgernn", "--text", "hello").stdout == "ohlol\n"
    assert edgernn("run", "--text", "-", stdin="hello\n").stdout == "ohlol\n"
    assert edgernn("run", "--text", "hello", "--chunk", "2").stdout == "ohlol\n"
    assert edgernn("run", "--text", "hello", "--output", "y.txt").stdout == ""
    assert Path("y.txt").read_text() == "ohlol\n"


def test_text_to_scores(edgernn: Invoke, hello: Path) -> None:
    """The scores behind the text go to a file of numbers."""
    assert edgernn("run", "--text", "hello", "--output", "y.npy").exit_code == 0
    scores = np.load("y.npy")
    assert scores.shape == (5, 4)
    assert "".join("helo"[i] for i in scores.argmax(1)) == "ohlol"


def test_generate(edgernn: Invoke, hello: Path) -> None:
    """The model goes on from the text with its own best symbols."""
    assert edgernn("run", "--text", "hel", "--generate", "6").stdout == "lollol\n"


def test_generate_goes_on(edgernn: Invoke, hello: Path) -> None:
    """The state that is written has seen all that was printed."""
    edgernn("run", "--text", "hel", "--generate", "2", "--state-out", "s.npz")
    result = edgernn("run", "--text", "l", "--state-in", "s.npz")
    assert result.stdout == edgernn("run", "--text", "hellol").stdout[-2:]


def test_temperature(edgernn: Invoke, hello: Path) -> None:
    """Chance is repeatable with a seed, and a low temperature is the best symbol."""

    def drawn(*options: str) -> str:
        return edgernn("run", "--text", "h", "--generate", "20", *options).stdout

    hot = drawn("--temperature", "9", "--seed", "1")
    assert hot == drawn("--temperature", "9", "--seed", "1")
    assert hot != drawn("--temperature", "9", "--seed", "2")
    assert drawn("--temperature", "0.01", "--seed", "1") == drawn()
    assert set(hot) <= set("helo\n")
    assert len(hot) == 21


# --- refusals -------------------------------------------------------------------------------------

USAGE = [
    (["--input", "a", "--text", "b"], "Give --input or --text, not both."),
    (["--generate", "3"], "--generate needs --text."),
    (["--text", "a", "--temperature", "1"], "--temperature needs --generate."),
    (["--text", "a", "--generate", "1", "--seed", "1"], "--seed needs --temperature."),
    (["--chunk", "3"], "--chunk needs --input or --text."),
    (["--state-in", "s"], "--state-in needs --input or --text."),
    (["--state-out", "s"], "--state-out needs --input or --text."),
    (["--output", "y.npy"], "--output needs --input or --text."),
    (["--input", "a", "--output", "y.txt"], "--output with .txt needs --text."),
    (
        ["--text", "a", "--generate", "1", "--output", "y.npy"],
        "--generate writes text: give --output a name with .txt.",
    ),
    (
        ["--input", "a", "--output", "y.wav"],
        "Invalid value for '--output': `y.wav` does not end in a format that is known: "
        ".npy, .npz, .csv, .jsonl, .txt.",
    ),
    (
        ["--input", "a", "--chunk", "0"],
        "Invalid value for '--chunk': 0 is not in the range x>=1.",
    ),
]


@pytest.mark.parametrize(("options", "message"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_usage(edgernn: Invoke, folder: Path, options: list[str], message: str) -> None:
    """Options that do not go together are a usage error, before anything is loaded."""
    refused(edgernn("run", *options), message, 2)


def test_no_vocabulary(edgernn: Invoke, features: Path) -> None:
    """A model without a vocabulary does not read text."""
    refused(
        edgernn("run", "--text", "hello"),
        "`RNN(2, 3)` has no vocabulary, so it cannot read text. Export it again with "
        "--vocabulary FILE, or give numbers with --input.",
    )


def test_empty_text(edgernn: Invoke, hello: Path) -> None:
    """Text has at least one symbol."""
    refused(
        edgernn("run", "--text", "-", stdin="\n"),
        "The text is empty; at least one symbol is needed.",
    )


def test_text_is_utf8(edgernn: Invoke, hello: Path) -> None:
    """Text on standard input is UTF-8."""
    refused(
        edgernn("run", "--text", "-", stdin=b"h\xff"),
        "Standard input is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 1: "
        "invalid start byte.",
    )


def test_no_carry(edgernn: Invoke, folder: Path) -> None:
    """A state that cannot be carried refuses chunks and answers a pipe as a whole."""
    artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",))
    np.save("x.npy", X)
    refused(
        edgernn("run", "--input", "x.npy", "--chunk", "3"),
        "`RNN(2, 3)` has a state that cannot be carried from chunk to chunk, which --chunk needs. "
        "Leave out --chunk and give the whole sequence at once.",
    )
    rows = "".join(f"{a},{b}\n" for a, b in X[0].tolist())
    result = edgernn("run", "--input", "-", stdin=rows)
    close(np.loadtxt(result.stdout.splitlines(), delimiter=","), expected(X[:1])[0][0])


def test_wrong_state(edgernn: Invoke, features: Path) -> None:
    """A state of another model is refused by name, and nothing is written."""
    np.save("x.npy", X)
    np.savez("s.npz", g=np.zeros(3))
    refused(
        edgernn("run", "--input", "x.npy", "--output", "y.npy", "--state-in", "s.npz"),
        "`g` is not a state of this model; its states are `h`.",
    )
    Path("t.npz").write_text("no archive")
    refused(
        edgernn("run", "--input", "x.npy", "--state-in", "t.npz"),
        "`t.npz` is not a state: expected a .npz file with one array per state, as --state-out "
        "writes it.",
    )
    refused(
        edgernn("run", "--input", "x.npy", "--state-in", "u.npz"),
        "State `u.npz` cannot be read: No such file or directory.",
    )
    assert not Path("y.npy").exists()


def test_no_place_to_write(edgernn: Invoke, features: Path) -> None:
    """A folder that does not exist is said in one line."""
    np.save("x.npy", X)
    refused(
        edgernn("run", "--input", "x.npy", "--output", "no/y.npy"),
        "`no/y.npy` cannot be written: No such file or directory.",
    )


def test_half_a_sequence(edgernn: Invoke, features: Path) -> None:
    """An error in the middle leaves no output file."""
    Path("x.csv").write_text("1,2\n1,nan\n1,x\n")
    refused(
        edgernn("run", "--input", "x.csv", "--chunk", "1", "--output", "y.csv"),
        "Line 3 of `x.csv` has `x` in column 2, which is not a number.",
    )
    assert sorted(os.listdir()) == ["features.edgernn", "x.csv"]
