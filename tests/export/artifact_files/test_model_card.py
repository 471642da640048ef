"""The model card: what it says of an artifact, and whether its code runs."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.artifact import Artifact
from edgernn.contract import Contract, Graph, Port, State
from edgernn.export.artifact_files.example_ports import ExamplePorts
from edgernn.export.artifact_files.model_card import model_card
from edgernn.export.artifact_files.usage_examples import UsageExamples
from edgernn.hosts import HOSTS
from edgernn.report import Cost
from tests.docs.page_blocks import page_blocks, run
from tests.nets import framed as net
from tests.nets.learned_start import LearnedStart


class Learned(LearnedStart):
    """Two inputs, two outputs and a learned initial state."""

    def forward(self, state: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """`state` is data here, and named as the examples name theirs."""
        output = self.scores(state, x)
        return {"scores": output, "shifted": output + 1}


def _lstm() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return nn.LSTM(3, 4, 2), (torch.randn(5, 2, 3),)


def _bidirectional() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return nn.GRU(3, 4, bidirectional=True, batch_first=True), (torch.randn(2, 5, 3),)


def _learned() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Learned(), (torch.randint(7, (2, 5)), torch.randn(2, 5, 2))


class Framed(nn.Module):
    """Frames of 12 samples, 4 apart, in front of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 3, 12, stride=4)
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 4) for samples (batch, samples)."""
        y: torch.Tensor = self.gru(self.frames(samples[:, None]).transpose(1, 2))[0]
        return y


MODELS = {
    "lstm": _lstm,
    "bidirectional": _bidirectional,
    "learned": _learned,
    "constant": _learned,
}
OPTIONS: dict[str, dict[str, Any]] = {"constant": {"batch_size": 3, "steps": 4}}


@pytest.fixture(scope="module", params=MODELS)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    torch.manual_seed(0)
    model, inputs = MODELS[request.param]()
    folder = tmp_path_factory.mktemp(request.param) / "my model.edgernn"
    return edgernn.export_model(model, folder, inputs=inputs, **OPTIONS.get(request.param, {}))


def code_blocks(artifact: Artifact) -> list[str]:
    """Return the Python in the card on disk."""
    return [block.text for block in page_blocks(artifact.path / "README.md", "python")]


def test_card_lists_every_port(artifact: Artifact) -> None:
    """The card's tables hold every port of every graph with its dtype, shape and origin."""
    text = (artifact.path / "README.md").read_text("utf-8")
    for kind, graph in artifact.contract.graphs.items():
        section = text.partition(f"## {kind}.onnx\n")[2].partition("\n## ")[0]
        for port in (*graph.inputs, *graph.outputs):
            shape = ", ".join(map(str, port.shape))
            assert f"| `{port.name}` | {port.dtype} | [{shape}] |" in section


def test_python_runs(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both Python blocks run as they stand, beside the folder, and move the state."""
    monkeypatch.chdir(artifact.path.parent)
    with_edgernn, alone = code_blocks(artifact)
    found: dict[str, object] = {}
    exec(with_edgernn, found)
    assert isinstance(found["model"], edgernn.Model)
    names: dict[str, dict[str, np.ndarray]] = {}
    exec(alone, names)
    contract = artifact.contract
    assert set(names["state"]) == {state.input for state in contract.states}
    for state in contract.states:
        moved = not np.array_equal(names["state"][state.input], contract.initial(state))
        assert moved == contract.carry
    if contract.carry:
        stream = found["stream"]
        assert isinstance(stream, edgernn.Stream)
        assert stream.steps == 1


def test_learned_initial_state_is_fed(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of the block without edgernn gives what edgernn's first call gives."""
    monkeypatch.chdir(artifact.path.parent)
    code = code_blocks(artifact)[1].replace("range(3)", "range(1)")
    found: dict[str, dict[str, np.ndarray]] = {}
    exec(code, found)
    model = edgernn.load(artifact.path)
    kind = "step" if model.contract.step else "sequence"
    data = {
        port.name: found.get(f"{port.name}_", found.get(port.name))
        for port in model.contract.data_inputs(kind)
    }
    if kind == "step":
        stream = model.stream(batch=model.contract.constants.get("batch", 1))
        expected = stream.step(**data)  # type: ignore[arg-type]
    else:
        expected = model(**data)  # type: ignore[arg-type]
    if not isinstance(expected, dict):
        expected = {model.contract.data_outputs(kind)[0].name: expected}
    for name, array in expected.items():
        np.testing.assert_allclose(found["outputs"][name], array, atol=1e-6)


def test_commands_run(artifact: Artifact) -> None:
    """The commands of edgernn in the card run as they stand, beside the folder, twice."""
    folder = artifact.path.parent
    blocks = page_blocks(artifact.path / "README.md", "sh")
    commands = [block for block in blocks if "edgernn embed" not in block.text]
    assert len(commands) == 2
    for block in commands:
        assert run(block, folder)
        assert run(block, folder)


class TwoInputs(nn.Module):
    """A layer over readings and a number that is the same at all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 4) for x (batch, steps, 3) and scale (batch,)."""
        y: torch.Tensor = self.gru(x * scale[:, None, None])[0]
        return y


WIDE = "python -c \"for _ in range(2): print(','.join(['0'] * 40))\""


@pytest.mark.parametrize(
    ("module", "inputs", "commands"),
    [
        (
            nn.GRU(40, 4),
            None,
            f"{WIDE} > numbers.csv\nedgernn run m.edgernn --input numbers.csv\n",
        ),
        (
            TwoInputs(),
            ["x:float32[batch,sequence,3]", "scale:float32[batch]"],
            """printf '%s\\n' '{"x": [0, 0, 0], "scale": 0}' '{"x": [0, 0, 0], "scale": 0}' """
            "> numbers.jsonl\nedgernn run m.edgernn --input numbers.jsonl\n",
        ),
    ],
    ids=["wide", "two inputs"],
)
def test_every_kind_of_numbers_has_a_command(
    tmp_path: Path, module: nn.Module, inputs: list[str] | None, commands: str
) -> None:
    """Steps of many numbers are printed by Python, those of several inputs are objects."""
    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=inputs, verify=False)
    block, in_c, *_ = page_blocks(artifact.path / "README.md", "sh")
    assert block.text == commands
    assert len(run(block, tmp_path).splitlines()) == 2
    if "python" in commands:
        assert f"\n{WIDE} | app/app step\n" in in_c.text


def test_examples_in_hops_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a model in hops feeds whole hops, and enough of them for an output."""
    artifact = edgernn.export_model(
        Framed(), tmp_path / "m.edgernn", inputs=(torch.randn(2, 40),), verify=False
    )
    monkeypatch.chdir(tmp_path)
    with_edgernn, alone = code_blocks(artifact)
    found: dict[str, Any] = {}
    exec(with_edgernn.replace("output = stream", "late = stream"), found)
    assert (found["output"].shape, found["late"], found["stream"].steps) == ((1, 5, 4), None, 4)
    names: dict[str, Any] = {}
    exec(alone, names)
    np.testing.assert_array_equal(names["state"]["position_in"], [3])
    block = page_blocks(artifact.path / "README.md", "sh")[0]
    assert len(run(block, tmp_path).splitlines()) == 5


def test_hop_and_delay(tmp_path: Path) -> None:
    """The card says hop and delay in steps and ms, and its examples take whole hops."""
    contract = net.Framed(8, 4, rate=8000).contract()
    artifact = Artifact(tmp_path, contract, None, Cost(1, 2, 3, 4), {}, {})
    (tmp_path / "sequence.onnx").touch()
    (tmp_path / "step.onnx").touch()
    card = model_card(artifact, "m.edgernn")
    for text in (
        "Runs whole sequences, or chunks of any number of whole hops.",
        "Runs one hop of 4 steps.",
        "- hop: 4 steps (0.5 ms) of the input per call",
        "- delay: scores comes 1 step (0.5 ms) later",
        "x = np.zeros((1, 24), np.float32)  # (batch, sequence)",
        '"last", or None before it is defined',
        "a line being one hop: 4 of `x`",
        "| multiply-adds per hop | 2 |",
    ):
        assert text in card


def test_states_say_how_to_carry(artifact: Artifact) -> None:
    """The card says where each state output goes, or that the state cannot be carried."""
    text = (artifact.path / "README.md").read_text("utf-8")
    carried = "After every call, feed each state output to its input: `h_out` → `h_in`"
    kept = "The state cannot be carried from chunk to chunk: give every sequence whole"
    assert (carried in text) == artifact.contract.carry
    assert (kept in text) == (not artifact.contract.carry)


def test_unproven_refused_and_odd_text(artifact: Artifact) -> None:
    """An unproven artifact says so; refusals and notes stand on one line each, unbroken."""
    contract = replace(artifact.contract, notes=("one\nline", "two"), no_step="", source="a\nb")
    odd = replace(
        artifact, contract=contract, parity=None, refusals={"tract (step.onnx)": "no\nScan"}
    )
    text = model_card(odd, "x.edgernn")
    assert text.startswith("# x.edgernn\n\na b. Exported by edgernn.\n\n## ")
    assert "\n## Parity\n\nNot proven: exported without verification.\n" in text
    assert "\n- tract (step.onnx): no Scan\n" in text
    assert text.endswith("\n## Notes\n\n- one line\n- two\n")


def test_constant_batch_is_given_to_the_stream() -> None:
    """A model of three sequences and no other number is streamed with `batch=3`."""
    step = Graph(
        (Port("x", "float32", (3, 2)), Port("h_in", "float32", (1, 3, 4)).with_batch()),
        (Port("output", "float32", (3, 4)), Port("h_out", "float32", (1, 3, 4)).with_batch()),
    )
    contract = Contract("0" * 16, "", (State("h", "h_in", "h_out"),), True, {"step": step})
    assert UsageExamples("m.edgernn", ExamplePorts(contract)).python == (
        "import numpy as np\n"
        "\n"
        "import edgernn\n"
        "\n"
        'model = edgernn.load("m.edgernn")\n'
        "\n"
        "# One running state.\n"
        "stream = model.stream(batch=3)\n"
        "x = np.zeros((3, 2), np.float32)  # (3, 2)\n"
        "output = stream.step(x)  # (3, 4)\n"
        "saved = stream.snapshot()  # to go on later: stream.restore(saved)"
    )


def test_constant_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card says how many steps a call takes, and its code feeds as many."""
    artifact = edgernn.export_model(
        nn.GRU(3, 4), tmp_path / "m.edgernn", steps=6, batch_size=2, verify=False
    )
    text = (artifact.path / "README.md").read_text("utf-8")
    assert "## sequence.onnx\n\nRuns sequences, or chunks, of exactly 6 steps.\n" in text
    assert "## step.onnx\n\nRuns one time step.\n" in text
    monkeypatch.chdir(tmp_path)
    for code in code_blocks(artifact):
        exec(code, {})


SYMBOLS = ["<pad>", "<unk>", "hello", "world"]
WORDS = {"symbols": SYMBOLS, "unknown": 1, "padding": 0}


@pytest.mark.parametrize("vocabulary", [WORDS, SYMBOLS], ids=["with roles", "symbols alone"])
def test_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vocabulary: dict[str, Any] | list[str]
) -> None:
    """With a vocabulary, Python and the command line run a text and print symbols."""
    torch.manual_seed(0)
    inputs = ["ids:int64[batch,sequence]"]
    artifact = edgernn.export_model(
        Words(), tmp_path / "m.edgernn", inputs=inputs, vocabulary=vocabulary
    )
    code, alone = code_blocks(artifact)
    with contextlib.chdir(tmp_path):
        exec(code, {})
        printed = capsys.readouterr().out.splitlines()
        exec(alone, {})
    text, best = printed[0][:11], printed[0][12:]
    assert text == "hello world"
    assert printed[1] == best.split()[-1]
    block = page_blocks(artifact.path / "README.md", "sh")[0]
    assert block.text == "edgernn run m.edgernn --text 'hello world'\n"
    assert run(block, tmp_path).splitlines()[-1] == best


@pytest.mark.parametrize(
    ("vocabulary", "command"),
    [
        (["\x1b[31m", "\n```\n", "\u202e", "a"], "edgernn run m.edgernn --text a\n"),
        (["\x1b[31m", "\n```\n", "\u202e", "\t"], "edgernn run m.edgernn\n"),
    ],
    ids=["one printable symbol", "none"],
)
def test_symbols_that_a_terminal_obeys(tmp_path: Path, vocabulary: list[str], command: str) -> None:
    """They are not in the text of the card, nor in a command that is pasted."""
    inputs = ["ids:int64[batch,sequence]"]
    artifact = edgernn.export_model(
        Words(), tmp_path / "m.edgernn", inputs=inputs, vocabulary=vocabulary, verify=False
    )
    card = (artifact.path / "README.md").read_text("utf-8")
    assert all(line.isprintable() for line in card.split("\n"))
    block = page_blocks(artifact.path / "README.md", "sh")[0]
    assert block.text == command
    run(block, tmp_path)


class Words(nn.Module):
    """Scores for the word after each word; never padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 5)
        self.gru = nn.GRU(5, 6, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 4) for ids (batch, steps)."""
        scores: torch.Tensor = self.head(self.gru(self.embedding(ids))[0])
        return scores + torch.tensor([-100.0, 0.0, 0.0, 0.0])


def test_a_dtype_that_the_program_does_not_take(tmp_path: Path) -> None:
    """The card of a float16 model has no line that feeds the program in C numbers."""
    artifact = edgernn.export_model(
        nn.GRU(3, 4), tmp_path / "m.edgernn", precision="float16", verify=False
    )
    card = artifact.path.joinpath("README.md").read_text("utf-8")
    assert "app/app step" not in card
    assert "\nThe program replays the golden run.\n" in card


def test_every_host_has_its_command(artifact: Artifact) -> None:
    """A table has the command for each host, which the command line takes."""
    card = artifact.path.joinpath("README.md").read_text("utf-8")
    for host in HOSTS.values():
        command = f"`edgernn embed {shlex.quote(artifact.path.name)} --host {host.name}`"
        assert f"| {host.title} | {command} | {host.needs} |" in card
