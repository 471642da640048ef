"""What shells ask to complete a command line, by click's protocol."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgernn.cli import main
from edgernn.runtime.providers import PROVIDERS

FILE = ["file,"]
USE = ["use_tf32", "use_ep_level_unified_stream"]


def complete(*words: str, shell: str = "bash") -> list[str]:
    """Return what a shell gets for the last of the words after `edgernn`."""
    env = {"_EDGERNN_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(["edgernn", *words])}
    env["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words))
    return CliRunner().invoke(main, [], prog_name="edgernn", env=env).stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["ex"], ["export"]),
        (["export", "--prec"], ["--precision"]),
        (["export", "--precision", ""], ["float32", "float16", "int8", "int4"]),
        (["export", "--graph", "s"], ["sequence", "step"]),
        (["export", "--state-layout", "b"], ["batch-major"]),
        (["run", "--provider", ""], ["auto", *PROVIDERS]),
        (
            ["run", "--provider", "cuda:device_id=1,use"],
            [f"cuda:device_id=1,{one}=" for one in USE],
        ),
        (["verify", "x.edgernn", "--provider", "c"], ["cpu", "cuda", "coreml"]),
        (["doctor", "--j"], ["--json"]),
    ],
)
def test_words(words: list[str], values: list[str]) -> None:
    """Commands, options, choices and providers are completed."""
    assert complete(*words) == [f"plain,{value}" for value in values]


@pytest.mark.parametrize(
    "words",
    [
        ["export"],
        ["export", "--module"],
        ["export", "--vocabulary"],
        ["export", "-o"],
        ["run"],
        ["run", "--input"],
        ["run", "--output"],
        ["run", "--state-in"],
        ["inspect"],
        ["verify"],
        ["verify", "x.edgernn", "--against"],
    ],
)
def test_files(words: list[str]) -> None:
    """What is a file is completed by the shell."""
    assert complete(*words, "") == FILE


def test_zsh() -> None:
    """Type, value and help , value and help go to zsh, each on a line of its own."""
    """Type, value and help go to zsh, each on a line of its own."""


def test_fish() -> None:
    """The help goes to fish after the value."""
    assert complete("ver", shell="fish") == ["plain,verify\tProve an artifact again."]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(shell: str, tmp_path: Path) -> None:
    """Every shell gets a script that it can read."""
    env = {"_EDGERNN_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(main, [], prog_name="edgernn", env=env)
    assert result.exit_code == 0
    (tmp_path / "script").write_text(result.stdout)
    try:
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed")
