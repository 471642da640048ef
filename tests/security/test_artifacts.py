"""No artifact, and no file given to a run, runs code or leads elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgernn.cli import main
from tests.nets import small_artifacts
from tests.security.hostile import Touch


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An honest artifact in the current folder."""
    monkeypatch.chdir(tmp_path)
    return small_artifacts.features(tmp_path / "features.edgernn")


def edgernn(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), prog_name="edgernn")


def refused(result: Result) -> str:
    """Return the message of a run that was refused with a sentence, and no traceback."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    return result.stderr.splitlines()[-1]


def objects(canary: Path) -> bytes:
    """Return an array of objects, which numpy would unpickle."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Touch(canary)], object), allow_pickle=True)
    return buffer.getvalue()


def packed(canary: Path) -> bytes:
    """Return a `.npz` of such arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([Touch(canary)], object))
    return buffer.getvalue()


@pytest.mark.parametrize("option", ["--input", "--state-in"])
@pytest.mark.parametrize("make", [objects, packed])
def test_arrays_are_not_unpickled(
    option: str, make: Callable[[Path], bytes], artifact: Path, tmp_path: Path
) -> None:
    """Inputs and states of a run are plain numbers; an array of objects is refused unread."""
    (tmp_path / "given").write_bytes(make(tmp_path / "canary"))
    honest = ["--input", str(artifact / "golden" / "x.npy")] if option == "--state-in" else []
    assert "given" in refused(edgernn("run", str(artifact), *honest, option, "given"))
    assert not (tmp_path / "canary").exists()


def test_a_golden_run_is_not_unpickled(artifact: Path, tmp_path: Path) -> None:
    """An array of objects among the golden ones is refused unread."""
    for file in (artifact / "golden").iterdir():
        file.write_bytes(objects(tmp_path / "canary"))
    assert "golden" in refused(edgernn("verify", str(artifact)))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("file", ["../secret.onnx", "/etc/passwd", "sub/step.onnx"])
def test_a_contract_names_its_own_folder(file: str, artifact: Path, tmp_path: Path) -> None:
    """A contract that names a file elsewhere is refused before that file is read."""
    (tmp_path / "secret.onnx").write_bytes((artifact / "sequence.onnx").read_bytes())
    contract = json.loads((artifact / "contract.json").read_text("utf-8"))
    text = json.dumps(contract).replace("sequence.onnx", file)
    assert text != json.dumps(contract)
    (artifact / "contract.json").write_text(text, "utf-8")
    assert file in refused(edgernn("run", str(artifact)))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd"])
def test_weights_of_a_graph_lie_beside_it(location: str, artifact: Path, tmp_path: Path) -> None:
    """An ONNX file that takes its weights from elsewhere is refused before that file is read."""
    folder = tmp_path / "onnx"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    model = onnx.load(artifact / "sequence.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert location in refused(edgernn("export", str(folder / "m.onnx")))


def test_a_vocabulary_is_text(artifact: Path, tmp_path: Path) -> None:
    """A vocabulary that is a pickle is refused as text that it is not."""
    (tmp_path / "v.txt").write_bytes(objects(tmp_path / "canary"))
    said = refused(edgernn("export", str(artifact), "-o", "other.edgernn", "--vocabulary", "v.txt"))
    assert "v.txt" in said
    assert not (tmp_path / "canary").exists()
