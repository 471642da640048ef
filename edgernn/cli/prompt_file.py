"""A file with one prompt per line."""

from __future__ import annotations

from pathlib import Path

from edgernn.cli.run_text import MAX_TEXT, read_text
from edgernn.errors import InputError
from edgernn.regular_files import read_text as read_text_file

__all__ = ["read_prompts"]


def read_prompts(source: str) -> list[str]:
    r"""Return the lines of a file, or of standard input where it is `-`, without their ends.

    Lines end in `\n` or `\r\n`.

    Raises:
        InputError: There is no such file, or it is not UTF-8, too large, or has an empty line.
    """
    if source == "-":
        text, where = read_text(source), "standard input"
    else:
        where = f"`{source}`"
        text = read_text_file(Path(source), where, InputError, MAX_TEXT).removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            raise InputError(
                f"Line {number} of {where} is empty; each line is a prompt, which needs at least "
                "one symbol."
            )
    return lines
