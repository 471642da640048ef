"""The JavaScript of a model card: saved, installed and started as the card says, in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.contract import BATCH, Contract, Graph, Port, State
from edgernn.export.artifact_files.example_ports import ExamplePorts
from edgernn.export.artifact_files.javascript_example import JavascriptExample
from edgernn.vocabulary import Vocabulary
from tests.conftest import Once
from tests.docs.page_blocks import page_blocks
from tests.models.dual_paths import DualPath, TimeFirst
from tests.nets.call_counter import CallCounter
from tests.nets.hop_models import Decoder, FramedGru, Positions

NODE, NPM = shutil.which("node"), shutil.which("npm")
PINNED = "onnxruntime-node@1.30.0"

pytestmark = pytest.mark.skipif(not (NODE and NPM), reason="there is no Node on this machine")


class Speller(nn.Module):
    """Scores for the symbol after each symbol."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, symbols)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, symbols) for ids (batch, steps)."""
        scores: torch.Tensor = self.head(self.lstm(self.embedding(ids))[0])
        return scores


class Learned(nn.Module):
    """Two layers with learned initial states, two inputs, outputs of two dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 4, num_layers=2, batch_first=True)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.starts = nn.ParameterList(
            torch.randn(shape) for shape in ((2, 1, 4), (1, 1, 3), (1, 1, 3))
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return scores and the last signs for x (batch, steps, 5) and a mask (batch, steps)."""
        h, *hc = (start.expand(-1, x.size(0), -1).contiguous() for start in self.starts)
        output, _ = self.gru(x * mask[:, :, None], h)
        output, _ = self.lstm(output, tuple(hc))
        return {"scores": output, "last": output[:, -1] > 0}


class Rows(nn.Module):
    """One row for each step of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch * steps, 6) for x (batch, steps, points, 4)."""
        output: torch.Tensor = self.rnn(x.mean(2))[0]
        return output.reshape(-1, 6)


def _speller(**options: Any) -> Callable[[], tuple[nn.Module, dict[str, Any]]]:
    table = {"symbols": ["<unk>", "h", "e", "l", "o"], "unknown": 0}
    given = {"inputs": ["ids:int64[batch,sequence]"], "vocabulary": table, **options}
    return lambda: (Speller(5), given)


def _learned(**options: Any) -> Callable[[], tuple[nn.Module, dict[str, Any]]]:
    inputs = torch.randn(2, 5, 5), torch.ones(2, 5, dtype=torch.bool)
    return lambda: (Learned(), {"inputs": inputs, **options})


SIGNAL, WAVE = ["x:float32[batch,sequence,3]"], ["wave:float32[batch,sequence]"]

KINDS: dict[str, Callable[[], tuple[nn.Module, dict[str, Any]]]] = {
    "speller": _speller(),
    "speller of int32": _speller(int32_ids=True, graph="sequence"),
    "gru": lambda: (nn.GRU(3, 4, 2), {}),
    "step only": lambda: (nn.GRU(3, 4, 2), {"graph": "step"}),
    "learned": _learned(),
    "learned of a constant batch": _learned(batch_size=3, steps=4),
    "calls of 4 steps": lambda: (nn.LSTM(3, 4), {"steps": 4, "graph": "sequence"}),
    "float16": lambda: (nn.LSTM(3, 4), {"precision": "float16", "lengths": True}),
    "bidirectional": lambda: (nn.GRU(3, 4, bidirectional=True), {"lengths": True}),
    "rows": lambda: (Rows(), {"inputs": ["x:float32[batch,sequence,points,4]"]}),
    "rows of a constant batch": lambda: (
        Rows(),
        {"inputs": ["x:float32[batch,sequence,points,4]"], "batch_size": 2},
    ),
    "unbatched": lambda: (nn.LSTM(3, 4), {"inputs": (torch.randn(5, 3),)}),
    "counted calls": lambda: (CallCounter(), {"inputs": (torch.ones(1, 5, 3),)}),
    "reset": lambda: (nn.LSTM(3, 4), {"reset": True}),
    "delay": lambda: (FramedGru(3, 1), {"inputs": SIGNAL}),
    "hop": lambda: (FramedGru(4, 4), {"inputs": SIGNAL}),
    "hop, delay and tail": lambda: (FramedGru(5, 2, 2), {"inputs": SIGNAL}),
    "decoder": lambda: (Decoder(), {"inputs": WAVE}),
    "decoder of whole hops": lambda: (Decoder(), {"inputs": WAVE, "graph": "sequence"}),
    "decoder of a constant batch": lambda: (Decoder(), {"inputs": WAVE, "batch_size": 2}),
    "step only of a delay": lambda: (FramedGru(3, 1), {"inputs": SIGNAL, "graph": "step"}),
    "bins": lambda: (DualPath(), {"inputs": ["x:float32[batch,sequence,5,4]"]}),
    "bins outside of the batch": lambda: (
        TimeFirst(),
        {"inputs": ["x:float32[batch,sequence,5,4]"]},
    ),
    "step only of a decoder": lambda: (Decoder(), {"inputs": WAVE, "graph": "step"}),
    "step only of a last output": lambda: (
        Learned(),
        {"inputs": (torch.randn(2, 5, 5), torch.ones(2, 5, dtype=torch.bool)), "graph": "step"},
    ),
    "positions": lambda: (Positions(), {"inputs": SIGNAL}),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, once: Once, tmp_path_factory: Any) -> Path:
    """A folder with an artifact `my model.edgernn`, its card's code as the file of that name."""
    torch.manual_seed(0)
    model, options = KINDS[request.param]()
    folder: Path = tmp_path_factory.mktemp("card")
    options = {"verify": "precision" in options, **options}
    artifact = edgernn.export_model(model.eval(), folder / "my model.edgernn", **options)
    card = artifact.path / "README.md"
    (code,) = page_blocks(card, "js")
    assert code.file == "run.mjs"
    (folder / code.file).write_text(code.text, "utf-8")
    (install, start) = next(
        block.text.splitlines() for block in page_blocks(card, "sh") if "npm" in block.text
    )
    assert install == "npm install --ignore-scripts onnxruntime-node"
    assert start == "node run.mjs"

    def fill(fresh: Path) -> None:
        pinned = install.replace("onnxruntime-node", PINNED).split()
        subprocess.run(pinned, cwd=fresh, check=True, capture_output=True)

    installed = once("node", fill)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return folder


def start(folder: Path, file: str = "run.mjs") -> str:
    """Start the saved file and return what it prints."""
    command = [str(NODE), file]
    ran = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def changed(folder: Path, *replacements: tuple[str, str]) -> str:
    """Start the code with some of it replaced, and return what it prints."""
    code = (folder / "run.mjs").read_text("utf-8")
    for old, new in replacements:
        assert old in code
        code = code.replace(old, new)
    (folder / "changed.mjs").write_text(code, "utf-8")
    return start(folder, "changed.mjs")


def contract_of(folder: Path) -> Contract:
    return edgernn.load(folder / "my model.edgernn").contract


def test_the_golden_run_agrees(folder: Path) -> None:
    """The code replays the golden run and says so, then runs an example."""
    first, *example = start(folder).splitlines()
    found = re.fullmatch(r"golden run agrees: max difference (\S+), tolerance (\S+)", first)
    assert found is not None
    assert float(found[1]) <= float(found[2]) <= 0.02
    assert example


def test_a_changed_recording_differs(folder: Path) -> None:
    """One number changed in any recorded output or final state is found."""
    contract = contract_of(folder)
    golden = folder / "my model.edgernn" / "golden"
    ports = [port.name for port in contract.data_outputs(next(iter(contract.graphs)))]
    ports += [state.output for state in contract.states if contract.carry]
    for name in ports:
        array = np.load(golden / f"{name}.npy")
        other = array.copy()
        other.flat[-1] = not array.flat[-1] if array.dtype == bool else array.flat[-1] + 1
        np.save(golden / f"{name}.npy", other)
        assert start(folder).startswith("golden run DIFFERS: max difference "), name
        np.save(golden / f"{name}.npy", array)


def test_a_state_that_is_not_fed_back_differs(folder: Path) -> None:
    """Without the line that feeds the state back, the golden run differs."""
    if contract_of(folder).carry:
        assert changed(folder, ("  state = { ", "  void { ")).startswith("golden run DIFFERS: ")


def test_no_other_state_is_fed(folder: Path) -> None:
    """A start other than the recorded one is found."""
    contract = contract_of(folder)
    name = contract.states[0].input
    found = changed(folder, (f"golden.{name}.data", f"golden.{name}.data.map((x) => ++x)"))
    assert found.startswith("golden run DIFFERS: ")


def test_reset_starts_from_the_initial_state(folder: Path) -> None:
    """The first call after a reset gives what edgernn gives, learned values included."""
    model = edgernn.load(folder / "my model.edgernn")
    contract = model.contract
    ports = ExamplePorts(contract)
    data = {
        port.name: np.full(ports.sizes(port), ports.filler(port), port.dtype)
        for port in contract.data_inputs(ports.kind)
        if port.name not in contract.lengths
    }
    calls, stream = ports.undefined_hops + 2, None
    if contract.carry:
        stream = model.stream(batch=contract.constants.get(BATCH, 1))
    call_model = model if stream is None else stream.step if ports.kind == "step" else stream.feed
    expected = [call_model(**data) for _ in range(calls)]
    arguments = ", ".join(
        "undefined"
        if port.name in contract.lengths
        else json.dumps(data[port.name].ravel().tolist())
        for port in contract.data_inputs(ports.kind)
    )
    code = (folder / "run.mjs").read_text("utf-8")
    points = "points = 4;\n" if "let points" in code else ""
    (folder / "called.mjs").write_text(
        f"""{code}
{points}
const numbersOf = ([name, data]) => [name, Array.from(data, Number)];
const plain = (x) => Object.fromEntries(Object.entries(x).map(numbersOf));
const got = [];
for (let i = 0; i < {2 * calls}; i++) {{
  if (i % {calls} === 0) reset();
  got.push(plain(await run({arguments})));
}}
console.log(JSON.stringify(got));
""",
        "utf-8",
    )
    got = json.loads(start(folder, "called.mjs").splitlines()[-1])
    assert got[:calls] == got[calls:]
    assert (got[calls - 1] != got[calls - 2]) == contract.carry
    for one, arrays in zip(got, expected, strict=False):
        only = contract.data_outputs(ports.kind)[0].name
        named = arrays if isinstance(arrays, dict) else {only: arrays}
        assert one.keys() == named.keys()
        for name, array in named.items():
            wanted = np.zeros(0) if array is None else array.ravel()
            atol = 1e-3 if "16" in wanted.dtype.name else 1e-6
            np.testing.assert_allclose(one[name], wanted, atol=atol)


def test_a_part_of_a_hop_and_a_hop_past_the_last_are_refused(folder: Path) -> None:
    """A chunk that is not whole hops, and a call after the last position, fail by name."""
    contract, code = contract_of(folder), (folder / "run.mjs").read_text("utf-8")
    calls = []
    if contract.hop > 1 and contract.step is None:
        calls.append(("run(new Float32Array(6))", "6 steps are not whole hops of 4"))
    if contract.limited_states:
        run = "(async () => { for (;;) await run(new Float32Array(3)); })()"
        calls.append((run, "a sequence has at most 40 steps; reset() starts a new one"))
    for call, message in calls:
        caught = f"reset();\nawait {call}.catch((error) => console.log(error.message));\n"
        (folder / "refused.mjs").write_text(f"{code}\n{caught}", "utf-8")
        assert start(folder, "refused.mjs").splitlines()[-1] == message


VOCABULARIES = {
    "characters": Vocabulary(("<pad>", "a", "b", " ", "é", "😀", "?"), unknown=6, padding=0),
    "pieces": Vocabulary(("a", "b", "ab", "aba", "c", "ç", "\n", "x y", "?"), unknown=8),
    "words": Vocabulary(("<unk>", "hello", "world", ",", "hell", "!!"), unknown=0),
}
TEXTS = ("", "a", "abab abac", "aé😀b", "😀z", "hello world", " hello,world, oh\tno!!\n", "x y\nb")


@pytest.mark.parametrize("name", VOCABULARIES)
def test_text(tmp_path: Path, name: str) -> None:
    """`encode` and `decode` give what those of edgernn give."""
    vocabulary = VOCABULARIES[name]
    code = symbols_code(vocabulary)
    (tmp_path / "run.mjs").write_text(
        f"const contract = {{ vocabulary: {json.dumps(vocabulary.to_table())} }};\n{code}\n"
        f"const ids = {json.dumps(TEXTS)}.map(encode);\n"
        "console.log(JSON.stringify([ids, ids.map(decode)]));\n"
    )
    ids, texts = json.loads(start(tmp_path))
    assert ids == [vocabulary.encode(text) for text in TEXTS]
    assert texts == [vocabulary.decode(one) for one in ids]
    assert [0, vocabulary.unknown] != ids[4]


@pytest.mark.parametrize(("symbols", "what"), [("ab", "😀"), (("hi", "you"), "😀z")])
def test_text_without_an_unknown_symbol(tmp_path: Path, symbols: Any, what: str) -> None:
    """What is not in the vocabulary is an error that names it."""
    vocabulary = Vocabulary(tuple(symbols))
    (tmp_path / "run.mjs").write_text(
        f"const contract = {{ vocabulary: {json.dumps(vocabulary.to_table())} }};\n"
        f"{symbols_code(vocabulary)}\n"
        "try { encode('😀z'); } catch (error) { console.log(error.message); }\n"
    )
    assert start(tmp_path) == f'"{what}" is not in the vocabulary\n'


def symbols_code(vocabulary: Vocabulary) -> str:
    """Return the part of the code that encodes and decodes text."""
    port = Port("ids", "int64", (BATCH,), limit=len(vocabulary))
    code = JavascriptExample("m.edgernn", contract(port, vocabulary), 1e-5).code
    start, end = code.index("const { symbols"), code.index("\nconst difference")
    return code[start:end]


def contract(port: Port, vocabulary: Vocabulary | None = None) -> Contract:
    """Return the contract of a step of `port` with one state."""
    states = [Port(f"h_{end}", "float32", (1, BATCH, 4)) for end in ("in", "out")]
    output = Port("0", "float32", (BATCH, 4))
    step = Graph((port, states[0]), (output, states[1]))
    state = State("h", "h_in", "h_out")
    return Contract("0" * 16, "", (state,), True, {"step": step}, vocabulary=vocabulary)


@pytest.mark.parametrize("name", ["input.1", "class", "0", "état", "steps"])
def test_names_that_are_not_variables(tmp_path: Path, name: str) -> None:
    """Names of ports that JavaScript cannot use as variables give code all the same."""
    contract_of_name = contract(Port(name, "uint8", (BATCH, 3)))
    code = JavascriptExample("m.edgernn", contract_of_name, 1e-5).code
    assert f'"{name}": new' in code or f"    {name}: new" in code
    assert 'return { "0": outputs["0"].data };' in code
    (tmp_path / "run.mjs").write_text(code)
    checked = subprocess.run([str(NODE), "--check", "run.mjs"], cwd=tmp_path, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
