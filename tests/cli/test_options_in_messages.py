"""The same refusals, of the command line and of Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgernn as library
from tests.cli.conftest import Invoke
from tests.cli.runs import refused

CODE = """
import torch
from torch import nn

class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(7, 3)

    def forward(self, x, h):
        h = torch.tanh(self.gates(torch.cat([x, h], -1)))
        return h, h * 2
"""
OPEN = (
    "`open.pt` is a state_dict that does not determine the model: `rnn` has no two-dimensional "
    "`weight_ih_l0` and `weight_hh_l0`. Give the model's code: repeat {}, where FACTORY is a class "
    "or function in FILE.py without required arguments."
)
PAIRS = (
    "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one step "
    "of a recurrence of its own, but which result goes back into which argument the shapes do not "
    "tell: `h:float32[batch,3]` may each be the state that comes back as `0`, `1`. Name every "
    "state. By the names it is {}. All pairs that fit: {}, {}."
)
FLAGS = ("--state h=1", "--state h=0", "--state h=1")
ARGUMENTS = ('states={"h": 1}', 'states={"h": 0}', 'states={"h": 1}')


@pytest.fixture
def weights(folder: Path) -> None:
    """Write the code and the weights of a cell, and weights that leave the model open."""
    code = folder / "net.py"
    code.write_text(CODE)
    gates = nn.Linear(7, 3)
    torch.save({f"gates.{name}": one for name, one in gates.state_dict().items()}, "cell.pt")
    torch.save({"rnn.weight_ih_l0": torch.zeros(12, 4)}, "open.pt")


@pytest.mark.usefixtures("weights")
def test_a_refusal_speaks_of_flags_or_of_arguments(edgernn: Invoke) -> None:
    """Flags on the command line, arguments in Python; the rest is the same, and each helps."""
    repeated = "it as `edgernn export open.pt --module FILE.py:FACTORY`"
    refused(edgernn("export", "open.pt"), OPEN.format(repeated))
    with pytest.raises(library.SourceError) as caught:
        library.export_model("open.pt")
    assert str(caught.value) == OPEN.format('with module="FILE.py:FACTORY"')

    inputs = ("x:float32[batch,4]", "h:float32[batch,3]")
    words = ["export", "cell.pt", "--module", "net.py:Cell"]
    words += ["--input", inputs[0], "--input", inputs[1]]
    refused(edgernn(*words), PAIRS.format(*FLAGS))
    with pytest.raises(library.UnsupportedModelError) as refusal:
        library.export_model("cell.pt", module="net.py:Cell", inputs=inputs)
    assert str(refusal.value) == PAIRS.format(*ARGUMENTS)

    assert edgernn(*words, *FLAGS[0].split()).exit_code == 0
    library.export_model(
        "cell.pt", module="net.py:Cell", inputs=inputs, states={"h": 1}, force=True
    )


@pytest.mark.usefixtures("weights")
def test_a_note_speaks_of_flags_or_of_arguments(edgernn: Invoke) -> None:
    """A note in the artifact has the form of the world that exported."""
    torch.save(nn.GRU(2, 3).state_dict(), "gru.pt")
    note = (
        "Warning: the model was rebuilt from the state_dict's keys; forward was not seen. It is "
        "taken to be `gru` GRU(2, 3, batch_first=True), with no activation after `gru`, every "
        "step's output. Give its code with {} to prove the graphs against the model itself."
    )
    edgernn("export", "gru.pt", "-o", "flags.edgernn")
    artifact = library.Artifact.open("flags.edgernn")
    assert artifact.contract.notes[0] == note.format("--module FILE.py:FACTORY")
    artifact = library.export_model("gru.pt", "arguments.edgernn")
    assert artifact.contract.notes[0] == note.format('module="FILE.py:FACTORY"')
