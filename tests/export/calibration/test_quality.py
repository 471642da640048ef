"""The quality of exported graphs on data, chained over steps, and what it is held to."""

from __future__ import annotations

import numpy as np
import pytest

import edgernn
from edgernn.errors import InputError, ParityError
from edgernn.precision_report import PrecisionReport
from tests.nets.scorer import Scorer

IDS = np.arange(40)[None] * 5 % 6


def quality(folder, **options) -> PrecisionReport:
    """Export the scorer with data, and return what is reported."""
    artifact = edgernn.export_model(
        Scorer(), folder / "m.edgernn", calibrate={"ids": IDS}, verify=False, **options
    )
    assert artifact.precision is not None
    return artifact.precision


def test_perplexity_before_and_after_is_kept_in_the_artifact(tmp_path):
    """The step graph runs; contract.json, summary and card have the numbers."""
    report = quality(tmp_path, precision="float16")
    calibration = report.calibration
    assert calibration is not None
    assert (calibration.graph, calibration.sequences, calibration.steps) == ("step", 1, 40)
    assert [one.name for one in calibration.measures] == ["perplexity", "accuracy"]
    perplexity = calibration.measures[0]
    assert perplexity.after == pytest.approx(perplexity.before, rel=1e-2)
    assert perplexity.after != perplexity.before
    again = edgernn.Artifact.open(tmp_path / "m.edgernn")
    assert again.precision == report
    assert f"data       {calibration}" in repr(again)
    assert f"- data: {calibration}" in (tmp_path / "m.edgernn" / "README.md").read_text("utf-8")


def test_float32_loses_nothing(tmp_path):
    """Without a step graph, the sequence graph runs."""
    calibration = quality(tmp_path, graph="sequence", max_loss=0.01).calibration
    assert calibration is not None
    assert abs(calibration.loss) < 1e-3


def test_a_loss_above_the_bound_stops_the_export(tmp_path):
    """Nothing is written; with a larger bound it is."""
    with pytest.raises(ParityError) as caught:
        quality(tmp_path, precision="float16", max_loss=1e-9)
    assert str(caught.value).startswith("The loss on the calibration data (arrays) is ")
    assert str(caught.value).endswith(
        "Nothing was written. Choose another `precision`, or allow more."
    )
    assert not (tmp_path / "m.edgernn").exists()
    quality(tmp_path, precision="float16", max_loss=5)


def test_what_is_not_finite_is_no_measure(tmp_path):
    """A number that is expected and is NaN would make the report unreadable."""
    data = {"ids": IDS, "output": np.full((1, 40, 6), np.nan)}
    with pytest.raises(InputError) as caught:
        edgernn.export_model(Scorer(), tmp_path / "m.edgernn", calibrate=data, verify=False)
    assert str(caught.value) == (
        "The error on the calibration data (arrays) is NaN or infinite: what is expected of an "
        "output, or what the model itself gives, is not finite. Give finite numbers, or leave out "
        "what is expected."
    )
    assert not (tmp_path / "m.edgernn").exists()
