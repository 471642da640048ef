"""docs/cli.md and what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from tests.cli.help_page import page

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_what_the_commands_say() -> None:
    """docs/cli.md is the help of every command, word for word; `scripts/docs` writes it anew."""
    assert (DOCS / "cli.md").read_text("utf-8") == page()
