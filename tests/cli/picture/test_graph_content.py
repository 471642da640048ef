"""What a picture of a model says."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

from edgernn.artifact import Artifact
from edgernn.cli.picture.graph_content import (
    Content,
    LayerLine,
    PortLabel,
    StateLabel,
    artifact_content,
    file_content,
)
from edgernn.cli.picture.graph_layout import lay_out
from edgernn.export.analysis.file_analysis import analyse_file
from edgernn.layer import Layer
from tests.cli.picture.drawn_models import MODELS, artifact
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed


def test_artifact() -> None:
    """Each port has its shape in both graphs, and each state its ports and its start."""
    content = artifact_content(artifact("h"))
    assert content == Content(
        name="demo",
        files="sequence.onnx and step.onnx",
        layers=(
            LayerLine("Embedding", "75 × 64"),
            LayerLine("LSTM", "64 → 128", True),
            LayerLine("Linear", "128 → 75"),
        ),
        inputs=(PortLabel("x", ("int64[batch, sequence]", "step: int64[batch]")),),
        outputs=(
            PortLabel("output", ("float32[batch, sequence, 75]", "step: float32[batch, 75]")),
        ),
        states=(StateLabel("h", "h_in", "h_out", "float32[1, batch, 128]", "starts at zero"),),
        note="After each call, the app passes h_out back as h_in.",
    )
    assert content.description == (
        "Inputs: x int64[batch, sequence], step: int64[batch]. "
        "Layers: Embedding 75 × 64; LSTM 64 → 128; Linear 128 → 75. "
        "Outputs: output float32[batch, sequence, 75], step: float32[batch, 75]. "
        "States: h float32[1, batch, 128], starts at zero, from h_out to h_in. "
        "After each call, the app passes h_out back as h_in."
    )


def test_artifact_of_one_graph() -> None:
    """With one graph a port has one shape."""
    content = artifact_content(MODELS["step only"])
    assert content.files == "step.onnx"
    assert content.inputs == (PortLabel("x", ("int64[batch]",)),)


def test_port_of_one_graph() -> None:
    """A port that only one of two graphs has is marked."""
    lengths = artifact_content(MODELS["lengths"]).inputs[1]
    assert lengths == PortLabel("lengths", ("int64[batch]", "in sequence.onnx only"))


def test_several_states() -> None:
    """The note gives the first pair as an example; a learned start is named."""
    content = artifact_content(MODELS["two states"])
    assert (
        content.note == "After each call, the app passes each state back: h_out as h_in, and so on."
    )
    assert [state.start for state in content.states] == ["starts at a value in the contract"] * 2


def test_hop_and_delay(folder: Path) -> None:
    """An input has its hop, and an output its delay and tail, in steps and ms."""
    framed.write(folder / "net.edgernn", Framed(8, 4, 0, 4, rate=8000))
    content = artifact_content(Artifact.open(folder / "net.edgernn"))
    (x,), (scores, wave, last) = content.inputs, content.outputs
    assert x.lines[2:] == ("hop 4 steps (0.5 ms)",)
    assert scores.lines[2:] == ("delay 1 step (0.5 ms)", "tail 1 step (0.5 ms)")
    assert wave.lines[2:] == ("delay 4 steps (0.5 ms)", "tail 4 steps (0.5 ms)")
    assert last.lines[1:] == scores.lines[2:]
    assert [state.name for state in content.states] == ["context", "position", "sum"]


def test_no_state() -> None:
    """A model without states says so."""
    assert artifact_content(MODELS["no state"]).note == "The model has no state."


def test_no_carry() -> None:
    """States that must not be fed back are ports among the others."""
    content = artifact_content(MODELS["no carry"])
    assert content.states == ()
    assert content.note == (
        "Each call takes whole sequences: the app must not pass its state on to the next one."
    )
    assert content.inputs[1:] == (
        PortLabel("h_in", ("float32[1, batch, 128]", "starts at zero"), True),
        PortLabel("c_in", ("float32[1, batch, 128]", "starts at zero"), True),
    )
    assert [port.name for port in content.outputs if port.is_state] == ["h_out", "c_out"]


def test_equal_layers_are_one_line() -> None:
    """Equal layers that follow each other are counted, whatever their names."""
    layers = tuple(Layer("Conv1d", f"conv{i}", 8, 8, kernel_size=(3,)) for i in range(4))
    content = artifact_content(artifact("h", layers=(*layers, Layer("Linear", "", 8, 2))))
    assert content.layers == (
        LayerLine("4 × Conv1d", "8 → 8, kernel 3"),
        LayerLine("Linear", "8 → 2"),
    )


def test_many_layers() -> None:
    """Of 40 different layers the first 8 and the last 7 are shown, and how many are not."""
    lines = artifact_content(MODELS["40 layers"]).layers
    assert len(lines) == 16
    assert lines[7:10] == (
        LayerLine("Linear", "8 → 9"),
        LayerLine("… 25 more …", ""),
        LayerLine("Linear", "34 → 35"),
    )


def test_own_file(folder: Path) -> None:
    """A graph of an artifact has its contract, and the layers that are in the file."""
    path = small_artifacts.hello(folder / "hello.edgernn") / "sequence.onnx"
    content = file_content("sequence.onnx", analyse_file(path))
    assert (content.name, content.files) == ("sequence.onnx", "")
    assert [layer.kind for layer in content.layers] == ["Embedding", "RNN", "Linear"]
    assert [state.name for state in content.states] == ["h"]


def test_foreign_file(folder: Path) -> None:
    """A file without a contract does not say which ports are states."""
    path = small_artifacts.hello(folder / "hello.edgernn") / "sequence.onnx"
    model = onnx.load(path)
    del model.metadata_props[:]
    model.producer_name = "tool"
    onnx.save(model, path)
    content = file_content("sequence.onnx", analyse_file(path))
    assert content.files == "from tool"
    assert [port.name for port in content.inputs] == ["x", "h_in"]
    assert [port.name for port in content.outputs] == ["output", "h_out"]
    assert content.states == ()
    assert content.note == "The file has no contract: it does not say which ports are states."


def test_file_without_ports(folder: Path) -> None:
    """A file of constants only has a picture, too, whatever its producer is called."""
    constant = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18], producer_name: "' + "p" * 99 + '">'
        "g () => (float[1] y) { y = Constant <value_floats = [1.0]> () }"
    )
    onnx.save(constant, folder / "c.onnx")
    content = file_content("c.onnx", analyse_file(folder / "c.onnx"))
    assert content.files == f"from {'p' * 17}…{'p' * 17}"
    assert (content.inputs, lay_out(content).lines[0].style) == ((), "data")


def test_name_in_the_current_folder(hello: Path, monkeypatch) -> None:
    """The current folder is an artifact with a name, too."""
    monkeypatch.chdir(hello)
    assert artifact_content(Artifact.open(".")).name == "hello"
