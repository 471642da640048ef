"""Tunings of small artifacts, as `edgernn tune` writes them."""

from __future__ import annotations

from pathlib import Path

from edgernn.forms import Form
from edgernn.tuned import Trial, Tuning
from tests.nets import small_artifacts

__all__ = ["COPY", "copied_form", "tuning"]

COPY = "forms/step-copy.onnx"


def tuning(provider: str = "cpu", file: str = COPY) -> Tuning:
    """Return the choice of a form of the step graph at batch 1."""
    chosen = Trial("step", file, 2, 1, 1, 1e-6, 0.5, 1e-8, chosen=True)
    other = Trial("step", "step.onnx", None, 1, 1, 2e-6, 1.0, 0.0)
    form = Form("step", file, provider, {"batch": 1}, {"batch": 1}, threads=2)
    return Tuning(provider, "Z80, 1 core", {"onnxruntime": "1.31.1"}, (form,), (other, chosen))


def copied_form(folder: Path) -> tuple[Path, Path]:
    """Write the model of features and a copy of its step graph; return both."""
    path = small_artifacts.features(folder / "features.edgernn")
    copy = folder / "copy.onnx"
    copy.write_bytes((path / "step.onnx").read_bytes())
    return path, copy
