"""`edgernn doctor`: what works, and what the others lack."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from edgernn.runtime.provider_options import OPTIONS
from edgernn.runtime.providers import PROVIDERS, ProviderTrial
from tests.cli.conftest import Invoke

SURVEYS = [
    ProviderTrial("cpu", True, "", "1.31.1"),
    ProviderTrial("cuda", False, "No [bold] CUDA.", "1.31.1"),
]
LIBRARY = Path("/projects/speech/voice/.venv/lib/python3.11/site-packages/onnxruntime/capi/a.so")
VERSIONS = {"numpy": "2.4.6", "onnxruntime": "1.31.1", "torch": "2.13.0"}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("edgernn.runtime.providers.try_providers", lambda: SURVEYS)
    monkeypatch.setattr("edgernn.runtime.providers.conflicting_builds", lambda: None)
    monkeypatch.setattr("edgernn.runtime.providers.find_library", lambda: LIBRARY)
    monkeypatch.setattr("edgernn.cli.doctor._version", VERSIONS.get)


def test_table(edgernn: Invoke) -> None:
    """Versions and providers stand in two tables."""
    assert edgernn("doctor").output == (
        f"python           {platform.python_version()}\n"
        "edgernn          0.1.0\n"
        "numpy            2.4.6\n"
        "onnxruntime      1.31.1\n"
        "onnxruntime-gpu  not installed\n"
        "torch            2.13.0\n"
        "onnx             not installed\n"
        "\n"
        "Providers\n"
        "name   works   what it lacks\n"
        "──────────────────────────────\n"
        "cpu    yes\n"
        "cuda   no      No [bold] CUDA.\n"
        "\n"
        f"library  {LIBRARY}\n"
    )


def test_no_library(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ONNX Runtime is not installed, no library is shown."""
    monkeypatch.setattr("edgernn.runtime.providers.find_library", lambda: None)
    assert edgernn("doctor").output.endswith("\ncuda   no      No [bold] CUDA.\n")
    assert json.loads(edgernn("doctor", "--json").output)["library"] is None


def test_both_wheels(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two builds of ONNX Runtime in one environment are said."""
    monkeypatch.setattr("edgernn.runtime.providers.conflicting_builds", lambda: "Keep one.")
    assert edgernn("doctor").output.endswith("\n\nproblem  Keep one.\n")
    assert json.loads(edgernn("doctor", "--json").output)["conflict"] == "Keep one."


def test_options(edgernn: Invoke) -> None:
    """The options of providers that work are listed, with --verbose those of all."""
    assert "Options" not in edgernn("doctor").output
    shown = edgernn("doctor", "--verbose").output
    assert "\nOptions\nname   options\n" in shown
    assert "\ncuda   device_id (an integer), use_tf32 (0 or 1), enable_cuda_graph" in shown


def test_json(edgernn: Invoke) -> None:
    """A script gets versions, conflict, and every provider with its install line."""
    assert json.loads(edgernn("doctor", "--json").output) == {
        "versions": {
            "python": platform.python_version(),
            "edgernn": "0.1.0",
            "onnxruntime-gpu": None,
            "onnx": None,
            **VERSIONS,
        },
        "library": str(LIBRARY),
        "conflict": None,
        "providers": [
            {
                "name": "cpu",
                "works": True,
                "reason": "",
                "version": "1.31.1",
                "install": PROVIDERS["cpu"].install,
                "options": {},
            },
            {
                "name": "cuda",
                "works": False,
                "reason": "No [bold] CUDA.",
                "version": "1.31.1",
                "install": PROVIDERS["cuda"].install,
                "options": {name: kind.text for name, kind in OPTIONS["cuda"].items()},
            },
        ],
    }


def test_for_real(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine the CPU provider works."""
    monkeypatch.undo()
    providers = json.loads(edgernn("doctor", "--json").output)["providers"]
    assert {provider["name"]: provider["works"] for provider in providers}["cpu"] is True
