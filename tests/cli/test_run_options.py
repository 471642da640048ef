"""`edgernn run`: options that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import refused

USAGE = [
    (["--input", "a", "--text", "b"], "Give --input or --text, not both."),
    (["--generate", "3"], "--generate needs --input or --text."),
    (["--text", "a", "--temperature", "1"], "--temperature needs --generate."),
    (
        ["--input", "a", "--generate", "1", "--temperature", "1"],
        "--temperature draws symbols, which needs --text.",
    ),
    (["--text", "a", "--generate", "1", "--seed", "1"], "--seed needs --temperature."),
    (["--columns", "1"], "--columns needs --input."),
    (["--chunk", "3"], "--chunk needs --input or --text."),
    (["--state-in", "s"], "--state-in needs --input or --text."),
    (["--state-out", "s"], "--state-out needs --input or --text."),
    (["--output", "y.npy"], "--output needs --input or --text."),
    (["--input", "a", "--output", "y.txt"], "--output with .txt needs --text."),
    (
        ["--text", "a", "--generate", "1", "--output", "y.npy"],
        "--generate with --text writes text: give --output a name with .txt.",
    ),
    (
        ["--input", "a", "--output", "y.mp3"],
        "Invalid value for '--output': `y.mp3` does not end in a format that is known: "
        ".npy, .npz, .csv, .jsonl, .wav, .flac, .ogg, .txt.",
    ),
    (
        ["--input", "a", "--plot", "s.png", "--state-out", "s.png"],
        "--plot and --state-out are the same file.",
    ),
    (
        ["--input", "a", "--chunk", "0"],
        "Invalid value for '--chunk': 0 is not in the range x>=1.",
    ),
]


@pytest.mark.parametrize(("options", "message"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_usage(edgernn: Invoke, folder: Path, options: list[str], message: str) -> None:
    """Options that do not go together are a usage error, before anything is loaded."""
    refused(edgernn("run", *options), message, 2)
