"""Exceptions of libraries become refusals that name the stage; the system's and ours stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError, ParityError, UnsupportedModelError
from edgernn.export import build_torch
from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.library_errors import lines_of, locating, stage
from tests.export.expected_refusal import at, refusal


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0].sin()


def test_a_fault_of_edgernn_says_so(target, monkeypatch):
    """The stage and what was raised are in the message, the exception is its cause."""
    monkeypatch.setattr(build_torch, "find_states", {}.__getitem__)
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(Net(), target, inputs=["x:float32[batch,sequence,4]"])
    assert str(caught.value) == (
        "Building the graphs of `Net` fails with TypeError: dict.__getitem__() takes exactly "
        "one argument (6 given). That is a fault of edgernn; please report it with the model."
    )
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_the_model_raises_names_its_line(monkeypatch, tmp_path):
    """It may happen at sizes that only the proof tries."""
    monkeypatch.chdir(tmp_path)

    def forward(x):
        return x["key"]

    def run():
        with stage("proving the graphs", "Net"):
            forward(np.zeros(3))

    place = at(forward, 'return x["key"]')
    said = refusal(UnsupportedModelError, run)
    assert said.startswith(f"`Net.forward` fails{place} while edgernn is proving the graphs: ")
    assert said.endswith(
        ". Where it takes certain sizes or values only, describe them with `inputs`."
    )


@pytest.mark.parametrize(
    "error", [InputError("wrong"), FileNotFoundError(2, "gone"), KeyboardInterrupt()]
)
def test_other_exceptions_stay(error):
    """Edgernn's own, the operating system's, and the user's wish to stop."""
    with pytest.raises(type(error)) as caught, stage("tracing forward", "Net"):
        raise error
    assert caught.value is error


def test_a_node_in_a_refusal_is_located():
    """The line of the model that it came from follows."""
    places = {"node_Sin_3": SourceLine("net.py", 7)}
    with pytest.raises(ParityError) as caught, locating(places):
        raise ParityError("Running node_Sin_3 fails.")
    assert str(caught.value) == "Running node_Sin_3 fails. `node_Sin_3` comes from net.py:7."
    with pytest.raises(ParityError) as caught, locating(places):
        raise ParityError("Running node_Sin_33 fails.")
    assert str(caught.value) == "Running node_Sin_33 fails."


def test_nodes_remember_their_lines(monkeypatch, tmp_path):
    """Those that torch wrote for the model."""
    from edgernn.export.call.example_call import ExampleCall
    from edgernn.export.trace.trace import trace

    monkeypatch.chdir(tmp_path)
    model = trace(Net().eval(), ExampleCall({"x": torch.zeros(2, 5, 4)}, {}))
    sine = next(node for node in model.graph if node.op_type == "Sin")
    assert isinstance(sine, ir.Node)
    said = f" at {lines_of([model])[sine.name or '']}"
    assert said == at(Net, "return self.rnn(x)[0].sin()")
