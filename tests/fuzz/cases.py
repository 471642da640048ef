"""The cases of the fuzz test: a number says which file is damaged in which way."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import NoReturn

import click

from edgernn.errors import EdgernnError
from tests.fuzz import corpus
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.readers import READERS

__all__ = ["MOST_SECONDS", "PLAN", "described", "finding", "limited"]

MOST_SECONDS = 20
_MOST_MEMORY = 2 * 2**30

# Rounds over every kind of damage of every kind of file that takes part in the round.
_ROUND = 4
PLAN = [
    (reader, damage)
    for turn in range(_ROUND)
    for reader in READERS
    if turn % READERS[reader].every == 0
    for damage in MUTATIONS
]


class TooLongError(BaseException):
    """When a case takes more than `MOST_SECONDS` of work."""


def described(number: int) -> str:
    """Return what case `number` is."""
    reader, damage = PLAN[number % len(PLAN)]
    return f"case {number}: {reader}, {damage}"


def finding(number: int, whole: Path, scratch: Path) -> str | None:
    """Run one case; return what is wrong, or None where the reader does what it promises.

    Args:
        number: The case.
        whole: The folder of the corpus.
        scratch: A folder that is emptied, and made the current one.
    """
    reader, damage = PLAN[number % len(PLAN)]
    random = Random(number)
    for entry in scratch.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in ("features.edgernn", "hello.edgernn", "x.npy"):
        corpus.copy(whole, name, scratch)
    name = READERS[reader].file
    path = scratch / name
    if not path.exists():
        path = corpus.copy(whole, name, scratch)
    path.write_bytes(MUTATIONS[damage](path.read_bytes(), random))
    with contextlib.chdir(scratch):
        return _outcome(number, name)


def _outcome(number: int, name: str) -> str | None:
    reader, _ = PLAN[number % len(PLAN)]
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        READERS[reader].read(Path.cwd() / name)
    except (EdgernnError, click.UsageError):
        return None
    except TooLongError:
        return f"{described(number)}: more than {MOST_SECONDS} s"
    except Exception as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if "/tests/" not in f.filename
        ]
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        own = [f for f in frames if "/edgernn/" in f.filename]
        inside = f" in {own[-1].name}" if own else ""
        return f"{described(number)}: {type(error).__name__}: {str(error)[:200]}{where}{inside}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Limit the memory of this process to what it has and some, and the time of each case."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MOST_MEMORY
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise TooLongError
