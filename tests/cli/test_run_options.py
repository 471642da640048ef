"""`edgernn run`: options that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import refused

USAGE = [
    (["--input", "a", "--text", "b"], "Give --input or --text, not both."),
    (["--input", "a", "--prompts", "b"], "Give --input or --prompts, not both."),
    (["--generate", "3"], "--generate needs --input, --text or --prompts."),
    (["--prompts", "a"], "--prompts needs --generate."),
    (["--text", "a", "--text", "b"], "Several --text need --generate. Give one, or --generate N."),
    (["--text", "a", "--temperature", "1"], "--temperature needs --generate."),
    (["--text", "a", "--stop", "b"], "--stop needs --generate."),
    (["--text", "a", "--json"], "--json needs --generate."),
    (
        ["--input", "a", "--generate", "1", "--temperature", "0"],
        "--temperature draws symbols, which needs --text.",
    ),
    (
        ["--input", "a", "--generate", "1", "--top-k", "3"],
        "--top-k draws symbols, which needs --text.",
    ),
    (["--input", "a", "--generate", "1", "--stop", "b"], "--stop ends a text, which needs --text."),
    (["--input", "a", "--generate", "1", "--json"], "--json prints texts, which needs --text."),
    (
        ["--text", "a", "--generate", "1", "--seed", "0"],
        "--seed needs --temperature, --top-k or --top-p.",
    ),
    (["--columns", "1"], "--columns needs --input."),
    (["--chunk", "3"], "--chunk needs --input or --text."),
    (["--state-in", "s"], "--state-in needs --input, --text or --prompts."),
    (["--state-out", "s"], "--state-out needs --input or --text."),
    (["--output", "y.npy"], "--output needs --input, --text or --prompts."),
    (["--input", "a", "--output", "y.txt"], "--output with .txt needs --text."),
    (
        ["--text", "a", "--generate", "1", "--output", "y.npy"],
        "--generate with --text writes text: give --output a name with .txt or .jsonl.",
    ),
    (
        ["--text", "a", "--generate", "1", "--json", "--output", "y.txt"],
        "--json writes JSON: give --output a name with .jsonl.",
    ),
    (
        ["--text", "a", "--text", "b", "--generate", "1", "--state-out", "s.npz"],
        "--state-out is for one text. Give one --text only.",
    ),
    (
        ["--text", "a", "--prompts", "a", "--generate", "1", "--plot", "y.svg"],
        "--plot is for one text. Give one --text only.",
    ),
    (
        ["--text", "-", "--prompts", "-", "--generate", "1"],
        "Standard input can be read once, and `-` came more often.",
    ),
    (
        ["--text", "a", "--generate", "1", "--top-k", "0"],
        "Invalid value for '--top-k': 0 is not in the range x>=1.",
    ),
    (
        ["--text", "a", "--generate", "1", "--top-p", "0"],
        "Invalid value for '--top-p': 0.0 is not in the range 0<x<=1.",
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
