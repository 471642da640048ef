"""The command that installs an extra, from where edgernn came from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgernn import extras
from edgernn.extras import install_command

ROOT = Path(__file__).parents[2]

ORIGINS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "an index": (None, '"edgernn[cpu]"'),
    "a folder": (
        {"url": "file:///projects/my%20edgernn", "dir_info": {}},
        '"/projects/my edgernn[cpu]"',
    ),
    "a wheel": (
        {"url": "file:///wheels/edgernn-0.1.0-py3-none-any.whl", "archive_info": {}},
        '"edgernn[cpu] @ file:///wheels/edgernn-0.1.0-py3-none-any.whl"',
    ),
    "a repository": (
        {"url": "https://host/edgernn.git", "vcs_info": {"vcs": "git", "commit_id": "f00d"}},
        '"edgernn[cpu] @ git+https://host/edgernn.git"',
    ),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_installed_package(origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip recorded of the origin is what it installs from again."""
    recorded, requirement = ORIGINS[origin]
    text = None if recorded is None else json.dumps(recorded)
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "edgernn" / "extras.py"))
    monkeypatch.setattr(extras, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))
    assert install_command("cpu") == f"pip install {requirement}"
    assert install_command("cpu", "tensorrt") == f"pip install {requirement} tensorrt"


def test_a_clone() -> None:
    """In a clone its folder is installed, from wherever the command is run."""
    assert install_command("export") == f'pip install -e "{ROOT}[export]"'
