"""docs/troubleshooting.md: each message is one that the code gives, and its remedy works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from edgernn import EdgernnError
from tests.docs.page_blocks import page_blocks
from tests.docs.provocations import prepare
from tests.docs.troubleshooting_cases import CASES, Case

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the cases use."""
    path = tmp_path_factory.mktemp("troubleshooting")
    prepare(path)
    return path


def test_page_has_these_messages() -> None:
    """The page shows the messages of the cases, in this order, and no other."""
    shown = [block.text.rstrip("\n") for block in page_blocks(PAGE, "text")]
    assert shown == [case.shown for case in CASES]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.shown)
def test_message_and_remedy(
    case: Case, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused is refused with a message that begins as shown; its remedy is not refused."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    with pytest.raises(EdgernnError) as caught:
        case.provoke()
    pattern = ".+".join(map(re.escape, case.shown.split("…")))
    assert re.match(pattern, str(caught.value))
    if case.remedy is not None:
        case.remedy()
