"""The page is read back as it was written."""

from tests.supported.page import cells, read, written
from tests.supported.trials import BOTH, SEQUENCE_ONLY


def test_round_trip():
    """Marks and reasons come back for every cell; a reason stands once in its table."""
    marks = (BOTH, SEQUENCE_ONLY, "`x` | y cannot be.", "It is 1. no 2.")
    results = {cell: marks[place % 4] for place, cell in enumerate(cells())}
    text = written(results)
    assert read(text) == results
    assert text.count("It is 1. no 2.") == len({table for table, _, _ in results})
