"""Parity and cost as values."""

from __future__ import annotations

import json

from edgernn.json_field import JsonField
from edgernn.report import Check, ParityReport


def report(*differences, tolerance=1e-5):
    checks = tuple(
        Check("whole", "sequence", 1 + n, 7, "zero", difference)
        for n, difference in enumerate(differences)
    )
    return ParityReport("eager torch 2.9", tolerance, checks)


def test_the_largest_difference_decides():
    """A report passes when its largest difference is within the tolerance, the bound included."""
    assert report(1e-7, 1e-5).passed
    assert report(1e-7, 1e-5).max_difference == 1e-5
    assert not report(1e-7, 1.1e-5).passed


def test_no_check_proves_nothing():
    """A report without checks does not pass."""
    assert not report().passed
    assert report().max_difference == 0


def test_nan_proves_nothing():
    """A difference that is not a number fails, wherever it stands among the checks."""
    for differences in ((float("nan"), 0.0), (0.0, float("nan")), (float("nan"),)):
        assert not report(*differences).passed


def test_one_line_says_it_all():
    """The line for people counts checks and distinct sizes."""
    assert str(report(1e-7, 2e-7)) == (
        "max difference 2.0e-07 to eager torch 2.9 over 2 checks at 2 sizes"
    )


def test_json_gives_the_report_back():
    """The report survives JSON."""
    whole = report(1e-7, 0.25)
    table = json.loads(json.dumps(whole.to_json()))
    assert ParityReport.from_json(JsonField("`m`", "parity", table)) == whole
