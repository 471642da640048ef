"""What `inspect` tells about an ONNX file, edgernn's or not."""

import json
import subprocess
import sys
from dataclasses import replace

import onnx
import onnx.parser
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError, SourceError
from edgernn.export.analysis.file_analysis import FileAnalysis, analyse_file
from edgernn.report import Cost
from tests.matrix.cells import Cell
from tests.matrix.forms import AVOIDED
from tests.matrix.layers import Layer

STATE = ("float32", (1, "batch", 4))
PORTS = Graph(
    inputs=(Port("x", "float32", ("batch", 3)), Port("h_in", *STATE)),
    outputs=(Port("output", "float32", ("batch", 4)), Port("h_out", *STATE)),
)
CONTRACT = Contract(
    family="0123", source="GRU", states=(State("h", "h_in", "h_out"),), carry=True,
    graphs={"step": PORTS},
)  # fmt: skip


def saved(model, folder):
    onnx.save(model, folder / "graph.onnx")
    return folder / "graph.onnx"


def with_contract(**changes):
    """Return a GRU step graph whose metadata is that of CONTRACT, with `changes`."""
    model = Cell("GRU").graph()
    metadata = CONTRACT.metadata("step") | {f"edgernn.{k}": v for k, v in changes.items()}
    onnx.helper.set_model_props(model, metadata)
    return model


def test_analysis_of_edgernns_file(tmp_path):
    """A file that edgernn made: ports, contract, cost, format, and no refusal."""
    model = with_contract()
    model.producer_name, model.producer_version = "edgernn", "0.1.0"
    assert analyse_file(saved(model, tmp_path)) == FileAnalysis(
        inputs=PORTS.inputs,
        outputs=PORTS.outputs,
        contract=CONTRACT,
        cost=Cost(parameters=108, multiply_adds=84, weight_bytes=432, state_bytes=16),
        layers=(),
        recurrent=(),
        refusals={},
        opset=18,
        ir_version=8,
        producer="edgernn 0.1.0",
    )


def test_analysis_of_other_peoples_file(tmp_path):
    """A file without a contract: everything else is still told."""
    analysis = analyse_file(saved(AVOIDED["LSTM reverse alone"].graph(), tmp_path))
    assert analysis.contract is None
    assert [str(layer) for layer in analysis.layers] == ["LSTM 3 → 4"]
    assert analysis.recurrent == ("LSTM `lstm_0`: input 3, hidden 4, reverse",)
    assert list(analysis.refusals) == ["tract", "OpenCV"]
    assert analysis.cost.state_bytes == 32


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (
            Layer("LSTM", 2, True, input_size=10, hidden_size=20),
            (
                "LSTM `lstm_2`: input 10, hidden 20, bidirectional",
                "LSTM `lstm_5`: input 40, hidden 20, bidirectional",
            ),
        ),
        (Layer("GRU"), ("GRU `gru_0`: input 3, hidden 4, forward",)),
        (Cell("LSTM", "Scan"), ("Scan `scan_2`: 1 input, 2 states, forward",)),
        (Cell("GRU", "Loop"), ("Loop `loop_3`: 1 state",)),
        (Cell("RNN"), ()),
    ],
    ids=["stacked", "gru", "scan", "loop", "cell"],
)
def test_recurrent_lines(form, lines, tmp_path):
    """Every recurrent node has one line, in the order of the graph."""
    assert analyse_file(saved(form.graph(), tmp_path)).recurrent == lines


def test_ports_of_every_kind(tmp_path):
    """An unknown axis is `?`, an initializer among the inputs is no port, strings are strings."""
    text = """<ir_version: 3, opset_import: ["" : 7]>
        g (float[?,N,3] x, float[1] w, string[2] s) => (float[] y, string[2] t) <float[1] w = {1}>
        { y = Add(x, w)  t = Identity(s) }"""
    analysis = analyse_file(saved(onnx.parser.parse_model(text), tmp_path))
    assert analysis.inputs == (
        Port("x", "float32", ("?", "N", 3)),
        Port("s", "string", (2,)),
    )
    assert analysis.outputs == (Port("y", "float32", ("?",)), Port("t", "string", (2,)))
    assert (analysis.opset, analysis.ir_version, analysis.producer) == (7, 3, "")


def test_json(tmp_path):
    """The analysis as JSON has its fields, and the contract as in contract.json."""
    analysis = analyse_file(saved(with_contract(), tmp_path))
    data = json.loads(json.dumps(analysis.to_json()))
    assert list(data) == list(FileAnalysis.__dataclass_fields__)
    assert data["inputs"][0] == {"name": "x", "dtype": "float32", "shape": ["batch", 3]}
    assert data["contract"] == CONTRACT.to_json()
    assert data["cost"]["parameters"] == 108
    assert replace(analysis, contract=None).to_json()["contract"] is None


def test_no_such_file(tmp_path):
    """A file that is not there is a SourceError."""
    path = tmp_path / "none.onnx"
    with pytest.raises(SourceError) as caught:
        analyse_file(path)
    assert str(caught.value) == f"`{path}` cannot be read: No such file or directory."


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x80\x02}q\x00."])
def test_not_onnx(content, tmp_path):
    """A file that is not an ONNX graph is a SourceError, an empty one too."""
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        analyse_file(path)
    assert str(caught.value) == (
        f"`{path}` is not {'a whole' if not content else 'an'} ONNX graph: "
        f"{'it has no output' if not content else 'it cannot be decoded as one'}. Save or "
        "download it again."
    )


def test_missing_weights_file(tmp_path):
    """A graph whose weights file is gone is a SourceError that names the file."""
    path = tmp_path / "graph.onnx"
    onnx.save(
        Layer("LSTM").graph(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert analyse_file(path).cost.parameters == 144
    (tmp_path / "w.bin").unlink()
    with pytest.raises(SourceError) as caught:
        analyse_file(path)
    assert str(caught.value) == (
        f"`{path}` keeps its weights in `w.bin`, which is not beside it. Put both files into one "
        "folder."
    )


def test_contract_of_another_version(tmp_path):
    """A contract that this edgernn does not read is an error, not silence."""
    path = saved(with_contract(contract="2"), tmp_path)
    with pytest.raises(ContractError) as caught:
        analyse_file(path)
    assert str(caught.value) == (
        f"`{path}` is of contract version 2; this edgernn reads version 1. Export the model "
        "again, or install the edgernn that wrote it."
    )


def test_without_torch():
    """Analysing needs neither torch nor ONNX Runtime."""
    code = (
        "import sys, edgernn.export.analysis.file_analysis; "
        "print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
