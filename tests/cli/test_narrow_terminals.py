"""What the commands print in narrow terminals, in those that cannot draw, and in pipes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len
from torch import nn

from edgernn.cli.terminal_notes import wrapped
from tests.cli.runs import ROOT
from tests.nets import small_artifacts

CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def on_terminal(command: str, columns: int, term: str = "xterm", **variables: str) -> str:
    """Return what a command prints on a terminal, with line ends as a file has them."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgernn", *command.split()],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **os.environ,
            "PYTHONPATH": ROOT,
            "COLUMNS": str(columns),
            "LINES": "40",
            "TERM": term,
            **variables,
        },
    )
    os.close(theirs)
    printed = b""
    while chunk := _read(ours):
        printed += chunk
    os.close(ours)
    assert process.wait(30) == 0
    return printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""  # the other side is closed


def piped(command: str) -> str:
    """Return what a command prints into a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "edgernn", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ROOT, "COLUMNS": "200"},
    ).stdout


def letters(text: str) -> list[str]:
    """Return the letters and digits of a text, whatever the order of its cells."""
    return sorted(re.sub(r"\W|─", "", text))


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", ["inspect features.edgernn", "doctor", "verify s.edgernn"])
def test_nothing_is_cut(folder: Path, command: str, columns: int) -> None:
    """Lines are broken to fit, and everything that a pipe gets is there."""
    small_artifacts.features(folder / "features.edgernn")
    small_artifacts.features(folder / "s.edgernn")
    printed = on_terminal(command, columns).rpartition("\x1b[2K")[2]  # the line that moves
    printed = CONTROL.sub("", printed)
    longest = max(printed.splitlines(), key=cell_len)
    assert cell_len(longest) <= columns or longest.startswith("library  ")  # that is to be copied
    assert letters(printed) == letters(piped(command))


@pytest.mark.parametrize("command", ["inspect features.edgernn", "verify features.edgernn"])
def test_no_colour(features: Path, command: str) -> None:
    """NO_COLOR leaves no colours; a terminal that cannot draw and a pipe get letters only."""
    coloured = on_terminal(command, 80, NO_COLOR="1")
    assert re.findall(r"\x1b\[[\d;]*3\dm", coloured) == []
    dumb = on_terminal(command, 80, "dumb")
    assert "\x1b" not in dumb
    assert "\x1b" not in piped(command)
    assert letters(dumb) == letters(piped(command))


def test_export(folder: Path) -> None:
    """An export shows what it does in one line, which is gone at the end."""
    torch.manual_seed(0)
    torch.save(nn.LSTM(2, 3).state_dict(), "lstm.pt")
    printed = on_terminal("export lstm.pt", 40)
    shown = CONTROL.sub("", printed)
    assert re.search(r"⠋ loading PyTorch 0:00:00", shown)
    assert re.search(r" tracing forward 0:00:\d\d", shown)
    end = printed[printed.rindex("\x1b[2K") :]
    assert re.fullmatch(
        r"""\x1b\[2Kexported in \d+\.\d s
wrote   lstm\.edgernn
graphs  sequence\.onnx \d\.\d kB, step\.onnx
        \d\.\d kB
input   x: float32\[batch, sequence, 2\]
output  output: float32\[batch, sequence,
        3\]
state   h_in: float32\[1, batch, 3\] →
        h_out
state   c_in: float32\[1, batch, 3\] →
        c_out
parity  max difference \d\.\de-\d\d to a
        model rebuilt from the
        state_dict, whose own forward
        was not seen, over 34 checks at
        13 sizes
note    Warning: the model was rebuilt
        from the state_dict's keys;
        .*
next    edgernn run lstm\.edgernn --input FILE\.csv
""",
        end,
        re.S,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("note    a long-winded note", "note    a\n        long-winded\n        note"),
        (
            "x   y.onnx  z: 1\nverylongwordthatfitsnowhere",
            "x   y.onnx  z: 1\nverylongword" + "thatfitsnowhere",
        ),
    ],
)
def test_wrapped(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    """Words and the spaces between columns stay whole."""
    monkeypatch.setenv("COLUMNS", "20")
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        assert wrapped(text, terminal) == shown
    os.close(ours)
    assert wrapped(text, None) == text
