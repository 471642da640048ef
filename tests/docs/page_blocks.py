"""The code blocks of a page, and what a reader sees who pastes them.

A ```text block right after a block shows what it prints, standard output and standard error
together. A line before a block that ends in "`NAME`:", as in "Save as `train.py`:", says that the
block is the content of that file. Everything else that is ```sh or ```python is run: ```sh by
`bash -e`, ```python as the script `pasted.py`.

`check_output` compares what is printed with what the page shows, except for what depends on the
machine:

- times (`0.4 s`, `12.3 µs`), file sizes (`299.6 kB`), losses (`loss 0.162`) and differences written
  with an exponent (`2.1e-06`) are not compared;
- numbers with a decimal point may differ by 2 %, and below 1 by 0.02, because training rounds
  differently on other machines;
- lines that install packages (`python3 -m venv`, `pip install`, `npm install`) are not run: the
  tests' environment has the packages.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.fork_server import write_programs

__all__ = ["Block", "check_output", "page_blocks", "play", "run"]

ROOT = Path(__file__).parents[2]

_RUN = ("sh", "python")
"""The languages that are run."""
_INSTALLS = re.compile(r"^(?:python3 -m venv|pip install|npm install) .*$", re.M)
_MASKS = (
    (re.compile(r"\bloss \d\S*"), "loss"),
    (re.compile(r"\d[\d.,]* (?:ns|µs|ms|s|min)\b"), "TIME"),
    (re.compile(r"\d[\d.,]* (?:B|kB|MB|GB)\b"), "SIZE"),
    (re.compile(r"\b\d(?:\.\d+)?e-(?:0[5-9]|[1-9]\d)\b"), "DIFFERENCE"),
)
_DECIMAL = re.compile(r"(-?\d+\.\d+)")
_TOLERANCE = 0.02
_LIMIT_S = 300


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: The page.
        line: The number of its first line of code, from 1.
        language: What stands after the opening fence: `sh`, `python`.
        text: The code, with a newline at the end.
        file: The file whose content it is, or None.
        output: What the page shows that it prints, or None.
    """

    page: Path
    line: int
    language: str
    text: str
    file: str | None = None
    output: str | None = None

    def __str__(self) -> str:
        """Return `README.md:12`, which names the block in tests and messages."""
        return f"{self.page.name}:{self.line}"


def page_blocks(page: Path, language: str | None = None) -> list[Block]:
    """Return the code blocks of a page in order, without those that show an output.

    Args:
        page: A file in Markdown.
        language: Return the blocks of this language only.
    """
    tokens = [token for token in MarkdownIt().parse(page.read_text("utf-8")) if token.content]
    found: list[Block] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else Token("", "", 0)
        after = tokens[index + 1] if index + 1 < len(tokens) else Token("", "", 0)
        if not _is_fence(token) or (_is_fence(before) and token.info == "text"):
            continue
        assert token.map is not None
        name = None if _is_fence(before) else re.search(r"`([^`\s]+\.\w{1,5})`:$", before.content)
        block = Block(
            page=page,
            line=token.map[0] + 2,
            language=token.info,
            text=token.content,
            file=name and name[1],
            output=after.content if _is_fence(after) and after.info == "text" else None,
        )
        if language in (None, block.language):
            found.append(block)
    return found


def run(block: Block, folder: Path) -> str:
    """Do with a block what its reader does; return what is printed.

    A block with a file name is written to that file. Others run in `folder`, with `edgernn` and
    `python` of this checkout on the path. A block fails if and only if its page shows a line that
    starts with `Error: `.

    Raises:
        AssertionError: It fails, or succeeds where it should fail.
    """
    if block.file is not None:
        (folder / block.file).write_text(block.text, "utf-8")
        return ""
    if block.language == "sh":
        command = ["bash", "-e", "-c", _INSTALLS.sub(":", block.text)]
    else:
        command = ["python", "pasted.py"]
        (folder / "pasted.py").write_text(block.text, "utf-8")
    finished = subprocess.run(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=_LIMIT_S,
        check=False,
    )
    refused = re.search(r"^Error: ", block.output or "", re.M) is not None
    what = "succeeded" if refused else "failed"
    assert (finished.returncode != 0) == refused, f"{block} {what}:\n{finished.stdout}"
    return finished.stdout


def check_output(block: Block, printed: str) -> None:
    """Compare what a block printed with what its page shows.

    Raises:
        AssertionError: They differ, or nothing of what is shown can be compared.
    """
    shown = _lines(block.output or "")
    assert re.search(r"\w", _masked_away(shown)), f"{block}: there is nothing to compare"
    for number, (wanted, came) in enumerate(zip_longest(shown, _lines(printed)), 1):
        assert wanted is not None, f"{block}: prints a further line {came!r}:\n{printed}"
        assert came is not None, f"{block}: does not print line {number} {wanted!r}:\n{printed}"
        assert _agree(wanted, came), f"{block}: {came!r} came for {wanted!r}:\n{printed}"


def play(blocks: Sequence[Block], folder: Path) -> None:
    """Run the blocks in order in one folder, and compare each output that is shown.

    Blocks of other languages than `sh` and `python` are only written to their files.

    Raises:
        AssertionError: A block fails, an output differs, or no block shows any.
    """
    compared = 0
    for block in blocks:
        if block.file is None and block.language not in _RUN:
            continue
        printed = run(block, folder)
        if block.output is not None:
            check_output(block, printed)
            compared += 1
    assert compared, "no block shows an output"


def _is_fence(token: Token) -> bool:
    return token.type == "fence"


def _environment(folder: Path) -> dict[str, str]:
    """Return the variables of a shell in which this checkout is installed."""
    programs = folder.parent / f"{folder.name}-programs"
    programs.mkdir(exist_ok=True)
    write_programs(programs)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",  # else what goes to standard error overtakes the rest
        "COLUMNS": "80",
    }


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def _masked(line: str) -> str:
    for pattern, name in _MASKS:
        line = pattern.sub(name, line)
    return line


def _masked_away(lines: list[str]) -> str:
    """Return what is left of a text without anything that is masked."""
    return re.sub("|".join(name for _, name in _MASKS), "", "\n".join(map(_masked, lines)))


def _agree(wanted: str, came: str) -> bool:
    """Say whether two lines agree: text by character, numbers with a decimal point roughly."""
    parts = [_DECIMAL.split(_masked(line)) for line in (wanted, came)]
    if len(parts[0]) != len(parts[1]):
        return False
    return all(
        math.isclose(float(one), float(other), rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        if index % 2
        else one.split() == other.split()
        for index, (one, other) in enumerate(zip(*parts, strict=True))
    )
