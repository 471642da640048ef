"""Python programs, each in a process of its own that has torch and edgernn imported.

A server imports them, exports a first model, and forks for each program: a program then takes what
it does itself, not the seconds of imports. `write_programs` writes `python` and `edgernn` for a
PATH.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import random
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["write_programs"]

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "tests" / "fork_client.py"


def write_programs(folder: Path) -> None:
    """Write `python` and `edgernn`, those of this checkout, into an existing folder.

    `edgernn` and scripts that import torch run in a fork; other ways to call Python start it anew.
    """
    python, client = shlex.quote(sys.executable), shlex.quote(str(CLIENT))
    fork = f"exec {python} -I -S {client} {shlex.quote(_start_server())}"
    programs = {
        "python": f'case "$1" in *.py) grep -q "^import torch" "$1" && {fork} "$@" ;; esac\n'
        f'exec {python} "$@"',
        "edgernn": f'{fork} -m edgernn "$@"',
    }
    for name, text in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        program.chmod(0o755)


@functools.cache
def _start_server() -> str:
    """Start the server of this process, which ends with it; return the path of its socket."""
    path = f"{tempfile.mkdtemp(prefix='edgernn-')}/socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "80"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate)  # it ends at the end of its input
    return path


def _serve(path: str) -> None:
    """Fork for each connection, until the end of standard input."""
    _prepare()
    threads = Path("/proc/self/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "a fork has one thread only"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener.fileno(), 0], [], [])
            if 0 in ready:
                shutil.rmtree(Path(path).parent)
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _prepare() -> None:
    """Import what programs import, and do once what torch does in a process's first export.

    ONNX Runtime is left to the forks: it starts a thread as it is imported.
    """
    import torch

    importlib.import_module("edgernn.export.pipeline")
    from edgernn.export.ir.fold_constants import silence_exporters
    from edgernn.export.trace.exporter_tables import kept_tables

    with contextlib.suppress(ModuleNotFoundError):  # where it is there, torch draws bars with it
        importlib.import_module("tqdm").tqdm.monitor_interval = 0  # without a thread
    with silence_exporters(), kept_tables():
        torch.onnx.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),), dynamo=True, verbose=False)


def _answer(connection: socket.socket) -> None:
    """Run the program that a client asks for, tell the client how it ended, and end."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        request = json.load(file)
    for stream, own in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, own)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _seed()
    status = _run(request["arguments"])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(bytes([status]))
    os._exit(status)


def _seed() -> None:
    """Seed what draws random numbers anew, as in a new process."""
    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.seed()


def _run(arguments: list[str]) -> int:
    """Run a script or a module as Python does; return the exit status."""
    try:
        try:
            if arguments[0] == "-m":
                sys.argv = arguments[1:]
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = arguments
                sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
                runpy.run_path(arguments[0], run_name="__main__")
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
