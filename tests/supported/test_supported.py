"""docs/supported.md is in step with the code."""

import random

import pytest

from tests.nets.kinds import KINDS
from tests.supported.page import PAGE, cells, read, written
from tests.supported.trials import BOTH, NOTHING, TABLES, result

SAMPLE = 12
RESULTS = read(PAGE.read_text("utf-8"))


def sample() -> list[tuple[str, str, str]]:
    """Return some cells of every table, always the same ones, that have something to try."""
    tried = [cell for cell in cells() if TABLES[cell[0]].columns[cell[2]](cell[1]) is not None]
    return random.Random(7).sample(tried, SAMPLE)


def test_no_cell_is_left_out() -> None:
    """The page has every cell of every table, and says what it says in one way only."""
    assert list(RESULTS) == list(cells())
    assert written(RESULTS) == PAGE.read_text("utf-8")


@pytest.mark.parametrize("cell", sample(), ids=" ".join)
def test_sample(cell: tuple[str, str, str]) -> None:
    """A cell comes out today as the page says; after a change, run scripts/supported."""
    assert result(*cell) == RESULTS[cell]


def test_nothing_is_claimed_where_torch_has_nothing() -> None:
    """A cell without a trial stands as such, and no other does."""
    empty = {cell for cell in cells() if TABLES[cell[0]].columns[cell[2]](cell[1]) is None}
    assert {cell for cell, found in RESULTS.items() if found == NOTHING} == empty


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_exports(kind: str) -> None:
    """Every kind gives both graphs as it stands, and the page says so."""
    assert result("options", kind, "plain") == RESULTS["options", kind, "plain"] == BOTH
