"""docs/api.md and the docstrings that it is made from."""

from __future__ import annotations

import inspect
from pathlib import Path

import edgernn
from edgernn import errors
from tests.docs.api_page import SECTIONS, page

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_what_the_docstrings_say() -> None:
    """docs/api.md has the docstrings of the public names; `scripts/docs` writes it anew."""
    assert (DOCS / "api.md").read_text("utf-8") == page()


def test_page_has_every_public_name() -> None:
    """Each name of `edgernn.__all__` and `edgernn.errors` is on the page once."""
    shown = [name for names in SECTIONS.values() for name in names if "." not in name]
    assert sorted([*shown, "EdgernnError"]) == sorted({*edgernn.__all__, *errors.__all__})


def test_every_argument_is_described() -> None:
    """The page says of each argument of the main functions what it is."""
    text = page()
    for function in (edgernn.export_model, edgernn.verify_artifact, edgernn.load):
        section = text.partition(f"### edgernn.{function.__name__}\n")[2].partition("\n##")[0]
        names = inspect.signature(function).parameters
        assert [name for name in names if f"- `{name}`: " not in section] == []
