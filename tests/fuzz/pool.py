"""Worker processes that share the cases, and are replaced when one dies or stands still."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.cases import described

__all__ = ["findings"]

ROOT = Path(__file__).parents[2]
"""The folder whose `tests.fuzz.worker` is run."""


@dataclass
class _Worker:
    """One process and what it said so far."""

    whole: Path
    numbers: range
    root: Path
    last: int | None = None
    text: bytes = b""
    heard: float = 0.0
    pipe: int = -1
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the process on what is left of its cases."""
        self.pipe, end = os.pipe()
        bounds = (self.numbers.start, self.numbers.stop, self.numbers.step)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(end), str(self.whole)]
            + [str(bound) for bound in bounds],
            cwd=self.root,
            pass_fds=(end,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.root)},
        )
        os.close(end)
        self.last, self.text, self.heard = None, b"", time.monotonic()

    def said(self, data: bytes) -> Iterator[str]:
        """Yield the findings in what the process said."""
        self.heard = time.monotonic()
        *lines, self.text = (self.text + data).split(b"\n")
        for line in lines:
            if line.isdigit():
                self.last = int(line)
            else:
                yield line.decode()

    def ended(self) -> Iterator[str]:
        """Yield what is wrong with the way in which the process ended, and go on after it."""
        os.close(self.pipe)
        code = self.process.wait()
        if code == 0:
            self.numbers = self.numbers[len(self.numbers) :]
            return
        if self.last is None:
            raise RuntimeError(f"a worker of the fuzz test does not start: exit code {code}")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        yield f"{described(self.last)}: the process ended: {how}"
        self.numbers = range(self.last + self.numbers.step, self.numbers.stop, self.numbers.step)
        if self.numbers:
            self.start()


def findings(
    whole: Path, numbers: range, processes: int, *, root: Path = ROOT, patience: float = 300
) -> Iterator[str]:
    """Run the cases in several processes; yield what is wrong, one line per finding.

    Args:
        whole: The folder of whole files.
        numbers: The cases.
        processes: How many processes run them.
        root: The folder whose `tests.fuzz.worker` is run.
        patience: Seconds after which a process that says nothing is killed.
    """
    workers = [_Worker(whole, numbers[n::processes], root) for n in range(processes)]
    workers = [worker for worker in workers if worker.numbers]
    for worker in workers:
        worker.start()
    try:
        while running := [worker for worker in workers if worker.numbers]:
            with selectors.DefaultSelector() as selector:
                for worker in running:
                    selector.register(worker.pipe, selectors.EVENT_READ, worker)
                for key, _ in selector.select(timeout=1):
                    data = os.read(key.fd, 65536)
                    yield from key.data.said(data) if data else key.data.ended()
            for worker in running:
                if worker.numbers and time.monotonic() - worker.heard > patience:
                    worker.process.kill()  # its pipe then ends
                    worker.heard = time.monotonic()
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
