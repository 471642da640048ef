"""The checks of the gate, one at a time, on a model that adds up what it is given.

That graphs which are wrong are refused is in `tests/parity/test_gate`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from edgernn.contract import State
from edgernn.errors import ParityError, UnsupportedModelError
from edgernn.export.proof.comparison_cases import LONGEST
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.report import ParityReport
from edgernn.tolerances import TOLERANCE
from tests.nets.running_sum import (
    STEP,
    SUMS,
    TRACED,
    WIDTH,
    contract,
    prover,
    report,
    running_sum,
    write,
)


def sizes(report: ParityReport, name: str) -> list[tuple[int, int]]:
    return [(c.batch, c.sequence) for c in report.checks if c.name == name]


# --- which checks are made ------------------------------------------------------------------------


def test_every_form_is_checked_at_sizes_that_were_not_traced(tmp_path):
    """Whole from zeros and from a random state, also over a thousand steps; in parts; as recorded.

    The thousand steps go from zeros through the step graph, and by chunks through the other.
    """
    found = report(tmp_path, prover())
    others = [(1, 1), (2, 3), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (3, 8)]
    short = [size for size in [TRACED, *others] for _ in range(2)]
    assert sizes(found, "whole") == [*short, (1, LONGEST)]
    assert {c.initial for c in found.checks if c.name == "whole"} == {"zero", "random"}
    assert sizes(found, "chunks") == sizes(found, "steps") == [(1, 1), (2, 7), (3, 5)]
    drift = [check for check in found.checks if check.name == "drift"]
    assert [(c.graph, c.batch, c.sequence, c.initial) for c in drift] == [
        ("sequence", 1, LONGEST, "zero"),
        ("step", 1, LONGEST, "zero"),
    ]
    assert sizes(found, "golden") == [(2, 8), (2, 8)]
    assert found.passed


def test_both_sides_of_a_bound_are_checked(tmp_path):
    """No run is longer than the bound; one is as long, one is by a step shorter."""
    found = report(tmp_path, prover(ports=contract(most={"sequence": 6})))
    tried = sizes(found, "whole")
    assert {(2, 6), (2, 5)} < set(tried)
    assert max(steps for _, steps in tried) == 6
    assert sizes(found, "drift") == [(1, 6), (1, 6)]


def test_a_model_that_takes_no_thousand_steps_is_run_over_fewer(tmp_path):
    """A table of positions ends somewhere: the longest run that the reference takes is compared."""

    def at_most_300(x: Any, h: Any) -> tuple[Any, Any]:
        if x.shape[1] > 300:
            raise ValueError("index out of range")
        return running_sum(x, h)

    checked = prover(at_most_300)
    found = report(tmp_path, checked)
    assert checked.notes(found) == (
        "the sum itself fails over 1,000 steps (index out of range); the graphs are proven over up "
        "to 250.",
    )
    assert sizes(found, "whole")[-1] == (1, 250)
    assert sizes(found, "drift") == [(1, 250), (1, 250)]


def test_a_model_that_takes_no_size_is_refused(tmp_path):
    """Where nothing could be compared, nothing is proven."""

    def broken(x: Any, h: Any) -> tuple[Any, Any]:
        raise ValueError("no way.")

    with pytest.raises(UnsupportedModelError) as caught:
        report(tmp_path, prover(broken), None)
    assert str(caught.value) == (
        "the sum itself gives nothing to compare with at any size that was tried: no way. Give "
        "example tensors of the kind that it was trained on, as a tuple of tensors in Python."
    )


def test_an_empty_comparison_is_refused(tmp_path):
    """A graph whose outputs hold no number agrees with nothing."""
    ports = contract(y=("batch", "sequence", 0), h=("batch", 0))
    nothing = "zero = Constant<value_ints=[0]>() output = Slice(x, zero, zero, last) "
    graphs = {"sequence": write(tmp_path, ports, nothing + "h_out = Identity(h_in)")}
    checked = prover(lambda x, h: (x[..., :0], h[..., :0]), ports)
    with pytest.raises(ParityError) as caught:
        checked.report(graphs, PortAdapter(ports, ports))
    assert str(caught.value) == (
        "At batch 2, sequence 4 the sequence graph and the sum give nothing that could be compared."
    )


def test_a_state_that_is_not_carried_is_not_fed(tmp_path):
    """Without carry, only whole sequences are compared."""
    found = report(tmp_path, prover(ports=contract(carry=False)), None)
    assert {check.name for check in found.checks} == {"whole", "golden"}


def test_a_constant_axis_keeps_its_size(tmp_path):
    """A batch that is a number is that number in every check."""
    ports = contract((1, "sequence", WIDTH), (1, "sequence", WIDTH))
    found = report(tmp_path, prover(ports=ports, traced_sizes={"batch": 1, "sequence": 4}), None)
    assert {check.batch for check in found.checks} == {1}


def test_sizes_that_the_reference_does_not_take_are_passed_over(tmp_path):
    """Where eager torch itself fails, there is nothing to compare; longer sequences are tried."""

    def at_least_four(x: Any, h: Any) -> tuple[Any, Any]:
        if x.shape[1] < 4:
            raise ValueError("the kernel is larger than the input")
        return running_sum(x, h)

    found = report(tmp_path, prover(at_least_four, contract(carry=False)), None)
    tried = list(dict.fromkeys(sizes(found, "whole")))
    assert min(sequence for _, sequence in tried) == 4
    assert len(tried) == 10  # nine, and the thousand steps


def test_a_learned_start_is_called_so(tmp_path):
    """A state that does not start from zeros is said to be learned."""
    start = np.full((1, WIDTH), 0.5, np.float32)
    state = State("h", "h_in", "h_out", start)

    def learned(x: Any, h: Any) -> tuple[Any, Any]:
        return running_sum(x, h if h.any() else h + start)

    found = report(tmp_path, prover(learned, contract(states=(state,))))
    assert {check.initial for check in found.checks} == {"learned", "random"}


def test_states_of_no_layer_are_those_that_data_lead_to(tmp_path):
    """A count that is never negative is never started from a negative one."""

    def count(x: Any, h: Any) -> tuple[Any, Any]:
        assert (h >= 0).all()
        return running_sum(np.abs(x), h)

    body = SUMS.replace("CumSum(x, one)", "CumSum(size, one)").replace(
        "long =", "size = Abs(x) long ="
    )
    checked = prover(count, contract(carry=False), free_states=())
    ports = checked.contract
    found = checked.report({"sequence": write(tmp_path, ports, body)}, PortAdapter(ports, ports))
    assert {check.initial for check in found.checks} == {"zero", "reached"}
    assert checked.golden.by_port(ports)["h_in"].all()


# --- what passes ----------------------------------------------------------------------------------


ALMOST = SUMS.replace("output = Add", "off = Constant<value = float {0.0001}>() sum = Add").replace(
    "end = ", "output = Add(sum, off) end = "
)


def test_a_graph_may_be_as_coarse_as_float32_itself(tmp_path):
    """Twice the reference's own distance from its float64 is allowed, and the check tells it."""

    def coarse(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        off = 1e-4 if x.dtype == np.float64 else 0
        return y + off, h + off

    ports = contract(carry=False)
    graphs = {"sequence": write(tmp_path, ports, ALMOST)}
    found = prover(coarse, ports).report(graphs, PortAdapter(ports, ports))
    assert found.passed
    excused = [check for check in found.checks if check.difference > 1e-5]
    assert max(check.difference for check in excused) > 2e-5
    assert all(1e-5 < (check.tolerance or 0) < 3e-4 for check in excused)


def test_a_graph_is_no_coarser_than_float32_itself(tmp_path):
    """The same graph is refused where the reference's float32 is close to its float64."""
    ports = contract(carry=False)
    graphs = {"sequence": write(tmp_path, ports, ALMOST)}
    with pytest.raises(ParityError) as caught:
        prover(ports=ports).report(graphs, PortAdapter(ports, ports))
    assert re.match(
        r"The sequence graph does not agree with the sum: `(h|output)` differs by ",
        str(caught.value),
    )


def test_a_difference_is_told_with_its_place(tmp_path):
    """The message names graph, port, difference, size, state and way of running."""
    with pytest.raises(ParityError) as caught:
        report(tmp_path, prover(), STEP.replace("Identity", "Neg"))
    message = str(caught.value)
    assert message.endswith(
        "(at most 1.0e-05 is allowed) at batch 1, sequence 1, random initial state, run step by "
        "step."
    )
    assert message.startswith("The step graph does not agree with the sum: `h` differs by ")


def test_a_shape_that_was_not_declared_is_told(tmp_path):
    """The shapes that come out have to be those that the contract states."""
    ports = contract(y=("batch", "sequence", 3), carry=False)
    with pytest.raises(ParityError) as caught:
        prover(ports=ports).report(
            {"sequence": write(tmp_path, contract(carry=False))}, PortAdapter(ports, ports)
        )
    assert str(caught.value) == (
        "`output: float32[batch, sequence, 3]` came out as (2, 4, 2) at batch 2, sequence 4, where "
        "(2, 4, 3) was declared. Where forward squeezes or flattens, let it name the axis."
    )


# --- the golden run -------------------------------------------------------------------------------


def test_a_golden_run_has_every_port():
    """The recording starts from a random state and holds what the reference made of it."""
    checked = prover()
    recorded = checked.golden.by_port(checked.contract)
    assert {name: array.shape for name, array in recorded.items()} == {
        "x": (2, 8, WIDTH),
        "output": (2, 8, WIDTH),
        "h_in": (2, WIDTH),
        "h_out": (2, WIDTH),
    }
    assert recorded["h_in"].any()
    np.testing.assert_array_equal(recorded["h_out"], recorded["output"][:, -1])


def test_a_golden_run_is_finite():
    """A model that has no finite numbers cannot be recorded."""
    with pytest.raises(UnsupportedModelError) as caught, np.errstate(invalid="ignore"):
        _ = prover(lambda x, h: running_sum(x * np.inf, h)).golden
    assert str(caught.value) == (
        "No run of the sum could be recorded for hosts to compare with: its results are infinite; "
        "mask with a finite number, such as -1e9. Give example tensors of the kind that it was "
        "trained on."
    )


def test_the_tolerance_is_that_of_the_report(tmp_path):
    """Unless told otherwise, float32 has to agree to 1e-5, and no check may differ by more."""
    found = report(tmp_path, prover())
    assert (found.tolerance, TOLERANCE) == (1e-5, 1e-5)
    assert [check.tolerance for check in found.checks] == [None] * len(found.checks)
