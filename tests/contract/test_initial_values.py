"""Initial values of states in metadata: integers and the lowest number as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgernn.contract import Contract
from edgernn.errors import ContractError
from tests.contract.test_streaming_rules import CONTRACT, STATES, STEP


@pytest.mark.parametrize("count", [-(2**63), 2**63 - 1, 2**24 + 1])
def test_an_integer_state_starts_from_its_exact_value(count: int) -> None:
    """The decimal text of the metadata is read as integers, not by way of float32."""
    initial = np.array([count])
    states = (STATES[0], replace(STATES[1], initial=initial), STATES[2])
    metadata = replace(CONTRACT, states=states).metadata("step")
    assert metadata["edgernn.initial.position"] == str(count)
    found = Contract.from_metadata(metadata, STEP.inputs, STEP.outputs)
    np.testing.assert_array_equal(found.states[1].initial, initial, strict=True)
    np.testing.assert_array_equal(found.initial(found.states[1], 2), [count, count])
    for text in ("1.5", str(2**63), "nan"):
        broken = {**metadata, "edgernn.initial.position": text}
        with pytest.raises(ContractError) as caught:
            Contract.from_metadata(broken, STEP.inputs, STEP.outputs)
        assert str(caught.value) == (
            "The graph has a contract that cannot be read: `initial.position` is "
            f"`{text}`; expected integers with one space between them. Export the model again."
        )


def test_the_lowest_float_is_an_initial_value() -> None:
    """A running maximum starts from it; nine digits do not make it infinite."""
    lowest = np.full((1, 1, 8), np.finfo(np.float32).min, np.float32)
    states = (replace(STATES[0], initial=lowest), *STATES[1:])
    metadata = replace(CONTRACT, states=states).metadata("step")
    found = Contract.from_metadata(metadata, STEP.inputs, STEP.outputs)
    np.testing.assert_array_equal(found.states[0].initial, lowest, strict=True)
