"""How artifacts, contracts, reports and vocabularies are shown, in Python and in notebooks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.contract import Contract, Graph, Port, State
from edgernn.facts import file_size, state_bytes
from edgernn.report import Check, ParityReport
from edgernn.vocabulary import Vocabulary
from tests.nets import small_artifacts


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.chdir(tmp_path)
    return Artifact.open(small_artifacts.hello(Path("hello.edgernn")))


def test_artifact(hello: Artifact) -> None:
    """What it was, its graphs, ports, states, symbols and parity, and what to know of it."""
    sequence, step = (file_size(hello.path / f"{kind}.onnx") for kind in ("sequence", "step"))
    assert (
        repr(hello)
        == f"""\
Artifact hello.edgernn
source      Embedding(4, 4) → RNN(4, 8)
graphs      sequence.onnx {sequence}, step.onnx {step}
input       x: int64[sequence, 1]
output      output: float32[sequence, 4]
state       h_in: float32[1, 1, 8] → h_out
ids         x is 0 to 3
memory      32 bytes of state per sequence
vocabulary  4 symbols: h e l o
parity      max difference 2.0e-08 to eager torch over 2 checks at 2 sizes
note        The batch axis is constant (1): forward fails at other sizes."""
    )


def test_artifact_without_proof_or_files(hello: Artifact) -> None:
    """A check that was left out is said, and a file that is gone."""
    (hello.path / "step.onnx").unlink()
    lines = repr(replace(hello, parity=None)).splitlines()
    assert lines[2].endswith(", step.onnx missing")
    assert "parity      not proven: exported without verification" in lines


def test_contract(hello: Artifact) -> None:
    """The same of a contract alone, without what only files tell."""
    contract = replace(
        hello.contract, vocabulary=None, parity="", most={"sequence": 5}, carry=False
    )
    assert (
        repr(contract)
        == """\
Contract of Embedding(4, 4) → RNN(4, 8)
input     x: int64[sequence, 1]
output    output: float32[sequence, 4]
state     h_in: float32[1, 1, 8] → h_out
ids       x is 0 to 3
sequence  at most 5
memory    32 bytes of state per sequence
carry     no: the state of one call must not be fed to the next"""
    )


def test_notebook(hello: Artifact) -> None:
    """A notebook gets the same facts as a table without colours, its text escaped."""
    contract = replace(hello.contract, source="<b> & Net", vocabulary=None)
    html = contract._repr_html_()
    assert html.startswith(
        '<table style="color:inherit"><caption style="text-align:left;white-space:nowrap">'
        "Contract of &lt;b&gt; &amp; Net</caption>"
        '<tr><th style="text-align:left;vertical-align:top">input</th>'
        '<td style="text-align:left;vertical-align:top">x: int64[sequence, 1]</td></tr>'
    )
    assert html.endswith("over 2 checks at 2 sizes</td></tr></table>")
    assert html.count("<tr>") == len(repr(contract).splitlines()) - 1


REPORT = ParityReport(
    "eager torch",
    1e-5,
    (Check("whole", "sequence", 2, 5, "zero", 2e-8), Check("steps", "step", 1, 1, "zero", 3e-6)),
)


def test_report() -> None:
    """The verdict, and the check that differs most or that failed."""
    assert (
        repr(REPORT)
        == """\
Parity with eager torch: passed
parity     max difference 3.0e-06 to eager torch over 2 checks at 2 sizes
tolerance  1.0e-05
worst      steps step.onnx batch 1, sequence 1, zero initial state: 3.0e-06"""
    )
    nan = replace(REPORT.checks[0], difference=float("nan"))
    failed = replace(REPORT, checks=(*REPORT.checks, nan))
    assert repr(failed).splitlines()[0] == "Parity with eager torch: failed"
    assert repr(failed).splitlines()[-1].endswith("zero initial state: nan")
    assert (
        repr(replace(REPORT, checks=()))
        == """\
Parity with eager torch: nothing was compared
parity     max difference 0.0e+00 to eager torch over 0 checks at 0 sizes
tolerance  1.0e-05"""
    )
    assert str(REPORT) == "max difference 3.0e-06 to eager torch over 2 checks at 2 sizes"


def test_vocabulary() -> None:
    """The first symbols, as one can read them, and the special ones."""
    assert repr(Vocabulary(("a", " ", "\n"))) == "Vocabulary of 3 symbols: a ' ' '\\n'"
    words = Vocabulary(tuple(f"w{n}" for n in range(1234)), unknown=1, padding=0)
    shown = " ".join(words.symbols[:40])
    title, *others = repr(words).splitlines()
    assert title == f"Vocabulary of 1,234 symbols: {shown} …"[:159] + "…"
    assert others == ["unknown  w1, id 1", "padding  w0, id 0"]


def wide(count: int, name: str = "h") -> Contract:
    """Return a contract with many states."""
    names = [f"{name}{n}" for n in range(count)]
    states = tuple(State(one, f"{one}_in", f"{one}_out") for one in names)
    inputs = tuple(Port(state.input, "float16", (2, "batch", 3)) for state in states)
    outputs = tuple(Port(state.output, "float16", (2, "batch", 3)) for state in states)
    return Contract("f00d", "demo", states, True, {"step": Graph(inputs, outputs)})


def test_many_ports_are_shortened() -> None:
    """Of each kind the first eight are shown, and how many more there are."""
    lines = repr(wide(1200)).splitlines()
    assert lines[1:2] + lines[8:] == [
        "state   h0_in: float16[2, batch, 3] → h0_out",
        "state   h7_in: float16[2, batch, 3] → h7_out",
        "state   … and 1,192 more",
        "memory  14,400 bytes of state per sequence",
    ]


def test_hostile_names_are_escaped() -> None:
    """No text of a file moves the cursor, starts a line or fills the screen."""
    shown = repr(wide(1, "\x1b[2J\n" + "h" * 1000))
    assert len(shown.splitlines()) == 3
    assert shown.splitlines()[1].startswith("state   \\x1b[2J\\nhhhh")
    assert max(map(len, shown.splitlines())) < 200
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_bytes_of_states() -> None:
    """Each dtype counts with its size, and the batch as one sequence."""
    for dtype, size in (("float32", 4), ("float16", 2), ("int64", 8), ("bool", 1)):
        port = Port("h_in", dtype, (2, "batch", 3)), Port("h_out", dtype, (2, "batch", 3))
        graph = Graph(port[:1], port[1:])
        contract = Contract("f", "demo", (State("h", "h_in", "h_out"),), True, {"step": graph})
        assert state_bytes(contract) == 6 * size
        assert f"{6 * size} bytes of state per sequence" in repr(contract)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_500_000, "2.5 MB")],
)
def test_file_sizes(size: int, text: str, tmp_path: Path) -> None:
    """Sizes are in the largest unit that they reach."""
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    assert file_size(file) == text


def test_facts_load_no_numpy() -> None:
    """Options import vocabularies, and `--help` loads no library with them."""
    code = "import sys, edgernn.export.options; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
