"""`edgernn run`: which artifact, and arrays in and out."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import ROOT, X, close, load, refused
from tests.nets import small_artifacts
from tests.nets.small_artifacts import expected

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
    small_artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",))
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
        "`abacus` is not a provider; known are: auto, cpu, cuda, tensorrt, openvino, directml, "
        "coreml.",
    )


def test_unknown_option_of_a_provider(edgernn: Invoke, hello: Path) -> None:
    """An option that the provider does not have is refused, not dropped."""
    refused(
        edgernn("run", "--provider", "directml:gpu=1"),
        "`directml` has no option `gpu`; known are: device_id (an integer), performance_preference "
        "(default, high_performance or minimum_power), device_filter (gpu, npu or any), "
        "disable_metacommands (false or true).",
    )


def test_the_fastest_provider(edgernn: Invoke, hello: Path) -> None:
    """`auto` says which provider it took."""
    result = edgernn("run", "--provider", "auto")
    assert "runs on cpu\n" in result.stderr
    assert "µs per step on cpu (median)" in result.stdout


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
    assert (result.stdout, result.exit_code) == ("", 0)
    notes = rf"wrote   y\.{suffix}: 2 sequences × 9 steps × 3, \d\.\d s\nstate   s\.npz\n"
    assert re.fullmatch(notes, result.stderr)
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
        run = ["run", "--input", "x.npz", "--output", "y.npz", "--force", *options]
        assert edgernn(*run).exit_code == 0
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
    assert (run.stdout, b"9 of 9" in drawn, b"steps" in drawn) == (b"", True, True)
