"""Programs in forks of a server: each runs as in a new process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fork_server import write_programs


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs."""
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    return folder


def run(
    programs: Path, folder: Path, command: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command of a shell with the programs on its path."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_script_runs_as_the_main_program(programs: Path, tmp_path: Path) -> None:
    """A script has its arguments, folder, variables and input, and imports what lies beside it."""
    (tmp_path / "beside.py").write_text("value = 7\n", "utf-8")
    (tmp_path / "script.py").write_text(
        "import torch\n"
        "import os, sys, beside, __main__\n"
        "print(sys.argv, __name__, __file__, beside.value, __main__.beside is beside)\n"
        "print(os.getcwd(), os.environ['HERE'], sys.stdin.read())\n",
        "utf-8",
    )
    done = run(programs, tmp_path, "HERE=yes python script.py a 'b c'", "text")
    assert done.stderr == ""
    assert done.stdout == (
        f"['script.py', 'a', 'b c'] __main__ script.py 7 True\n{tmp_path} yes text\n"
    )


@pytest.mark.parametrize(
    ("code", "status", "stderr"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os.kill(os.getpid(), 9)", 139, ""),
        ("import atexit, os; atexit.register(os.write, 2, b'last\\n')", 0, "last\n"),
    ],
)
def test_client_ends_as_its_program(
    programs: Path, tmp_path: Path, code: str, status: int, stderr: str
) -> None:
    """The exit status and what comes on standard error are those of Python."""
    (tmp_path / "script.py").write_text(f"import torch\n{code}", "utf-8")
    done = run(programs, tmp_path, "python script.py")
    assert (done.returncode, done.stderr[-len(stderr) :]) == (status, stderr)


def test_programs_share_nothing(programs: Path, tmp_path: Path) -> None:
    """What one changes in a module is not changed in the next; random numbers are others."""
    (tmp_path / "script.py").write_text(
        "import torch, random, numpy\n"
        "print(hasattr(torch, 'changed'))\n"
        "torch.changed = True\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1).item())\n",
        "utf-8",
    )
    done = [run(programs, tmp_path, "python script.py").stdout.split() for _ in range(2)]
    assert [words[0] for words in done] == ["False", "False"]
    assert not set(done[0][1:]) & set(done[1][1:])


def test_edgernn_is_the_command_line(programs: Path, tmp_path: Path) -> None:
    """`edgernn` takes its arguments, and does not import what lies in the current folder."""
    (tmp_path / "torch.py").write_text("raise SystemExit('shadowed')", "utf-8")
    done = run(programs, tmp_path, "edgernn inspect nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: `nothing` does not exist")


def test_other_calls_start_python_anew(programs: Path, tmp_path: Path) -> None:
    """`python -c`, and a script without torch, are processes that have imported nothing."""
    code = "import sys; print('torch' in sys.modules)"
    (tmp_path / "script.py").write_text(code, "utf-8")
    for call in (f'-c "{code}"', "script.py"):
        assert run(programs, tmp_path, f"python {call}").stdout == "False\n"
