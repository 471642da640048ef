"""`edgernn verify`: the golden run in every form, or full parity."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgernn.artifact import Artifact
from edgernn.report import Check, ParityReport, scaled_difference
from tests.cli.conftest import Invoke
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed

FAILED = ParityReport("eager torch", 1e-5, (Check("drift", "step", 2, 1000, "random", 0.25),))


def test_passes(edgernn: Invoke, features: Path) -> None:
    """Every form of the golden run stands on a line of its own, the verdict last."""
    result = edgernn("verify", "features.edgernn")
    assert result.exit_code == 0
    e = r"\d\.\de[+-]\d\d"
    size = "batch 2, sequence 7, learned initial state"
    assert re.fullmatch(
        rf"whole   sequence\.onnx  {size}: {e}\n"
        rf"steps   step\.onnx      {size}: {e}\n"
        rf"chunks  sequence\.onnx  {size}: {e}\n"
        rf"passed: max difference {e} to the golden run, tolerance 1\.0e-05\n",
        result.stdout,
    )


def test_hop_and_delay(edgernn: Invoke, folder: Path) -> None:
    """A model in hops says its hop and its delays first."""
    framed.write(folder / "net.edgernn", Framed(8, 4))
    lines = edgernn("verify", "net.edgernn").stdout.splitlines()
    assert lines[:4] == [
        "hop     4 steps of the input per call",
        "delay   scores comes 1 step later",
        "delay   wave comes 4 steps later",
        "delay   last comes 1 step later",
    ]
    assert [line.split()[0] for line in lines[4:]] == ["whole", "steps", "chunks", "passed:"]


def test_step_graph_alone(edgernn: Invoke, folder: Path) -> None:
    """A step graph alone replays by steps."""
    small_artifacts.features(folder / "s.edgernn", graphs=("step",))
    report = json.loads(edgernn("verify", "s.edgernn", "--json").stdout)
    assert [(check["name"], check["graph"]) for check in report["checks"]] == [("steps", "step")]


def test_sequence_graph_alone(edgernn: Invoke, folder: Path) -> None:
    """A sequence graph alone replays in every form."""
    small_artifacts.features(folder / "s.edgernn", graphs=("sequence",))
    report = json.loads(edgernn("verify", "s.edgernn", "--json").stdout)
    assert [(check["name"], check["graph"]) for check in report["checks"]] == [
        ("whole", "sequence"),
        ("steps", "sequence"),
        ("chunks", "sequence"),
    ]
    assert all(check["difference"] < 1e-6 for check in report["checks"])


@pytest.mark.parametrize("port", ["output", "h_out"])
def test_fails(edgernn: Invoke, features: Path, port: str) -> None:
    """An output or a final state that differs fails the first form, by name."""
    file = features / f"golden/{port}.npy"
    recorded = np.load(file)
    np.save(file, recorded + np.float32(0.5))
    gap = scaled_difference(recorded, recorded + np.float32(0.5))
    result = edgernn("verify", "features.edgernn", "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["checks"]) == 3
    assert result.stderr == (
        f"Error: `whole` through the sequence graph differs from the golden run by {gap:.1e} at "
        "batch 2, sequence 7; at most 1.0e-05 passes. Export the model again.\n"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_fails(edgernn: Invoke, features: Path, value: float) -> None:
    """A recorded number that is none never passes."""
    np.save(features / "golden/output.npy", np.full((2, 7, 3), value, np.float32))
    assert edgernn("verify", "features.edgernn").exit_code == 1


def test_golden_run_lacks(edgernn: Invoke, features: Path) -> None:
    """A recorded port that is missing is named."""
    (features / "golden/x.npy").unlink()
    result = edgernn("verify", "features.edgernn")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "Error: `features.edgernn/golden/x.npy` of the golden run cannot be read: No such file "
        "or directory.\n"
    )


def test_changed_graph(edgernn: Invoke, features: Path) -> None:
    """A graph that was changed after the export is refused."""
    with (features / "sequence.onnx").open("ab") as file:
        file.write(b"x")
    result = edgernn("verify", "features.edgernn")
    assert re.fullmatch(
        r"Error: `features\.edgernn/sequence\.onnx` was changed after the export: its SHA-256 is "
        r"[0-9a-f]{12}…, the contract has [0-9a-f]{12}…\. Export the model again\.\n",
        result.stderr,
    )
    assert result.exit_code == 1


def test_against(edgernn: Invoke, features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --against the export proves the artifact; the options reach it under their names."""
    calls: list[tuple[Any, ...]] = []

    def verify_artifact(artifact: Artifact, *args: object, **options: object) -> ParityReport:
        calls.append((artifact.path, *args, options))
        return FAILED

    monkeypatch.setattr("edgernn.export.verify_artifact", verify_artifact, raising=False)
    monkeypatch.setattr("edgernn.export.check_files.check_model_file", lambda _: None)
    asked = ["--input", "x", "--state", "h=1", "--module", "m.py:make", "--assume-plain"]
    asked += ["--trust"]
    result = edgernn("verify", "features.edgernn", "--against", "m.pt", *asked)
    read = {"module": "m.py:make", "assume_plain": True, "trust": True}
    options = {"inputs": ["x"], "states": {"h": 1}, **read}
    assert calls == [(Path("features.edgernn"), Path("m.pt"), options)]
    assert result.stdout == (
        "drift   step.onnx      batch 2, sequence 1000, random initial state: 2.5e-01\n"
        "failed: max difference 2.5e-01 to eager torch, tolerance 1.0e-05\n"
    )
    assert re.sub(r"[\d.]+ s\n", "TIME\n", result.stderr) == (
        "compared in TIME\n"
        "Error: `drift` through the step graph differs from eager torch by 2.5e-01 at batch 2, "
        "sequence 1000; at most 1.0e-05 passes. Export the model again.\n"
    )
    assert result.exit_code == 1


def test_tolerances_of_their_own(
    edgernn: Invoke, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form of a lower precision passes to its own tolerance, which its line gives."""
    whole = Check("whole", "step", 2, 7, "zero", 0.02, tolerance=0.05, form="step-int8")
    report = ParityReport("eager torch", 1e-5, (Check("whole", "step", 2, 7, "zero", 0.0), whole))
    monkeypatch.setattr("edgernn.export.verify_artifact", lambda *_, **__: report, raising=False)
    monkeypatch.setattr("edgernn.export.check_files.check_model_file", lambda _: None)
    result = edgernn("verify", "features.edgernn", "--against", "m.pt")
    assert result.stdout == (
        "whole   step.onnx      batch 2, sequence 7, zero initial state: 0.0e+00\n"
        "whole   step-int8.onnx batch 2, sequence 7, zero initial state: 2.0e-02, tolerance "
        "5.0e-02\n"
        "passed: max difference 2.0e-02 to eager torch, tolerance 1.0e-05 where a line has no "
        "other\n"
    )
    assert result.exit_code == 0


def test_against_and_provider(edgernn: Invoke, features: Path) -> None:
    """Parity with PyTorch is proven on the CPU."""
    result = edgernn("verify", "features.edgernn", "--against", "m.pt", "--provider", "cuda")
    assert result.stderr.splitlines()[-1] == (
        "Error: --provider goes with the golden run, not with --against."
    )
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "option", [["--input", "x"], ["--state", "h=1"], ["--module", "m.py:f"], ["--trust"]]
)
def test_options_without_against(edgernn: Invoke, features: Path, option: list[str]) -> None:
    """An option that says how to read the model is refused where there is no model."""
    result = edgernn("verify", "features.edgernn", *option)
    assert result.stderr.splitlines()[-1] == (
        "Error: --input, --state, --module, --assume-plain, --trust need --against."
    )
    assert result.exit_code == 2
