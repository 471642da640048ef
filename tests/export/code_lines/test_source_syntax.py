"""What the syntax of the model's code says of a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.code_lines.source_syntax import condition_kind, enclosing_condition, loops_in

CODE = """\
def forward(x, n):
    assert n > 0
    if n > 9:
        raise ValueError
    while n > 1:
        n -= 1
        if n == 5:
            break
    for t in range(n):
        for u in range(t):
            x = x + u
        x = -x if t else x
    if n > 2 and (
        n < 7
    ):
        x = x * 2
    return x
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return str(path)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1, None),
        (2, "check"),
        (3, "check"),
        (4, None),
        (5, "end"),
        (7, "end"),
        (12, "branch"),
        (13, "branch"),
        (14, "branch"),
        (16, None),
    ],
)
def test_what_a_condition_decides(file, number, kind):
    """Whether forward goes on, a loop ends, or what is computed; on each line of the condition."""
    assert condition_kind(SourceLine(file, number)) == kind


@pytest.mark.parametrize(("number", "condition"), [(1, None), (6, 5), (8, 7), (11, None), (16, 13)])
def test_the_innermost_condition_around_a_line(file, number, condition):
    """An assert decides nothing, and a loop over a range is no condition."""
    found = enclosing_condition(SourceLine(file, number))
    assert found == (None if condition is None else SourceLine(file, condition))


def test_loops_come_from_the_outside_in(file):
    """With their first line, and whether another line is theirs."""
    loops = loops_in(file)
    assert [(loop.line.number, loop.end) for loop in loops] == [(5, 8), (9, 12), (10, 11)]
    assert [loop.contains(SourceLine(file, 11)) for loop in loops] == [False, True, True]
    assert not loops[1].contains(SourceLine("other.py", 11))


def test_code_that_cannot_be_read_has_neither(tmp_path):
    """As that of a notebook's cell that is gone, or no Python at all."""
    broken = tmp_path / "broken.py"
    broken.write_text("if (:\n")
    for file in (str(broken), "<stdin>"):
        assert loops_in(file) == []
        assert condition_kind(SourceLine(file, 1)) is None
        assert enclosing_condition(SourceLine(file, 1)) is None
