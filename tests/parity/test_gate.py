"""The rule for the gate: a graph that is wrong anywhere is refused, and nothing is left on disk."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import ParityError, UnsupportedModelError
from edgernn.export import build_model
from edgernn.export.build_torch import build_torch
from edgernn.export.ir.recurrent_operators import OPERATORS
from edgernn.export.lower import layers

TRACED = (2, 5)


class Tagger(nn.Module):
    """A layer with a head, both with a bias."""

    def __init__(self, kind: str = "LSTM"):
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def refused(path: Path, kind: str = "LSTM") -> str:
    """Export a tagger, to be refused without a trace; return the message, its figure as N.

    The sentence on where in a sequence graph to look has to be there, and is left out.
    """
    with pytest.raises(ParityError) as info:
        edgernn.export_model(Tagger(kind), path / "m.edgernn", inputs=(torch.randn(*TRACED, 4),))
    assert list(path.iterdir()) == []
    match = re.fullmatch(
        r"(.*?)( The first layer to differ.*| All recurrent layers agree.*)? Nothing was written\.",
        str(info.value),
    )
    assert match is not None
    whole = match[1].startswith("The sequence graph") and match[1].endswith("run whole.")
    assert (match[2] is not None) == whole
    return re.sub(r"\d\.\de[-+]\d\d \(", "N (", match[1])


def message(port: str, batch: int, sequence: int, initial: str, how: str, graph: str) -> str:
    return (
        f"The {graph} graph does not agree with eager torch: `{port}` differs by N (at most "
        f"1.0e-05 is allowed) at batch {batch}, sequence {sequence}, {initial} initial state, run "
        f"{how}."
    )


def spoil(monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[ir.Graph], None]) -> None:
    """Have `change` spoil the graph `kind` after it was built."""

    def spoiled(*given: Any) -> Any:
        built = build_torch(*given)
        change(getattr(built, kind).graph)
        return built

    monkeypatch.setattr(build_model, "build_torch", spoiled)


def constant(graph: ir.Graph, *numbers: float, dtype: Any = np.float32) -> ir.Value:
    name = f"spoil_{len(graph.initializers)}"
    array = np.array(numbers, dtype)
    value = ir.Value(
        name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape)
    )
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(value)
    return value


def add_to_output(graph: ir.Graph, error: Callable[[ir.tape.Tape, ir.Value], ir.Value]) -> None:
    """Add what `error` makes of the graph's input to its first output."""
    tape = ir.tape.Tape()
    output = graph.outputs[0]
    wrong = tape.op("Add", [output, error(tape, graph.inputs[0])])
    graph.extend(tape.nodes)
    wrong.name, wrong.shape, wrong.type = output.name, output.shape, output.type
    output.name = "right"
    graph.outputs[0] = wrong


def when(size: int, axis: int) -> Callable[[ir.Graph], None]:
    """Return what spoils a graph at one size of an axis of its input only."""

    def change(graph: ir.Graph) -> None:
        def error(tape: ir.tape.Tape, x: ir.Value) -> ir.Value:
            sizes = tape.op("Shape", [x])
            index = constant(graph, axis, dtype=np.int64)
            found = tape.op("Gather", [sizes, index], {"axis": 0})
            equal = tape.op("Equal", [found, constant(graph, size, dtype=np.int64)])
            flag = tape.op("Cast", [equal], {"to": ir.DataType.FLOAT})
            return tape.op("Mul", [flag, constant(graph, 1e-3)])

        add_to_output(graph, error)

    return change


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torchs_gate_order_is_refused(tmp_path, monkeypatch, kind):
    """Weights left in torch's order of gates are found at the first size."""
    known = OPERATORS[kind]
    spoiled = dataclasses.replace(known, onnx_gates=known.torch_gates)
    monkeypatch.setattr(layers, "kind_of_call", lambda node: spoiled)
    assert refused(tmp_path, kind) in {
        message(port, *TRACED, "zero", "whole", "sequence") for port in ("output", "h", "c")
    }


def test_the_other_reset_of_gru_is_refused(tmp_path, monkeypatch):
    """linear_before_reset=0, which torch does not have, is found."""
    spoiled = dataclasses.replace(OPERATORS["GRU"], attributes={"linear_before_reset": 0})
    monkeypatch.setattr(layers, "kind_of_call", lambda node: spoiled)
    assert refused(tmp_path, "GRU") in {
        message(port, *TRACED, "zero", "whole", "sequence") for port in ("output", "h")
    }


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_a_bias_that_is_off_by_a_thousandth_is_refused(tmp_path, monkeypatch, kind):
    """A small constant error is found in either graph."""

    def error(graph: ir.Graph) -> None:
        add_to_output(graph, lambda tape, x: constant(graph, 1e-3))

    spoil(monkeypatch, kind, error)
    expected = {
        "sequence": message("output", *TRACED, "zero", "whole", "sequence"),
        "step": message("output", 1, 1, "random", "step by step", "step"),
    }
    assert refused(tmp_path) == expected[kind]


def test_a_state_that_is_not_fed_is_refused(tmp_path, monkeypatch):
    """A graph that starts from zeros whatever it is given is found by a random state."""

    def unfed(graph: ir.Graph) -> None:
        node = next(node for node in graph if node.op_type == "LSTM")
        tape = ir.tape.Tape()
        for index in OPERATORS["LSTM"].initial_states:
            state = node.inputs[index]
            assert state is not None
            node.replace_input_with(index, tape.op("Mul", [state, constant(graph, 0)]))
        graph.insert_before(node, tape.nodes)

    spoil(monkeypatch, "sequence", unfed)
    assert refused(tmp_path) in {
        message(port, *TRACED, "random", "whole", "sequence") for port in ("output", "h", "c")
    }


def test_a_state_that_stays_is_refused(tmp_path, monkeypatch):
    """A graph that gives back the state it was given is found."""

    def stay(graph: ir.Graph) -> None:
        tape = ir.tape.Tape()
        value = tape.op("Identity", [graph.inputs[1]])
        graph.extend(tape.nodes)
        old = graph.outputs[1]
        value.name, value.shape, value.type = old.name, old.shape, old.type
        old.name = "moved"
        graph.outputs[1] = value

    spoil(monkeypatch, "step", stay)
    assert refused(tmp_path) == message("h", 1, 1, "random", "step by step", "step")


@pytest.mark.parametrize(
    ("size", "axis", "where"),
    [(1, 1, (1, 1)), (1, 0, (1, 1)), (3, 0, (3, 1)), (9, 1, (1, 9)), (17, 1, (2, 17))],
)
def test_a_graph_that_is_wrong_at_one_size_is_refused(tmp_path, monkeypatch, size, axis, where):
    """One sequence, one step, and sizes that were not traced are all tried."""
    spoil(monkeypatch, "sequence", when(size, axis))
    assert refused(tmp_path) == message("output", where[0], where[1], "zero", "whole", "sequence")


def test_a_step_graph_for_one_sequence_only_is_refused(tmp_path, monkeypatch):
    """A step graph that is wrong for two sequences side by side is found."""
    spoil(monkeypatch, "step", when(2, 0))
    assert refused(tmp_path) == message("output", 2, 7, "random", "step by step", "step")


def test_an_error_that_grows_is_refused(tmp_path, monkeypatch):
    """An error too small for a few steps is found over a thousand."""

    def leak(graph: ir.Graph) -> None:
        tape = ir.tape.Tape()
        old = graph.outputs[2]
        wrong = tape.op("Mul", [old, constant(graph, 1 + 2e-6)])
        graph.extend(tape.nodes)
        wrong.name, wrong.shape, wrong.type = old.name, old.shape, old.type
        old.name = "exact"
        graph.outputs[2] = wrong

    class Adder(nn.Module):
        """An LSTM that keeps adding: input and forget gates all but open."""

        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(1, 1, batch_first=True)
            with torch.no_grad():
                for weight in self.rnn.parameters():
                    weight.zero_()
                self.rnn.get_parameter("bias_ih_l0").copy_(torch.tensor([-4.0, 12.0, 0.0, 0.0]))
                self.rnn.get_parameter("weight_ih_l0")[2] = 1.0

        def forward(self, x):
            return self.rnn(x)[0]

    spoil(monkeypatch, "step", leak)
    with pytest.raises(ParityError) as info:
        edgernn.export_model(Adder(), tmp_path / "m.edgernn", inputs=(torch.randn(2, 5, 1),))
    assert list(tmp_path.iterdir()) == []
    assert "at batch 1, sequence 1000, zero initial state, run over many steps" in str(info.value)


def test_shapes_that_are_not_the_declared_ones_are_refused(tmp_path, monkeypatch):
    """An output that comes out in another shape than it declares is refused with both."""

    def declare(graph: ir.Graph) -> None:
        graph.outputs[0].shape = ir.Shape(["batch", "sequence", 7])

    spoil(monkeypatch, "sequence", declare)
    assert refused(tmp_path) == (
        "`output: float32[batch, sequence, 7]` came out as (2, 5, 2) at batch 2, sequence 5, where "
        "(2, 5, 7) was declared. Where forward squeezes or flattens, let it name the axis."
    )


def test_what_onnx_runtime_refuses_is_a_disagreement(tmp_path, monkeypatch):
    """A graph that cannot be loaded is refused, one that cannot be run fails the proof."""

    def unload(graph: ir.Graph) -> None:
        next(iter(graph)).op_type = "Nonsense"

    spoil(monkeypatch, "sequence", unload)
    with pytest.raises(UnsupportedModelError, match="cannot load the graph: "):
        edgernn.export_model(Tagger("LSTM"), tmp_path / "m", inputs=(torch.randn(2, 5, 4),))
    assert list(tmp_path.iterdir()) == []

    def misshape(graph: ir.Graph) -> None:
        size = constant(graph, 1, 1, 2, dtype=np.int64)
        add_to_output(graph, lambda tape, x: tape.op("Reshape", [x, size]))

    spoil(monkeypatch, "sequence", misshape)
    assert refused(tmp_path).startswith(
        "The sequence graph fails on `x` (2, 5, 4), `h_in` (1, 2, 3), `c_in` (1, 2, 3) in ONNX "
        "Runtime: "
    )


def test_not_a_number_is_refused(tmp_path, monkeypatch):
    """A graph that computes NaN agrees with nothing."""

    def error(graph: ir.Graph) -> None:
        add_to_output(graph, lambda tape, x: constant(graph, float("nan")))

    spoil(monkeypatch, "sequence", error)
    assert refused(tmp_path) == (
        "The sequence graph does not agree with eager torch: `output` differs in where it is NaN "
        "or infinite at batch 2, sequence 5, zero initial state, run whole."
    )


def test_an_existing_artifact_outlives_a_refusal(tmp_path, monkeypatch):
    """Where --force was to replace an artifact, a refused export keeps the one that was there."""
    x = torch.randn(*TRACED, 4)
    edgernn.export_model(Tagger(), tmp_path / "m.edgernn", inputs=(x,))
    before = {file: file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*"))}
    spoil(monkeypatch, "sequence", when(1, 0))
    with pytest.raises(ParityError):
        edgernn.export_model(Tagger(), tmp_path / "m.edgernn", inputs=(x,), force=True)
    assert {file: file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*"))} == {
        **before,
        tmp_path / "m.edgernn": before[tmp_path / "m.edgernn"],
    }
