"""Loops over time in a graph, written as operators or as a Scan."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.loop_call import TimeLoop
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.lower.layers import lower
from edgernn.export.lower.loops import lower_loops
from edgernn.export.states.layer_names import name_layers
from edgernn.export.trace.trace import trace
from edgernn.export.trace.trace_loops import lower_loop_body, trace_loop_bodies
from tests.nets.one_step import run, session


class ByHand(nn.Module):
    """A recurrence that is no operator's: it also returns half of its state."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 4)

    def forward(self, x0, h0):
        h = torch.sin(self.linear(torch.cat([x0, h0], 1)))
        return h, 0.5 * h


class Cell(nn.Module):
    """A cell of torch's, with two states."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x0, h0, h1):
        h, c = self.cell(x0, (h0, h1))
        return h, c, h


class Attending(nn.Module):
    """A recurrence that looks at all of another sequence at every step."""

    def forward(self, x0, h0, k0):
        h = torch.sin(x0 + h0 + k0.mean(1))
        return h, h


class Model(nn.Module):
    """A loop over x (batch, sequence, width), with one step less than x has if there is a lag."""

    def __init__(self, body, width=4, states=1, lag=0):
        super().__init__()
        self.loop = TimeLoop(body, [1], states, "sequence", lag, backward=False)
        self._width, self._lag = width, max(lag, 0)

    def forward(self, x, memory=None):
        h = [x.new_zeros(x.shape[0], self._width)] * self.loop.states
        constants = [] if memory is None else [memory]
        *_, last, collected = self.loop(x[:, self._lag :], *h, *constants)
        return last, collected


def lowered(model, at_one_step=False, memory=False):
    """Return the graph of a model, and why its loops are a Scan."""
    torch.manual_seed(0)
    tensors, shapes = {"x": torch.randn(2, 5, 3)}, {"x": ("batch", "sequence", 3)}
    if memory:
        tensors["memory"], shapes["memory"] = torch.randn(2, 5, 3), ("batch", "sequence", 3)
    example = ExampleCall(tensors, shapes)
    graph = trace(model, example)
    calls = run_forward(model, example).calls
    bodies = trace_loop_bodies(model, example, calls)
    name_layers(graph, *bodies.values())
    loops = {index: lower_loop_body(calls[index], body) for index, body in bodies.items()}
    lower(graph)
    fold_constants(graph)
    reasons = lower_loops(graph, loops, at_one_step)
    return graph, reasons, loops


def operators(graph):
    return {node.op_type for node in graph.graph}


def difference(model, graph, sequence, memory=False):
    """Return the largest difference of a graph's results from the model's."""
    inputs = {"x": torch.randn(3, sequence, 3)}
    if memory:
        inputs["memory"] = torch.randn(3, sequence, 3)
    with torch.no_grad():
        wanted = model(**inputs)
    got = run(session(graph), {name: tensor.numpy() for name, tensor in inputs.items()})
    pairs = list(zip(got, wanted, strict=True))
    assert [one.shape for one, _ in pairs] == [tuple(other.shape) for _, other in pairs]
    return max(float(abs(torch.from_numpy(one) - other).max()) for one, other in pairs)


def test_a_loop_by_hand_is_a_scan():
    """With the reason why it is no operator."""
    model = Model(ByHand())
    graph, reasons, _ = lowered(model)
    assert "Scan" in operators(graph)
    assert len(reasons) == 1
    assert "" not in graph.graph.initializers
    assert difference(model, graph, 7) < 1e-5


def test_a_loop_around_a_cell_is_its_operator():
    """And needs no reason."""
    model = Model(Cell(), states=2)
    graph, reasons, _ = lowered(model)
    assert "LSTM" in operators(graph)
    assert reasons == []
    assert difference(model, graph, 7) < 1e-5


def test_at_one_step_a_loop_is_its_body():
    """Without a Scan."""
    model = Model(ByHand())
    graph, reasons, _ = lowered(model, at_one_step=True)
    assert operators(graph) & {"Scan", "LSTM", "Loop"} == set()
    assert reasons == []
    assert difference(model, graph, 1) < 1e-5


def test_a_sequence_of_outside_is_not_the_loop_s():
    """An iteration may take all of it."""
    model = Model(Attending(), width=3)
    graph, _, _ = lowered(model, memory=True)
    assert difference(model, graph, 7, memory=True) < 1e-5


@pytest.mark.parametrize("sequence", [1, 2, 6])
@pytest.mark.parametrize(("body", "states"), [(ByHand, 1), (Cell, 2)], ids=["scan", "operator"])
def test_a_loop_may_have_no_step(body, states, sequence):
    """It leaves the states that it began with then."""
    model = Model(body(), states=states, lag=1)
    graph, _, _ = lowered(model)
    if sequence > 1:
        assert difference(model, graph, sequence) < 1e-5
        return
    last, collected = run(session(graph), {"x": torch.randn(3, 1, 3).numpy()})
    assert not last.any()
    assert collected.shape == (0, 3, 4)


@pytest.mark.parametrize(("lag", "times"), [(1, 0), (2, 0), (-1, 2)])
def test_a_loop_of_another_number_of_steps_has_no_single_step(lag, times):
    """What it would do in one step is none of its iterations, or more than one."""
    with pytest.raises(UnsupportedModelError) as caught:
        lowered(Model(ByHand(), lag=lag), at_one_step=True)
    assert str(caught.value) == (
        "forward's loop over time does not run once for each step: at one step it runs "
        f"{times} times."
    )


def test_the_states_of_a_loop_around_a_cell_are_named_after_it():
    """Those of a loop by hand in their order; a lone one has no number."""
    (by_hand,) = lowered(Model(ByHand()))[2].values()
    (cell,) = lowered(Model(Cell(), states=2))[2].values()
    assert by_hand.labels == (("", "h"),)
    assert cell.labels == (("cell", "h"), ("cell", "c"))
