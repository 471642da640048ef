"""The group: what loads when, how errors and signals end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from edgernn import cli
from edgernn.errors import EdgernnError, MissingExtraError
from edgernn.extras import install_command
from tests.cli.conftest import Invoke

HELP = """\
Usage: edgernn [OPTIONS] COMMAND [ARGS]...

  From a trained PyTorch LSTM, GRU or RNN to a stateful model inside any app.

  Results go to standard output, notes and progress to standard error. The exit
  code is 1 for what edgernn refuses and 2 for a command line that it does not
  understand.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  export   Write a trained model as a proven, stateful artifact.
  run      Run an artifact on arrays, numbers or text.
  inspect  Show the contract and cost of an artifact or ONNX file.
  verify   Prove an artifact again.
  bench    Measure how fast an artifact runs here.
  tune     Choose the fastest forms of an artifact on this machine.
  embed    Write a project that runs an artifact in another language.
  doctor   Show which providers really work here.
"""
ROOT = str(Path(cli.__file__).parents[2])
COMMANDS = ("export", "run", "inspect", "verify", "bench", "tune", "embed", "doctor")


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


def test_help(edgernn: Invoke, folder: Path) -> None:
    """`--help` lists one line per command, in the order of use."""
    result = edgernn("--help")
    assert (result.output, result.exit_code) == (HELP, 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_agree(name: str) -> None:
    """The line in `--help` is the command's own summary."""
    assert import_module(f"edgernn.cli.{name}").command.short_help in HELP
    assert import_module(f"edgernn.cli.{name}").command.name == name


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_light(args: list[str]) -> None:
    """No `--help` imports torch, onnxruntime, onnx, rich or numpy."""
    code = (
        "import sys\n"
        "from edgernn.cli import main\n"
        f"main({args!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'rich', 'numpy'} & sys.modules.keys()))"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_version(edgernn: Invoke) -> None:
    """`--version` prints name and version."""
    assert edgernn("--version").output == "edgernn 0.1.0\n"


def test_module_runs() -> None:
    """`python -m edgernn` and `python -m edgernn.cli` are the command."""
    for module in ("edgernn", "edgernn.cli"):
        assert python("-m", module, "--version").stdout == "edgernn 0.1.0\n"


def test_unknown_command(edgernn: Invoke) -> None:
    """What is not a command is a usage error."""
    result = edgernn("bogus")
    assert result.exit_code == 2
    assert result.stderr == (
        "Usage: edgernn [OPTIONS] COMMAND [ARGS]...\n"
        "Try 'edgernn --help' for help.\n\n"
        "Error: No such command 'bogus'.\n"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("exprot", "export"),
        ("inspct", "inspect"),
        ("model.pt", "edgernn export model.pt"),
        ("model.edgernn", "edgernn run model.edgernn"),
    ],
)
def test_similar_command(edgernn: Invoke, folder: Path, name: str, meant: str) -> None:
    """A command with a slip, and a file without its command, is answered with what was meant."""
    Path("model.pt").touch()
    Path("model.edgernn").mkdir()
    result = edgernn(name)
    assert result.stderr.splitlines()[-1] == (
        f"Error: No such command '{name}'. Did you mean '{meant}'?"
    )
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EdgernnError("`x` is wrong."), "`x` is wrong."),
        (MissingExtraError("`torch` lacks."), "`torch` lacks."),
        (
            ModuleNotFoundError("No module named 'onnx_ir.x'", name="onnx_ir.x"),
            "`onnx_ir` is not installed, and this command needs it. "
            f"Install it with: {install_command('export')}",
        ),
        (
            MemoryError(),
            "There is not enough memory for that. `edgernn run` takes a long input in parts with "
            "--chunk, and fewer sequences at a time.",
        ),
        (OSError(errno.ENOSPC, "No space left"), "The operating system refused: No space left."),
        (PermissionError(errno.EACCES, "Denied", "a.npy"), "`a.npy`: Denied."),
    ],
    ids=["edgernn", "extra", "package", "memory", "disk", "file"],
)
def test_errors(
    edgernn: Invoke, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """An error of ours, a missing package or the system's refusal is one line and exit code 1."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("edgernn.runtime.providers.try_providers", fail)
    result = edgernn("doctor")
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"Error: {message}\n", 1)


def test_defect_shows(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing for no reason of an extra's is a defect and stays one."""

    def fail() -> None:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setattr("edgernn.runtime.providers.try_providers", fail)
    assert isinstance(edgernn("doctor").exception, ModuleNotFoundError)


def test_terminated(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM unwinds the stack, so that `finally` runs, and ends with 143."""
    cleared = []

    def wait() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleared.append("partial folder")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("edgernn.runtime.providers.try_providers", wait)
    assert edgernn("doctor").exit_code == 128 + signal.SIGTERM
    assert cleared == ["partial folder"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_interrupted(edgernn: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C says so in one line."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgernn.runtime.providers.try_providers", interrupt)
    result = edgernn("doctor")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "Interrupted.\n", 130)


def test_reader_goes_away(features: Path) -> None:
    """A reader that closes its end of the pipe ends the command without a traceback."""
    run = subprocess.Popen(
        [sys.executable, "-m", "edgernn", "run", features.name, "--input", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert run.stdin
    assert run.stdout
    assert run.stderr
    run.stdin.write(b"1,2\n")
    run.stdin.flush()
    run.stdout.readline()
    run.stdout.close()
    run.stdin.write(b"1,2\n")
    run.stdin.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.wait(30) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(
    "command", ["--help", "run --help", "inspect features.edgernn", "run --input x.csv"]
)
def test_nowhere_to_print(features: Path, command: str) -> None:
    """A standard output without space is one line on standard error."""
    Path("x.csv").write_text("1,2\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgernn", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: The operating system refused: No space left on device.\n",
    )


def test_closed_streams(features: Path) -> None:
    """Standard input and output that the shell closed are said to be so."""
    command = "import sys; sys.{} = None; from edgernn.cli import main; main({!r})"
    for stream, arguments, message in (
        ("stdin", ["run", "--input", "-"], "input is closed. Give a file with --input."),
        ("stdin", ["run", "--text", "-"], "input is closed. Give a file with --input."),
        ("stdout", ["run", "--input", "x"], "output is closed. Give a file with --output."),
    ):
        done = python("-c", command.format(stream, arguments))
        assert (done.returncode, done.stderr) == (1, f"Error: Standard {message}\n")
