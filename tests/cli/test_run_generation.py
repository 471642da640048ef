"""`edgernn run --generate`: texts that a model continues."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgernn as library
from tests.cli.conftest import Invoke
from tests.cli.runs import refused


def test_several_texts(edgernn: Invoke, hello: Path) -> None:
    """Every text has its line, in the order in which they were given."""
    Path("prompts.txt").write_bytes(b"hell\r\nh\n")
    result = edgernn("run", "--text", "hel", "--prompts", "prompts.txt", "--generate", "6")
    assert result.stdout == "lollol\nolloll\nolloll\n"
    again = edgernn("run", "--prompts", "-", "--generate", "6", stdin=b"\xef\xbb\xbfhel\nhell\nh\n")
    assert again.stdout == result.stdout


def test_stop(edgernn: Invoke, hello: Path) -> None:
    """A text ends before the first stop text."""
    run = ["run", "--text", "hel", "--text", "hell", "--generate", "6"]
    assert edgernn(*run, "--stop", "ll").stdout == "lo\no\n"
    assert edgernn(*run, "--stop", "zz").stdout == edgernn(*run).stdout
    assert edgernn(*run, "--stop", "llo", "--stop", "ol").stdout == "l\n\n"


def test_stopped_text_goes_on(edgernn: Invoke, hello: Path) -> None:
    """The state has seen the stop text too."""
    run = ["run", "--text", "hel", "--generate", "9", "--stop", "ol", "--state-out", "s.npz"]
    assert edgernn(*run).stdout == "l\n"
    result = edgernn("run", "--text", "l", "--state-in", "s.npz")
    assert result.stdout == edgernn("run", "--text", "helloll").stdout[-2:]


def test_json(edgernn: Invoke, hello: Path) -> None:
    """Scripts get one object per text, on standard output or in a file."""
    run = ["run", "--text", "hel", "--text", "hell", "--generate", "4", "--stop", "ll"]
    lines = edgernn(*run, "--json").stdout
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"prompt": "hel", "text": "lo", "symbols": 4, "stop": "ll"},
        {"prompt": "hell", "text": "o", "symbols": 3, "stop": "ll"},
    ]
    assert edgernn(*run, "--output", "y.jsonl").stdout == ""
    assert Path("y.jsonl").read_text() == lines
    assert json.loads(edgernn("run", "--text", "h", "--generate", "1", "--json").stdout) == {
        "prompt": "h",
        "text": "o",
        "symbols": 1,
        "stop": None,
    }


def test_drawn_as_in_python(edgernn: Invoke, hello: Path) -> None:
    """Options of the same name draw the same text."""
    drawn = library.generate(
        library.load(hello), "h", 40, temperature=9, top_k=3, top_p=0.9, seed=4
    )
    options = ["--temperature", "9", "--top-k", "3", "--top-p", "0.9", "--seed", "4"]
    result = edgernn("run", "--text", "h", "--generate", "40", *options)
    assert result.stdout == "".join(drawn) + "\n"
    assert len(set(result.stdout)) > 2


def test_greedy_temperature(edgernn: Invoke, hello: Path) -> None:
    """Temperature 0 is the best symbol, with the other options of a draw too."""
    run = ["run", "--text", "hel", "--generate", "6"]
    options = ["--temperature", "0", "--top-k", "3", "--seed", "1"]
    assert edgernn(*run, *options).stdout == "lollol\n"


REFUSED = [
    (b"", "Line 1 of standard input is empty; each line is a prompt, which needs at least one "
     "symbol."),
    (b"h\n\nl\n", "Line 2 of standard input is empty; each line is a prompt, which needs at least "
     "one symbol."),
    (b"h\nhx\n", "Prompt 2: `x` at position 1 of the text is not in the vocabulary of 4 symbols, "
     "which has no unknown symbol. Known are: 'h' 'e' 'l' 'o'"),
    (b"h\xff\n", "Standard input is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in "
     "position 1: invalid start byte."),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_prompts_that_are_refused(edgernn: Invoke, hello: Path, lines: bytes, message: str) -> None:
    """A prompt that cannot be read is named by its line or number, and nothing is printed."""
    refused(edgernn("run", "--prompts", "-", "--generate", "3", stdin=lines), message)


def test_no_prompt_file(edgernn: Invoke, hello: Path) -> None:
    """A file that is not there is named."""
    refused(
        edgernn("run", "--prompts", "p.txt", "--generate", "3"),
        "`p.txt` cannot be read: No such file or directory.",
    )


def test_no_vocabulary(edgernn: Invoke, features: Path) -> None:
    """A model without a vocabulary continues no text."""
    refused(
        edgernn("run", "--text", "h", "--generate", "3"),
        "`features.edgernn` has no vocabulary, so it cannot read text. Export it again with "
        "--vocabulary FILE, or give numbers with --input.",
    )
