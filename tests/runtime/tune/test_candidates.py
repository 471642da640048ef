"""The ways to run a graph that are measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.runtime.providers import find_provider
from edgernn.runtime.tune.candidates import (
    Candidate,
    candidates_of,
    thread_counts,
    with_threads,
)
from edgernn.runtime.tune.write_tuning import write_tuning
from tests.nets.tunings import COPY, copied_form, tuning


def test_the_graphs_of_an_artifact_come_before_its_forms(tmp_path: Path) -> None:
    """Each file is there once."""
    path, copy = copied_form(tmp_path)
    artifact = write_tuning(Artifact.open(path), tuning(), {COPY: copy})
    artifact = write_tuning(artifact, tuning("cuda"), {COPY: copy})
    found = candidates_of(artifact)
    assert [(one.graph, one.file) for one in found] == [
        ("sequence", "sequence.onnx"),
        ("step", "step.onnx"),
        ("step", COPY),
    ]
    assert [one.is_portable for one in found] == [True, True, False]


@pytest.mark.parametrize(
    ("cores", "step", "sequence"),
    [(1, [], []), (2, [2], [1]), (6, [2, 4, 6], [1, 2, 4]), (8, [2, 4, 8], [1, 2, 4])],
)
def test_numbers_of_threads_are_powers_of_two_and_all_cores(
    cores: int, step: list[int], sequence: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what the portable graph has by itself: one thread for steps, else all cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert thread_counts("step") == step
    assert thread_counts("sequence") == sequence


def test_threads_are_of_the_cpu() -> None:
    """Another provider has none; a number that the user gives is the only one."""
    one = Candidate("step", "step.onnx", Path("step.onnx"))
    cpu = [way.threads for way in with_threads([one], find_provider("cpu"), 3)]
    assert cpu == [None, 3]
    assert [way.threads for way in with_threads([one], find_provider("cpu"), 1)] == [None]
    cuda = [way.threads for way in with_threads([one], find_provider("cuda"), None)]
    assert cuda == [None]
