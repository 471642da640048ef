"""The README and the pages of docs/: their links lead somewhere, their commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edgernn.cli import main
from tests.docs.page_blocks import page_blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Return the names that links give the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository is to a file that exists, and to a heading in it."""
    missing = []
    for target in re.findall(r"\]\(([^):\s]+)\)", page.read_text("utf-8")):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (heading and heading not in anchors(file)):
            missing.append(target)
    assert missing == []


def test_index_has_every_page() -> None:
    """docs/README.md leads to every page of docs/."""
    linked = set(re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "README.md").read_text("utf-8")))
    assert linked | {"README.md"} == {page.name for page in (ROOT / "docs").glob("*.md")}


def commands(page: Path) -> list[str]:
    """Return the arguments of each `edgernn` command that a page shows."""
    shown = [block.text for block in page_blocks(page) if block.language in ("sh", "console")]
    lines = "\n".join(shown).replace("\\\n", " ")
    return re.findall(r"^(?:\$ )?(?:.*\| )?edgernn ([^|>&\n]+)", lines, re.M)


def test_pages_show_commands() -> None:
    """README.md and several pages do."""
    assert commands(ROOT / "README.md")
    assert sum(bool(commands(page)) for page in PAGES) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path) -> None:
    """Every `edgernn` command shown is one that the command line takes, its options included."""
    context = main.make_context("edgernn", [], resilient_parsing=True)
    for line in commands(page):
        name, *arguments = shlex.split(line)
        command = main.get_command(context, name)
        assert command is not None
        command.make_context(name, arguments, context).close()
