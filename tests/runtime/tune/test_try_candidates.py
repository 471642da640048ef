"""Candidates, checked and measured at every size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgernn.artifact import Artifact
from edgernn.errors import InputError, ParityError
from edgernn.runtime.golden_replay import golden_report
from edgernn.runtime.model import load
from edgernn.runtime.providers import find_provider
from edgernn.runtime.tune.candidates import Candidate, candidates_of
from edgernn.runtime.tune.try_candidates import Sizes, try_candidates
from edgernn.runtime.tune.write_tuning import write_tuning
from tests.nets import framed, small_artifacts
from tests.nets.tunings import COPY, copied_form, tuning

CPU = find_provider("cpu")
QUICK = Sizes(rounds=1, seconds=0.001)


def test_every_graph_is_measured_at_every_size(tmp_path: Path) -> None:
    """The ratio of the portable graph is 1; one way of each size is chosen."""
    path, copy = copied_form(tmp_path)
    artifact = Artifact.open(path)
    candidates = [*candidates_of(artifact), Candidate("step", COPY, copy, threads=2)]
    trials = try_candidates(artifact, CPU, candidates, replace(QUICK, batches=(4, 1), steps=(6,)))
    assert [(one.graph, one.batch, one.steps, one.form, one.threads) for one in trials] == [
        ("sequence", 1, 6, "sequence", None),
        ("sequence", 4, 6, "sequence", None),
        ("step", 1, 1, "step", None),
        ("step", 1, 1, "step-copy", 2),
        ("step", 4, 1, "step", None),
        ("step", 4, 1, "step-copy", 2),
    ]
    assert [one.ratio for one in trials if one.form in ("step", "sequence")] == [1.0] * 4
    assert sum(one.chosen for one in trials) == 4
    assert all(one.error < 1e-5 for one in trials)


def test_a_candidate_that_differs_or_does_not_run_is_left_out(tmp_path: Path) -> None:
    """Its error is that of the golden run, or of its proof where that is larger."""
    path, copy = copied_form(tmp_path)
    artifact = Artifact.open(path)
    other = small_artifacts.pair(tmp_path / "pair.edgernn") / "step.onnx"
    candidates = [
        *candidates_of(artifact),
        Candidate("step", "forms/step-other.onnx", other),
        Candidate("step", "forms/step-int8.onnx", copy, tolerance=1e-3, error=2e-3),
        Candidate("step", "forms/step-int4.onnx", copy, tolerance=1e-2, error=2e-3),
    ]
    trials = try_candidates(artifact, CPU, candidates, QUICK)
    errors = {one.form: one.error for one in trials if one.graph == "step"}
    assert errors.keys() == {"step", "step-int4"}
    assert errors["step-int4"] == 2e-3


def test_a_portable_graph_that_differs_is_named(tmp_path: Path) -> None:
    """Nothing is measured where the graphs do not give the recorded numbers here."""
    path, _ = copied_form(tmp_path)
    recorded = path / "golden" / "output.npy"
    np.save(recorded, np.load(recorded) + 1)
    artifact = Artifact.open(path)
    with pytest.raises(ParityError) as caught:
        try_candidates(artifact, CPU, candidates_of(artifact), QUICK)
    assert str(caught.value) == (
        "`whole` through the sequence graph differs from the golden run by 5.5e-01 at batch 2, "
        "sequence 7; at most 1.0e-05 passes. Export the model again."
    )


def test_a_less_precise_form_passes_where_it_was_asked_for(tmp_path: Path) -> None:
    """The golden run takes its tolerance; tuning again without it leaves the form out."""
    path, copy = copied_form(tmp_path)
    model = onnx.load(copy)
    for weights in model.graph.initializer:
        array = numpy_helper.to_array(weights)
        if array.dtype == np.float32:
            rounded = numpy_helper.from_array(np.round(array, 2), weights.name)
            weights.CopyFrom(rounded)
    onnx.save(model, copy)
    artifact = Artifact.open(path)
    candidate = Candidate("step", COPY, copy, tolerance=0.25)
    trials = try_candidates(artifact, CPU, [*candidates_of(artifact), candidate], QUICK)
    chosen = [replace(one, chosen=one.file == COPY) for one in trials if one.graph == "step"]
    assert [one.tolerance for one in chosen] == [None, 0.25]
    assert 1e-4 < chosen[1].error < 0.25
    record = replace(tuning(), trials=tuple(chosen))
    artifact = write_tuning(artifact, record, {COPY: copy})
    report = golden_report(load(path))
    assert (report.passed, report.tolerance) == (True, 0.25)
    again = try_candidates(artifact, CPU, candidates_of(artifact), QUICK)
    assert {one.form for one in again} == {"sequence", "step"}


def bounded(path: Path) -> Path:
    """Write a model whose table of positions ends after 10 hops of 2 steps."""
    framed.write(path, framed.Framed(rows=10))
    return path


@pytest.mark.parametrize(
    ("write", "sizes", "message"),
    [
        (
            small_artifacts.features,
            Sizes(batches=(0,)),
            "`batch` is 0; a stream runs at least 1 sequence.",
        ),
        (
            small_artifacts.hello,
            Sizes(batches=(2,)),
            "`batch` is 2, but this model was exported for a batch of 1 only (`h_in: "
            "float32[1, 1, 8]`). Run 1 sequence at a time.",
        ),
        (
            small_artifacts.features,
            Sizes(batches=tuple(range(1, 34))),
            "66 sizes were asked for; at most 64 are measured. Give fewer batches or numbers of "
            "steps.",
        ),
        (
            small_artifacts.features,
            Sizes(steps=(1,)),
            "`steps` is 1, which runs in the step graph. Give 2 or more.",
        ),
        (
            bounded,
            Sizes(steps=(20, 22)),
            "`steps` is 22; the model takes at most 20 steps. Give another number.",
        ),
    ],
)
def test_a_size_that_is_not_of_the_graph_is_refused(
    write: Callable[[Path], Path], sizes: Sizes, message: str, tmp_path: Path
) -> None:
    """Before anything is measured."""
    artifact = Artifact.open(write(tmp_path / "model.edgernn"))
    with pytest.raises(InputError) as caught:
        try_candidates(artifact, CPU, candidates_of(artifact), sizes)
    assert str(caught.value) == message
