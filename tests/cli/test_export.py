"""`edgernn export`: what reaches the library, and what is printed of the artifact."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgernn.artifact import Artifact
from edgernn.cli.export import _next_command, _sample_text, _summary
from edgernn.errors import OutputExistsError
from edgernn.vocabulary import Vocabulary
from tests.cli.conftest import Invoke
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed

DEFAULTS = {
    "inputs": None,
    "states": None,
    "module": None,
    "assume_plain": False,
    "trust": False,
    "path": None,
    "graph": "both",
    "precision": "float32",
    "fold": "auto",
    "opset": 18,
    "state_layout": "torch",
    "state_per_layer": False,
    "int32_ids": False,
    "reset": False,
    "lengths": False,
    "batch_size": None,
    "steps": None,
    "rate": None,
    "vocabulary": None,
    "calibrate": None,
    "tolerance": None,
    "max_loss": None,
    "force": False,
}


@pytest.fixture
def calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls of `export_model`, which writes the hello artifact."""
    made: list[tuple[Any, ...]] = []

    def export_model(model: Path, **options: Any) -> Artifact:
        made.append((model, options))
        return Artifact.open(
            small_artifacts.hello(options["path"] or Path(f"{model.stem}.edgernn"))
        )

    monkeypatch.setattr("edgernn.export.export_model", export_model, raising=False)
    monkeypatch.setattr("edgernn.export.check_files.check_export", lambda *_: None)
    return made


def test_summary(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """The artifact stands here under the model's name; a person reads what it is."""
    result = edgernn("export", "models/hello.pt")
    assert calls == [(Path("models/hello.pt"), DEFAULTS)]
    sizes = [
        f"{kind}.onnx {Path(f'hello.edgernn/{kind}.onnx').stat().st_size / 1000:.1f} kB"
        for kind in ("sequence", "step")
    ]
    assert result.stdout == (
        "wrote   hello.edgernn\n"
        f"graphs  {sizes[0]}, {sizes[1]}\n"
        "input   x: int64[sequence, 1]\n"
        "output  output: float32[sequence, 4]\n"
        "state   h_in: float32[1, 1, 8] → h_out\n"
        "parity  max difference 2.0e-08 to eager torch over 2 checks at 2 sizes\n"
    )
    assert result.exit_code == 0
    assert re.sub(r"[\d.]+ s\n", "TIME\n", result.stderr) == (
        "Exporting models/hello.pt …\n"
        "exported in TIME\n"
        "note    The batch axis is constant (1): forward fails at other sizes.\n"
        'next    edgernn run hello.edgernn --text "hello" --generate 40\n'
    )


def test_json(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """A script gets contract.json and where it is."""
    printed = json.loads(edgernn("export", "hello.pt", "--json", "-o", "other").stdout)
    assert printed == {"path": "other", **json.loads(Path("other/contract.json").read_text())}


def test_json_alone(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """With --json nothing but JSON is on standard output, and its notes are not repeated."""
    result = edgernn("export", "hello.pt", "--json")
    assert json.loads(result.stdout)["notes"]
    assert re.sub(r"[\d.]+ s\n", "TIME\n", result.stderr) == (
        "Exporting hello.pt …\nexported in TIME\n"
    )


def test_quiet(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """With --quiet the facts are printed and no notes."""
    result = edgernn("export", "hello.pt", "-q")
    assert result.stdout.startswith("wrote   hello.edgernn\n")
    assert (result.stderr, result.exit_code) == ("", 0)


@pytest.mark.parametrize(
    ("write", "path", "end"),
    [
        (small_artifacts.features, "f.edgernn", " --input FILE.csv"),
        (small_artifacts.features, "my model.edgernn", " --input FILE.csv"),
        (small_artifacts.pair, "p.edgernn", " --input FILE.npz"),
        (partial(small_artifacts.features, sample_rate=16000), "s.edgernn", " --input FILE.wav"),
        (partial(small_artifacts.features, sample_rate=50), "t.edgernn", " --input FILE.csv"),
    ],
)
def test_next_command(folder: Path, write: Callable[[Path], Path], path: str, end: str) -> None:
    """Numbers come from a file, which has an array for each input of a model of two."""
    artifact = Artifact.open(write(Path(path)))
    assert _next_command(artifact) == f"edgernn run {shlex.quote(path)}{end}"


def test_summary_of_hops(folder: Path) -> None:
    """Rate, hop and delays follow the ports."""
    framed.write(folder / "net.edgernn", Framed(8, 4, rate=8000))
    lines = _summary(Artifact.open(folder / "net.edgernn")).splitlines()
    assert lines[-5:-2] == [
        "rate    8,000 steps of the input per second",
        "hop     4 steps (0.5 ms) of the input per call",
        "delay   scores comes 1 step (0.5 ms) later",
    ]


@pytest.mark.parametrize(
    ("symbols", "text"),
    [
        ((*"ehlox",), "hello"),
        ((*"a1 bcdefg",), "abcde"),
        (("<unk>", "the", "cat", "sat"), "the cat sat"),
        ((*"123",), "…"),
    ],
)
def test_sample_text(symbols: tuple[str, ...], text: str) -> None:
    """The text is one that the vocabulary has the symbols of."""
    assert _sample_text(Vocabulary(symbols)) == text


def test_options(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """Every option reaches the library under its own name."""
    options = ["--input", "x:float32[2]", "--input", "h", "--state", "h=1", "--state", "c=c_next"]
    options += ["--state-layout", "batch-major", "--state-per-layer", "--int32-ids", "--reset"]
    options += ["--lengths"]
    options += ["--batch-size", "4", "--steps", "16", "--rate", "44.1"]
    options += [
        "--graph",
        "sequence",
        "--precision",
        "int8",
        "--opset",
        "20",
        "--vocabulary",
        "v.txt",
    ]
    options += ["--fold", "no", "--calibrate", "c.npz", "--tolerance", "0.1", "--max-loss", "2"]
    options += [
        "--module",
        "m.py:make",
        "--assume-plain",
        "--trust",
        "--force",
        "--output",
        "out.edgernn",
    ]
    assert edgernn("export", "m.pt", *options).exit_code == 0
    wanted = {
        "inputs": ["x:float32[2]", "h"],
        "states": {"h": 1, "c": "c_next"},
        "graph": "sequence",
        "precision": "int8",
        "opset": 20,
        "state_layout": "batch-major",
        "state_per_layer": True,
        "int32_ids": True,
        "reset": True,
        "lengths": True,
        "batch_size": 4,
        "steps": 16,
        "rate": 44.1,
        "vocabulary": Path("v.txt"),
        "fold": "no",
        "calibrate": Path("c.npz"),
        "tolerance": 0.1,
        "max_loss": 2,
        "module": "m.py:make",
        "assume_plain": True,
        "trust": True,
        "force": True,
        "path": Path("out.edgernn"),
    }
    assert calls == [(Path("m.pt"), wanted)]


def test_trust_by_its_old_name(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """`--trust-pickle` still means `--trust`, and the help does not name it."""
    assert edgernn("export", "m.pt", "--trust-pickle").exit_code == 0
    assert calls[0][1]["trust"] is True
    assert "--trust-pickle" not in edgernn("export", "--help").stdout


def test_numbers_by_their_old_names(edgernn: Invoke, calls: list[tuple[Any, ...]]) -> None:
    """`--batch` and `--sequence` still work, and the help does not name them."""
    assert edgernn("export", "m.pt", "--batch", "4", "--sequence", "16").exit_code == 0
    assert (calls[0][1]["batch_size"], calls[0][1]["steps"]) == (4, 16)
    flags = re.findall(r"--[\w-]+", edgernn("export", "--help").stdout)
    assert {"--batch-size", "--steps"} <= set(flags)
    assert {"--batch", "--sequence"}.isdisjoint(flags)


@pytest.mark.parametrize("pair", ["hidden", "=1", "hidden="])
def test_state_is_a_pair(edgernn: Invoke, calls: list[tuple[Any, ...]], pair: str) -> None:
    """A state that is not IN=OUT is a usage error."""
    result = edgernn("export", "m.pt", "--state", pair)
    assert result.stderr.splitlines()[-1] == (
        f"Error: Invalid value for '--state': `{pair}` is not IN=OUT, such as hidden=1 or h=h_next."
    )
    assert (calls, result.exit_code) == ([], 2)


def test_refused(edgernn: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library refuses is one line on standard error, and nothing on standard output."""

    def export_model(*_: object, **__: object) -> Artifact:
        raise OutputExistsError("`m.edgernn` exists already.")

    monkeypatch.setattr("edgernn.export.check_files.check_export", lambda *_: None)
    monkeypatch.setattr("edgernn.export.export_model", export_model, raising=False)
    result = edgernn("export", "m.pt")
    assert result.stderr == "Exporting m.pt …\nError: `m.edgernn` exists already.\n"
    assert (result.stdout, result.exit_code) == ("", 1)
