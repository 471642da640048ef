"""The table of operators that compute element by element."""

from __future__ import annotations

import onnx
import pytest

from edgernn.export.ir.elementwise_operators import ELEMENTWISE
from edgernn.export.ir.movement_operators import Movement, operators_of


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_an_operator_has_one_output(name: str) -> None:
    """It is one of ONNX's own, and gives one tensor."""
    schema = onnx.defs.get_schema(name)
    assert [schema.min_output, schema.max_output] == [1, 1]


def test_no_operator_only_moves_elements() -> None:
    """What computes an element and what moves it are told apart."""
    assert not ELEMENTWISE & operators_of(*Movement)
