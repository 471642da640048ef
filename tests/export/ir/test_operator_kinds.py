"""The tables of operators that move elements, or compute them one at a time."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from edgernn.export.ir.operator_kinds import (
    ELEMENTWISE,
    Movement,
    moved_inputs,
    movement_of,
    operators_of,
)

X, Y = ir.Value(name="x"), ir.Value(name="y")


@pytest.mark.parametrize(
    ("operator", "movement"),
    [
        ("Squeeze", Movement.RESHAPES),
        ("Transpose", Movement.PERMUTES),
        ("Concat", Movement.JOINS),
        ("Gather", Movement.SELECTS),
        ("Expand", Movement.REPEATS),
    ],
)
def test_an_operator_moves_in_one_way(operator: str, movement: Movement) -> None:
    """Users of the table ask for the ways of moving that they can follow."""
    assert movement_of(ir.node(operator, [X])) is movement
    assert [one for one in Movement if operator in operators_of(one)] == [movement]


@pytest.mark.parametrize("operator", ["Neg", "Cast", "TopK", "Add", "Where"])
def test_what_computes_moves_nothing(operator: str) -> None:
    """No operator that computes, rounds, sorts or chooses is in the table."""
    node = ir.node(operator, [X, Y])
    assert [movement_of(node), moved_inputs(node)] == [None, []]


def test_an_operator_of_another_domain_moves_nothing() -> None:
    """The same name in another domain may mean anything."""
    assert movement_of(ir.node("Transpose", [X], domain="other")) is None


def test_the_first_input_is_moved_or_all_that_are_joined() -> None:
    """Shapes, places and bounds say where elements go, and are not moved."""
    assert moved_inputs(ir.node("Reshape", [X, Y])) == [X]
    assert moved_inputs(ir.node("Concat", [X, Y, X])) == [X, Y, X]
    assert operators_of(Movement.JOINS, Movement.REPEATS) == {"Concat", "Expand"}


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_an_operator_has_one_output(name: str) -> None:
    """It is one of ONNX's own, and gives one tensor."""
    schema = onnx.defs.get_schema(name)
    assert [schema.min_output, schema.max_output] == [1, 1]


def test_no_operator_only_moves_elements() -> None:
    """What computes an element and what moves it are told apart."""
    assert not ELEMENTWISE & operators_of(*Movement)
