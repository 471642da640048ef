"""ONNX files that are refused, each by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgernn.errors import SourceError
from edgernn.export.foreign.onnx_file import OPSETS
from tests.nets.onnx_files import X, port, recurrent, weights, write
from tests.nets.torch_onnx import (
    export,
    refusal,
)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "clip": (
        {"clip": 3.0},
        "LSTM `rec` in `{file}` has clip=3, which several runtimes ignore. Export the model "
        "without clipping.",
    ),
    "input_forget": (
        {"input_forget": 1},
        "LSTM `rec` in `{file}` has input_forget=1, which couples two gates and which several "
        "runtimes ignore. Export the model with both gates.",
    ),
    "activations": (
        {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
        "LSTM `rec` in `{file}` has the activations HardSigmoid, Tanh, Tanh; sigmoid, tanh, tanh "
        "was expected. Train or export the model with the default activations.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_attributes(tmp_path, name):
    """Attributes that some runtime ignores are refused by name."""
    attributes, message = REFUSED[name]
    file = write(tmp_path / "odd.onnx", [recurrent("LSTM", **attributes)], weights("LSTM"))
    assert refusal(file) == message.format(file=file)


def test_peepholes(tmp_path):
    """Peepholes are refused; those that are all zero say nothing."""
    inputs = ("x", "W", "R", "B", "", "", "", "P")
    node = recurrent("LSTM", inputs)
    file = write(tmp_path / "p.onnx", [node], {**weights("LSTM"), "P": np.ones((1, 9), np.float32)})
    assert refusal(file) == (
        f"LSTM `rec` in `{file}` has peepholes (input P), which several runtimes ignore. Train or "
        "export the model without them."
    )
    write(file, [node], {**weights("LSTM"), "P": np.zeros((1, 9), np.float32)})
    assert export(file).contract.step is not None


def test_weights_from_the_input(tmp_path):
    """A layer whose weights are an input is refused."""
    constants = weights("RNN")
    recurrent_weights = constants.pop("R")
    file = write(
        tmp_path / "w.onnx",
        [recurrent("RNN")],
        constants,
        [X, port("R", recurrent_weights.shape)],
    )
    assert refusal(file) == (
        f"RNN `rec` in `{file}` has weights R that the graph computes from its inputs; constants "
        "were expected. A layer whose weights change from call to call has no step graph."
    )


def body(nodes: list[Any], outputs: list[Any], inputs: list[Any] | None = None) -> Any:
    return helper.make_graph(nodes, "body", inputs or [], outputs)


def test_bodies(tmp_path):
    """A layer in a branch that the numbers choose, and a recurrence in a Scan, are refused."""
    branch = body([recurrent("RNN", outputs=("y",))], [port("y", None)])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "zero"], ["loud"]),
        helper.make_node("If", ["loud"], ["out"], "choice", then_branch=branch, else_branch=branch),
    ]
    file = write(tmp_path / "if.onnx", nodes, {**weights("RNN"), "zero": np.zeros((), np.float32)})
    assert refusal(file) == (
        f"RNN `rec` in `{file}` stands inside the body of If `choice`, which is chosen anew at "
        "every call, so that its state cannot become a port. Export the model with the layer "
        "outside of it."
    )
    step = body(
        [helper.make_node("Add", ["h", "now"], ["next"]), helper.make_node("Neg", ["next"], ["o"])],
        [port("next", ["B", 2]), port("o", ["B", 2])],
        [port("h", ["B", 2]), port("now", ["B", 2])],
    )
    scan = helper.make_node("Scan", ["h0", "x"], ["hn", "y"], "over", num_scan_inputs=1, body=step)
    file = write(tmp_path / "scan.onnx", [scan], {}, [port("h0", ["B", 2]), X])
    assert refusal(file) == (
        f"Scan `over` in `{file}` is a recurrence written as a body of nodes, which cannot be "
        "taken apart into steps. Export the model with an LSTM, GRU or RNN node, or export one "
        'step of it and name its states: states={"IN": "OUT"}.'
    )


def test_files_that_are_no_models(tmp_path):
    """A file cut short, one without its weights and one of an old opset are refused."""
    file = write(tmp_path / "a.onnx", [recurrent("RNN")], weights("RNN"))
    file.write_bytes(file.read_bytes()[:200])
    assert refusal(file, SourceError) == (
        f"`{file}` is not an ONNX graph: it cannot be decoded as one. Save or download it again."
    )
    whole = onnx.load(write(tmp_path / "b.onnx", [recurrent("RNN")], weights("RNN")))
    onnx.save(whole, file, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert export(file).contract.step is not None
    (tmp_path / "w.bin").unlink()
    assert refusal(file, SourceError, force=True) == (
        f"`{file}` keeps its weights in `w.bin`, which is not beside it. Put both files into one "
        "folder."
    )
    file = write(tmp_path / "old.onnx", [recurrent("RNN")], weights("RNN"), opset=6)
    assert refusal(file) == (
        f"`{file}` is of ONNX opset 6; 7 to {OPSETS[-1]} can be read. Convert it with "
        "onnx.version_converter, or export the model again."
    )
