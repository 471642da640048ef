"""Damaged files of every kind: every reader succeeds, or raises an error of edgernn's own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgernn.errors import InputError
from tests.fuzz import cases, corpus, pool
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.readers import READERS

CASES = 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files before they are damaged."""
    folder = tmp_path_factory.mktemp("corpus")
    corpus.make(folder)
    return folder


def test_whole_files_are_read(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reader takes its file as long as nobody damaged it."""
    for name in ("features.edgernn", "hello.edgernn", "x.npy"):
        corpus.copy(whole, name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for reader in READERS.values():
        path = tmp_path / reader.file
        if not path.exists():
            corpus.copy(whole, reader.file, tmp_path)
        reader.read(path)


def test_every_damage_of_every_file_is_a_case() -> None:
    """The first cases hold each kind of damage of each kind of file."""
    assert {cases.PLAN[n % len(cases.PLAN)] for n in range(CASES)} == {
        (reader, damage) for reader in READERS for damage in MUTATIONS
    }


def test_damaged_files_are_refused(whole: Path) -> None:
    """No reader lets another exception out, takes long, grows or ends the process."""
    assert list(pool.findings(whole, range(CASES), min(4, os.cpu_count() or 1))) == []


def _raises(path: Path) -> None:
    raise KeyError("h")


def _refuses(path: Path) -> None:
    raise InputError("`x` is damaged.")


def _works(path: Path) -> None:
    while True:
        pass


def _grows(path: Path) -> None:
    bytearray(2**40)


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (_refuses, None),
        (_raises, "case 3: contract, delete: KeyError: 'h'"),
        (_works, "case 3: contract, delete: more than 0.05 s"),
        (_grows, "case 3: contract, delete: MemoryError: "),
    ],
)
def test_readers_that_fail_are_found(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Path], None],
    expected: str | None,
) -> None:
    """A foreign exception, a standstill and memory without measure are findings."""
    monkeypatch.setattr(cases, "MOST_SECONDS", 0.05)
    monkeypatch.setitem(READERS, "contract", dataclasses.replace(READERS["contract"], read=read))
    with cases.limited():
        found = cases.finding(3, whole, tmp_path)
    assert found is None if expected is None else (found or "").startswith(expected)


def test_a_process_that_ends_is_found(whole: Path, tmp_path: Path) -> None:
    """A worker that dies or stands still names its case, and the cases after it are run."""
    script = tmp_path / "tests" / "fuzz" / "worker.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "import os, sys, time\n"
        "pipe, _, first, stop, step = sys.argv[1:]\n"
        "for number in range(int(first), int(stop), int(step)):\n"
        "    os.write(int(pipe), f'{number}\\n'.encode())\n"
        "    if number == 5:\n"
        "        os.abort()\n"
        "    if number == 6:\n"
        "        time.sleep(600)\n"
        "    if number == 9:\n"
        "        os.write(int(pipe), b'nine\\n')\n"
    )
    found = pool.findings(whole, range(12), 2, root=tmp_path, patience=3)
    assert sorted(found) == [
        "case 5: contract, nul: the process ended: killed by SIGABRT",
        "case 6: contract, not_utf_8: the process ended: killed by SIGKILL",
        "nine",
    ]
