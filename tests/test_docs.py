"""The README and the pages of docs/: their code runs, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edgernn.cli import main
from tests.conftest import Once
from tests.docs.page_blocks import page_blocks
from tests.examples.scripts import edgernn, train_once

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of one language in a page."""
    return re.findall(rf"^```{language}\n(.*?)\n```$", page.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs")
    (path / "examples").symlink_to(ROOT / "examples")
    return path


def test_readme_session_prints_what_it_shows(folder: Path, once: Once) -> None:
    """The README's commands, run in order, print what stands below them."""
    lines = blocks(ROOT / "README.md", "console")[0].splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        program, *arguments = shlex.split(lines[start].removeprefix("$ "))
        if program == "python":
            printed = train_once(Path(arguments[0]).parent.name, folder, once)
        elif program == "edgernn":
            printed = edgernn(folder, *arguments)
        else:
            continue
        shown = "\n".join(lines[start + 1 : stop])
        assert masked(printed.rstrip("\n"), arguments) == masked(shown, arguments)


def masked(text: str, arguments: list[str]) -> str:
    """Return `text` with what depends on the machine's rounding left out.

    Of a text that a trained model writes, only its length does not.
    """
    if "--generate" in arguments:
        return f"{len(text)} characters"
    return re.sub(r"(loss|difference) \S+|\d\S* kB", r"\1", text)


@pytest.mark.parametrize("names", [("README",), ("export", "run")], ids=" ".join)
def test_python_runs(
    names: tuple[str, ...], folder: Path, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python blocks of a page run in order as they stand, one page after the other."""
    monkeypatch.chdir(folder)
    if names == ("README",) and not Path("char.edgernn").exists():
        test_readme_session_prints_what_it_shows(folder, once)
    found: dict[str, object] = {}
    for name in names:
        page = ROOT / "README.md" if name == "README" else ROOT / "docs" / f"{name}.md"
        code = blocks(page, "python")
        assert code
        for block in code:
            exec(block, found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository is to one that exists."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def commands(page: Path) -> list[str]:
    """Return the arguments of each `edgernn` command that a page shows."""
    code = [block.text for block in page_blocks(page) if block.language in ("console", "sh")]
    return re.findall(r"^(?:\$ )?(?:.*\| )?edgernn (.+)$", "\n".join(code), re.M)


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
