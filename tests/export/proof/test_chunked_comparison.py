"""A run in parts, compared with the run of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgernn.contract import Port
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.chunked_comparison import compare_chunks
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.reference import RunResult
from tests.nets.running_sum import WIDTH, contract, running_sum, sampler

STEPS = 150
X = np.random.default_rng(0).standard_normal((2, STEPS, WIDTH)).astype(np.float32)
START = np.ones((2, WIDTH), np.float32)


def run_sum(data: Arrays, states: Arrays) -> RunResult:
    """Run the sum over the steps of `x`, or over a single one without their axis."""
    x = data["x"]
    y, h = running_sum(x if x.ndim == 3 else x[:, None], states["h"])
    return RunResult({"output": y if x.ndim == 3 else y[:, 0]}, {"h": h})


def whole(**data: Any) -> ComparisonCase:
    """Return the whole run, with further data."""
    y, h = running_sum(X, START)
    sizes = {"batch": 2, "sequence": STEPS}
    return ComparisonCase(sizes, {"x": X, **data}, RunResult({"output": y}, {"h": h}), {"h": START})


CUTS = {"whole": (STEPS,), "two": (64, 86), "uneven": (1, 63, 3, 83), "single": (1,) * STEPS}


@pytest.mark.parametrize("stepwise", [False, True], ids=["chunks", "steps"])
@pytest.mark.parametrize("cut", CUTS)
def test_parts_that_hand_on_their_state_are_the_whole(cut, stepwise):
    """However a sequence is cut; single steps come without the axis of the steps."""
    lengths = CUTS["single"] if stepwise else CUTS[cut]
    found = compare_chunks(sampler(), run_sum, whole(), lengths, stepwise)
    assert found.largest.absolute < 1e-4


@pytest.mark.parametrize("place", [0, 63, 64, 100, STEPS - 1])
def test_a_wrong_step_is_found_wherever_it_is(place):
    """Steps are compared piece by piece, and no piece is left out."""
    done = 0

    def wrong_once(data: Arrays, states: Arrays) -> RunResult:
        nonlocal done
        outputs, states = run_sum(data, states)
        if done == place:
            outputs = {"output": outputs["output"] + 5}
        done += 1
        return RunResult(outputs, states)

    found = compare_chunks(sampler(), wrong_once, whole(), CUTS["single"], stepwise=True)
    assert found.largest.port == "output"
    assert found.largest.absolute == pytest.approx(5, abs=1e-3)


def test_a_wrong_final_state_is_found():
    """The states that the last part leaves are compared too."""

    def stays(data: Arrays, states: Arrays) -> RunResult:
        outputs, after = run_sum(data, states)
        return RunResult(outputs, {"h": after["h"] + (len(data["x"][0]) == 86)})

    found = compare_chunks(sampler(), stays, whole(), CUTS["two"])
    assert (found.largest.port, round(found.largest.absolute, 3)) == ("h", 1.0)


def test_each_part_is_as_long_as_it_is():
    """An input of lengths holds the number of steps of the part for every sequence."""
    ports = contract(inputs=(Port("lengths", "int64", ("batch",), "n"),), lengths=("lengths",))
    given: list[list[int]] = []

    def note(data: Arrays, states: Arrays) -> RunResult:
        given.append(data["lengths"].tolist())
        return run_sum(data, states)

    used = sampler(ports=ports, lengths={"lengths": False})
    compare_chunks(used, note, whole(lengths=np.full(2, STEPS)), CUTS["uneven"])
    assert given == [[length] * 2 for length in CUTS["uneven"]]
