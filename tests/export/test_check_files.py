"""Files that are missing, of no known format or in the way are refused before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgernn.errors import EdgernnError, OutputExistsError, SourceError
from edgernn.export.check_files import check_export, check_model_file
from edgernn.export.options import ExportOptions
from tests.nets import small_artifacts

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that begins as a pickle, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("m.pt").write_bytes(b"\x80\x02")
    return Path("m.pt")


def test_good_files(model: Path) -> None:
    """A model file passes, and so does an artifact, as model and with `force` as target."""
    check_export(model, ExportOptions())
    artifact = small_artifacts.hello(Path("m.edgernn"))
    check_model_file(artifact)
    check_export(artifact, ExportOptions(force=True))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        (
            "gone.pt",
            {},
            SourceError,
            "`gone.pt` does not exist. Give the file of a trained model.",
        ),
        (
            "m.pt",
            {},
            OutputExistsError,
            "`m.edgernn` exists already in `{folder}`. Give another name with `path`, or replace "
            "it with force=True.",
        ),
        (
            "m.pt",
            {"path": "m.pt", "force": True},
            OutputExistsError,
            "`m.pt` in `{folder}` exists and is not an artifact; force=True replaces artifacts "
            "only. Give another name with `path`.",
        ),
    ],
)
def test_bad_files(
    model: Path, name: str, options: dict[str, Any], error: type[EdgernnError], message: str
) -> None:
    """A file that is missing, and a target that is in the way, are refused."""
    small_artifacts.hello(Path("m.edgernn"))
    with pytest.raises(error) as caught:
        check_export(Path(name), ExportOptions(**options))
    assert str(caught.value) == message.format(folder=Path().absolute())


@pytest.mark.parametrize(
    "command", ["export gone.pt", "verify m.edgernn --against gone.pt", "export m.pt"]
)
def test_torch_is_not_needed(model: Path, command: str) -> None:
    """The commands refuse such files without torch and ONNX Runtime."""
    small_artifacts.hello(Path("m.edgernn"))
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'onnxruntime', 'filelock')))\n"
        "from edgernn.cli import main\n"
        f"main({command.split()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ROOT},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    what = "`m.edgernn` exists" if command == "export m.pt" else "`gone.pt` does not exist"
    assert done.stderr.splitlines()[-1].startswith(f"Error: {what}")
    assert done.returncode == 1
