"""What is said of a comparison that does not pass, and of one that compared nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgernn.errors import ParityError
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.reference import RunResult
from edgernn.export.proof.verdict import DisagreementError, Verdict
from edgernn.tolerances import TOLERANCE
from tests.nets.running_sum import contract, sampler

SIZES = {"batch": 2, "sequence": 3}
Y, H = np.ones((2, 1, 2), np.float32), np.ones((2, 2), np.float32)


def verdict(**options: Any) -> Verdict:
    return Verdict(sampler(ports=contract(**options)), TOLERANCE)


def compared(got: dict[str, Any], expected: dict[str, Any]) -> Comparison:
    comparison = Comparison()
    comparison.add(got, expected)
    return comparison


def test_an_output_of_which_no_frame_was_compared_is_refused():
    """States that agree are not enough where all frames of an output are undefined."""
    nothing = {"output": Y[:, :0], "h": H}
    case = ComparisonCase(SIZES, {}, RunResult({"output": Y[:, :0]}, {"h": H}))
    with pytest.raises(ParityError) as caught:
        verdict(delays={"output": 3}).check("whole", "sequence", case, compared(nothing, nothing))
    assert str(caught.value) == (
        "At batch 2, sequence 3 the sequence graph and the sum give no frame of `output` that "
        "could be compared."
    )


def test_a_comparison_with_the_sequence_graph_says_so():
    """The reference gives no contexts: what a step leaves is compared with what a whole run does.

    Only the whole run of the sequence graph goes along, to look for the layer that differs.
    """
    case = ComparisonCase(
        SIZES, {}, RunResult({"output": Y}, {"h": H}), {"h": H}, 4, from_graph=("output", "h")
    )
    wrong = compared({"output": Y + 1, "h": H}, {"output": Y, "h": H})
    with pytest.raises(DisagreementError) as caught:
        verdict(delays={"output": 2}).check("steps", "step", case, wrong, lambda _: 0.0)
    assert str(caught.value) == (
        "The step graph does not agree with the sequence graph in one call: `output` (delay 2) "
        "differs by 1.0e+00 (at most 2.0e-05 is allowed) at batch 2, sequence 3, reached initial "
        "state, run step by step."
    )
    assert caught.value.whole is None
    with pytest.raises(DisagreementError) as caught:
        verdict().check("whole", "sequence", case, wrong, lambda _: 0.0)
    assert caught.value.whole is case


def test_two_runs_of_graphs_may_differ_by_twice_the_tolerance():
    """Each may differ by the tolerance from what is exact; one beside eager torch may not."""
    near = compared({"output": Y + 1.5e-5, "h": H}, {"output": Y, "h": H})
    case = ComparisonCase(SIZES, {}, RunResult({"output": Y}, {"h": H}), from_graph=("output",))
    check = verdict().check("steps", "step", case, near, lambda _: 0.0)
    assert check.tolerance == pytest.approx(2 * TOLERANCE)
    case = ComparisonCase(SIZES, {}, RunResult({"output": Y}, {"h": H}))
    with pytest.raises(DisagreementError):
        verdict().check("steps", "step", case, near, lambda _: 0.0)


def test_an_allowed_difference_is_a_check_that_has_passed():
    """Rounding that was measured in the reference excuses a difference, and is noted."""
    case = ComparisonCase(SIZES, {}, RunResult({"output": Y}, {}))
    near = compared({"output": Y + 5e-5}, {"output": Y})
    check = verdict().check("whole", "sequence", case, near, lambda _: 4e-5)
    assert check.initial == "zero"
    assert check.difference == pytest.approx(5e-5, rel=0.01)
    assert check.tolerance == pytest.approx(9e-5, rel=0.01)
