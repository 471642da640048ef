"""`edgernn embed`: projects of other languages, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgernn.hosts import HOSTS
from tests.cli.conftest import Invoke
from tests.cli.runs import refused
from tests.nets.host_lstm import write_lstm


@pytest.fixture
def artifact(folder: Path) -> Path:
    """An artifact in the current folder."""
    return write_lstm(folder / "lstm.edgernn").path


def test_alone_it_lists_the_hosts(edgernn: Invoke) -> None:
    """Each host is listed with its language and what it needs."""
    result = edgernn("embed")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[3:] == [f"{host.name} {host.title} {host.needs}" for host in HOSTS.values()]
    listed = json.loads(edgernn("embed", "--json").stdout)
    assert [row["host"] for row in listed] == list(HOSTS)


def test_a_project_and_its_two_lines(edgernn: Invoke, artifact: Path) -> None:
    """The default folder has both names; the lines build and run what is in it."""
    result = edgernn("embed", "lstm.edgernn", "--host", "c")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == list(HOSTS["c"].lines("lstm-c"))
    assert (artifact.parent / "lstm-c" / "model.edgernn" / "step.onnx").is_file()
    report = json.loads(
        edgernn("embed", "lstm.edgernn", "--host", "c", "-o", "a b", "--json").stdout
    )
    assert report == {
        "folder": "a b",
        "build": HOSTS["c"].build.format(folder="'a b'"),
        "run": HOSTS["c"].run.format(folder="'a b'"),
    }


def test_what_is_missing_is_named(edgernn: Invoke, artifact: Path) -> None:
    """Without a host the hosts are named; without an artifact, that."""
    missing = edgernn("embed", "lstm.edgernn")
    assert missing.exit_code == 2
    assert f"Missing option '--host'. Choose from: {', '.join(HOSTS)}." in missing.stderr
    missing = edgernn("embed", "--host", "c")
    assert missing.exit_code == 2
    assert "Missing argument 'ARTIFACT'." in missing.stderr


def test_a_folder_is_not_replaced(edgernn: Invoke, artifact: Path) -> None:
    """What exists stays as it is."""
    folder = artifact.parent / "app"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    result = edgernn("embed", "lstm.edgernn", "--host", "c", "-o", "app")
    refused(result, f"`{folder}` exists already. Give another folder with `--output`.")
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
