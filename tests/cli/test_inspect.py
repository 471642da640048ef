"""`edgernn inspect`: an artifact without the export's packages, a lone file with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest

from edgernn.artifact import Artifact
from edgernn.cli.picture.graph_content import artifact_content
from edgernn.cli.picture.graph_layout import lay_out
from edgernn.cli.picture.svg_picture import svg_of
from edgernn.extras import install_command
from edgernn.layer import Layer
from tests.cli.conftest import Invoke
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed

HELLO = """\
artifact    hello.edgernn
source      Embedding(4, 4) → RNN(4, 8)
layers      Embedding 4 × 4
            RNN 4 → 8
parameters  1,314,816

sequence.onnx
            name     dtype and shape        in forward
──────────────────────────────────────────────────────
in          x        int64[sequence, 1]     x
state in    h_in     float32[1, 1, 8]
out         output   float32[sequence, 4]   return
state out   h_out    float32[1, 1, 8]

step.onnx
            name     dtype and shape    in forward
──────────────────────────────────────────────────
in          x        int64[1]           x
state in    h_in     float32[1, 1, 8]
out         output   float32[1, 4]      return
state out   h_out    float32[1, 1, 8]

states      h_out → h_in, starts at zero
carry       yes: the state of one call is fed to the next
vocabulary  4 symbols: h e l o
per step    128 multiply-adds
            512 bytes of weights read
            32 bytes of state per sequence
parity      max difference 2.0e-08 to eager torch over 2 checks at 2 sizes
refused by  opencv: has no RNN operator
note        The batch axis is constant (1): forward fails at other sizes.
"""
IN_HOPS = """\
states      context_out → context_in, starts at zero
            position_out → position_in, starts at zero
            sum_out → sum_in, starts at zero
carry       yes: the state of one call is fed to the next
rate        16,000 steps of the input per second
hop         160 steps (10 ms) of the input per call
delay       scores comes 2 steps (20 ms) later
delay       wave comes 320 steps (20 ms) later
delay       last comes 2 steps (20 ms) later
tail        last 1 step (10 ms) of scores, not in a stream
tail        last 160 steps (10 ms) of wave, not in a stream
tail        last 1 step (10 ms) of last, not in a stream
per hop     128 multiply-adds
"""
LAYERS = (Layer("Embedding", "embedding", 4, 4), Layer("RNN", "rnn", 4, 8))


@pytest.fixture
def with_layers(hello: Path) -> Path:
    """The character model as an export writes it, with its layers."""
    file = hello / "contract.json"
    layers = {"layers": [layer.to_json() for layer in LAYERS]}
    file.write_text(json.dumps(json.loads(file.read_text()) | layers))
    return hello


def test_artifact(edgernn: Invoke, with_layers: Path) -> None:
    """Everything that the contract says, on 80 columns."""
    result = edgernn("inspect", "hello.edgernn")
    assert (result.stdout, result.stderr, result.exit_code) == (HELLO, "", 0)


def test_hop_and_delay(edgernn: Invoke, folder: Path) -> None:
    """Hop, delays and tails are said in steps and ms; contexts and positions are states."""
    framed.write(folder / "net.edgernn", Framed(480, 160, 0, 160, exact=False, rate=16000))
    result = edgernn("inspect", "net.edgernn")
    assert IN_HOPS in result.stdout
    assert "state in    position_in    int64[batch]\n" in result.stdout
    table = json.loads(edgernn("inspect", "net.edgernn", "--json").stdout)
    assert (table["hop"], table["delays"]["wave"], table["sample_rate"]) == (160, 320, 16000)
    alone = edgernn("inspect", "net.edgernn/step.onnx").stdout
    assert "hop         160 steps (10 ms) of the input per call\n" in alone
    assert "per hop " in alone


def test_artifact_without_carry(edgernn: Invoke, folder: Path) -> None:
    """A learned start and a state that is not carried are said."""
    small_artifacts.features(folder / "f.edgernn", carry=False, graphs=("sequence",))
    lines = edgernn("inspect", "f.edgernn").stdout.splitlines()
    assert "states      h_in starts at a value in the contract" in lines
    assert "carry       no: the state of one call must not be fed to the next" in lines


def test_json(edgernn: Invoke, hello: Path) -> None:
    """A script gets contract.json and the path."""
    printed = json.loads(edgernn("inspect", "hello.edgernn", "--json").stdout)
    contract = json.loads(Path("hello.edgernn/contract.json").read_text())
    assert printed == {"path": "hello.edgernn", **contract}


def test_artifact_without_layers(edgernn: Invoke, hello: Path) -> None:
    """An artifact of an older edgernn lists no layers."""
    assert edgernn("inspect", "hello.edgernn").stdout == HELLO.replace(
        "layers      Embedding 4 × 4\n            RNN 4 → 8\n", ""
    )


def test_graph(edgernn: Invoke, hello: Path) -> None:
    """--graph writes the picture and nothing to standard output; with -q no note either."""
    result = edgernn("inspect", "hello.edgernn", "--graph", "hello.svg")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "wrote hello.svg\n", 0)
    picture = svg_of(lay_out(artifact_content(Artifact.open(hello))))
    assert Path("hello.svg").read_text("utf-8") == picture
    result = edgernn("inspect", "hello.edgernn", "--graph", "/dev/stdout", "-q")
    assert (result.exit_code, result.stderr) == (0, "")


def test_graph_of_a_file(edgernn: Invoke, hello: Path) -> None:
    """A lone file has a picture, too."""
    edgernn("inspect", "hello.edgernn/step.onnx", "--graph", "step.svg")
    root = ElementTree.parse("step.svg").getroot()
    assert root[0].text == "step.onnx: inputs, layers, outputs and states"


def test_graph_keeps_files(edgernn: Invoke, hello: Path) -> None:
    """A file that exists is kept, whatever it is, until --force replaces it."""
    Path("a.svg").write_text("mine")
    result = edgernn("inspect", "hello.edgernn", "--graph", "a.svg")
    assert result.stderr == (
        "Error: `a.svg` exists already. Give another name with --graph, or replace it with "
        "--force.\n"
    )
    assert (Path("a.svg").read_text(), result.exit_code) == ("mine", 1)
    assert edgernn("inspect", "hello.edgernn", "--graph", "a.svg", "--force").exit_code == 0
    assert Path("a.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--graph", "a.png"],
            "Invalid value for '--graph': `a.png` does not end in .svg; a picture is always SVG.",
        ),
        (["--force"], "--force needs --graph."),
        (["--graph", "a.svg", "--json"], "Give --graph or --json, not both."),
    ],
    ids=str,
)
def test_wrong_options(edgernn: Invoke, hello: Path, options: list[str], message: str) -> None:
    """Options that do not go together are refused before anything is written."""
    result = edgernn("inspect", "hello.edgernn", *options)
    assert result.stderr.splitlines()[-1] == f"Error: {message}"
    assert (result.exit_code, Path("a.svg").exists()) == (2, False)


def test_no_artifact(edgernn: Invoke, folder: Path) -> None:
    """What does not exist is said."""
    result = edgernn("inspect", "x.edgernn")
    assert result.stderr == (
        "Error: `x.edgernn` does not exist: there is no `contract.json` in it. "
        "`edgernn export MODEL` writes an artifact.\n"
    )
    assert result.exit_code == 1


def test_artifact_is_light(hello: Path) -> None:
    """An artifact is inspected without torch, onnx, onnx-ir and ONNX Runtime."""
    code = (
        "import sys\n"
        "heavy = {'torch', 'onnx', 'onnx_ir', 'onnxscript', 'onnxruntime'}\n"
        "sys.modules.update(dict.fromkeys(heavy))\n"
        "from edgernn.cli import main\n"
        "main(['inspect', 'hello.edgernn'])"
    )
    root = Path(small_artifacts.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("artifact    hello.edgernn\n")


def test_own_file(edgernn: Invoke, hello: Path) -> None:
    """One graph of an artifact shows its contract."""
    result = edgernn("inspect", "hello.edgernn/sequence.onnx")
    lines = result.stdout.splitlines()
    assert lines[0] == "file        hello.edgernn/sequence.onnx"
    assert "            name     dtype and shape" in lines
    assert "state in    h_in     float32[1, 1, 8]" in lines
    assert "vocabulary  4 symbols: h e l o" in lines


def test_foreign_file(edgernn: Invoke, hello: Path) -> None:
    """A graph of another tool shows its ports, its recurrent nodes and who refuses it."""
    model = onnx.load("hello.edgernn/sequence.onnx")
    del model.metadata_props[:]
    model.producer_name = "tool"
    onnx.save(model, "foreign.onnx")
    result = edgernn("inspect", "foreign.onnx")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["file        foreign.onnx", "producer    tool", "opset       18"]
    assert "contract    none: not made by edgernn" in lines
    assert any(line.startswith("recurrent   ") and "RNN" in line for line in lines)
    assert any(line.startswith("refused by  ") for line in lines)
    printed = json.loads(edgernn("inspect", "foreign.onnx", "--json").stdout)
    assert (printed["path"], printed["contract"], printed["opset"]) == ("foreign.onnx", None, 18)


def test_extra_lacks(edgernn: Invoke, hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone file without the extra `export` says how to install it."""
    for name in [*sys.modules]:
        if name.startswith("edgernn.export.") and name != "edgernn.export.options":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    result = edgernn("inspect", "hello.edgernn/step.onnx")
    assert result.stderr == (
        "Error: `onnx_ir` is not installed, and this command needs it. Install it with: "
        f"{install_command('export')}\n"
    )
    assert (result.stdout, result.exit_code) == ("", 1)


def test_a_terminal_does_what_no_file_says(edgernn: Invoke, features: Path) -> None:
    """Control characters in a contract or an error are printed as their escapes."""
    file = features / "contract.json"
    table = json.loads(file.read_text())
    file.write_text(json.dumps({**table, "source": "\x1b[2Jnet", "notes": ["\x9b1m"]}))
    printed = edgernn("inspect", "features.edgernn").stdout
    assert "\\x1b[2Jnet" in printed
    assert "\\x9b1m" in printed
    assert not {"\x1b", "\x9b"} & {*printed}
    assert edgernn("inspect", "\x1b[2J").stderr == (
        "Error: `\\x1b[2J` does not exist: there is no `contract.json` in it. "
        "`edgernn export MODEL` writes an artifact.\n"
    )
