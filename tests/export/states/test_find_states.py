"""The rules for which arguments are states, and which results are their next values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.states.find_states import StateNames, find_states
from edgernn.export.states.layer_names import name_layers
from edgernn.export.states.next_values import StatePairs
from edgernn.export.states.node_states import NodeState, call_states
from edgernn.export.states.state_port import StatePort
from edgernn.export.trace.trace import trace


class Update(nn.Module):
    """One update of a hidden state, and how much the flow has to change."""

    def __init__(self):
        super().__init__()
        self.new, self.change = nn.Linear(13, 8), nn.Linear(8, 2)

    def forward(self, net, corr, flow):
        net = 0.5 * net + self.new(torch.cat((net, corr, flow), 1)).tanh()
        return net, self.change(net)


class Rounds(nn.Module):
    """Three rounds of messages between nodes, whose features are a cell's state in between."""

    def __init__(self):
        super().__init__()
        self.message, self.cell = nn.Linear(6, 6), nn.GRUCell(6, 6)

    def forward(self, nodes, edges):
        for _ in range(3):
            sent = self.message(nodes).index_select(0, edges[0])
            nodes = self.cell(torch.zeros_like(nodes).index_add(0, edges[1], sent), nodes)
        return nodes


class Starts(nn.Module):
    """Starts a cell from an argument and returns something else of that shape."""

    def __init__(self):
        super().__init__()
        self.cell, self.score = nn.GRUCell(4, 6), nn.Linear(6, 1)

    def forward(self, x, context):
        h = self.cell(x, context)
        return self.score(h)


class Zoneout(nn.Module):
    """Changes its state after the cell."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(4, 6), nn.Linear(6, 3)

    def forward(self, x, s):
        s = 0.9 * self.cell(x, s) + 0.1 * s
        return self.out(s), s


class Masked(nn.Module):
    """One step of a layer from a state that a mask wipes where an episode ends."""

    def __init__(self):
        super().__init__()
        self.memory, self.act = nn.LSTM(4, 8), nn.Linear(8, 3)

    def forward(self, inputs, rnn_hxs, masks):
        state = torch.chunk(rnn_hxs * masks, 2, 1)
        y, state = self.memory(inputs.unsqueeze(0), tuple(one[None] for one in state))
        return self.act(y.squeeze(0)), torch.cat(state, 2).squeeze(0)


class Silent(nn.Module):
    """Writes its cache and does not return it."""

    def __init__(self):
        super().__init__()
        self.conv, self.gru = nn.Conv1d(6, 8, 3), nn.GRU(8, 8, batch_first=True)

    def forward(self, x, cache, h):
        both = torch.cat((cache, x), 2)
        cache[:] = both[:, :, 1:]
        y, h = self.gru(self.conv(both).transpose(1, 2), h)
        return y, h


UPDATE = ["net:float32[batch,8]", "corr:float32[batch,3]", "flow:float32[batch,2]"]
SILENT = ["x:float32[1,6,1]", "cache:float32[1,6,2]", "h:float32[1,1,8]"]


def exported(folder, module, inputs, **options):
    path = folder / "model.edgernn"
    module = module.eval()
    return edgernn.export_model(module, path, inputs=inputs, verify=False, **options).contract


def test_named_states_are_final(tmp_path):
    """With one state named there are no others, whatever else comes back in its shape."""
    contract = exported(tmp_path, Update(), UPDATE, states={"net": 0})
    assert [state.name for state in contract.states] == ["net"]
    assert [port.name for port in contract.data_inputs("step")] == ["corr", "flow"]
    assert not any("flow" in note for note in contract.notes)


def test_data_whose_result_has_its_shape_is_refused_with_the_options(tmp_path):
    """Where shapes leave a choice, the refusal lists what to say."""
    with pytest.raises(UnsupportedModelError) as caught:
        exported(tmp_path, Update(), UPDATE)
    assert str(caught.value).endswith(
        "`net:float32[batch,8]`, `flow:float32[batch,2]` may each be the state that comes back as "
        '`0`, `1`. Name every state. All pairs that fit: states={"net": 0}, states={"flow": 1}.'
    )


@pytest.mark.parametrize(
    ("module", "inputs", "options"),
    [
        (Rounds(), ["nodes:float32[5,6]", "edges:int64[2,9]"], 'states={"nodes": 0}'),
        (Starts(), ["x:float32[batch,4]", "context:float32[batch,6]"], None),
    ],
)
def test_what_a_cell_starts_from_may_be_data(tmp_path, module, inputs, options):
    """Features that go through rounds, and what has no next value, are no states."""
    fits = f" All pairs that fit: {options}." if options else ""
    with pytest.raises(UnsupportedModelError) as caught:
        exported(tmp_path, module, inputs)
    assert str(caught.value) == (
        "forward is one step of a recurrence, but nothing that it returns goes back in as one of "
        "its arguments and can be told from other tensors. It must take its state and return the "
        f'next one, of the same shape; name it: states={{"INPUT": "OUTPUT"}}.{fits}'
    )


def test_a_state_that_its_cell_does_not_leave_is_noted(tmp_path):
    """Where the shape tells which result is the next value, a note says what was taken."""
    contract = exported(tmp_path, Zoneout(), ["x:float32[batch,4]", "s:float32[batch,6]"])
    assert [(s.input, s.output) for s in contract.states] == [("h_in", "h_out")]
    assert contract.notes[:1] == (
        "`s` is a state whose next value is `[1]` of the result: shapes alone tell. Where that is "
        'wrong, name the states: states={"INPUT": "OUTPUT"}.',
    )


class Embedded(nn.Module):
    """A layer that starts from the embedding of a user, with another quantity of its shape."""

    def __init__(self, quantity):
        super().__init__()
        self.gru = nn.GRU(4, 6)
        self.project = nn.Linear(6, 6)
        self.quantity = quantity

    def forward(self, x, user, prior):
        y, last = self.gru(x, user[None])
        return y, self.quantity(self.project, last[0], user, prior)


@pytest.mark.parametrize(
    "quantity",
    [
        lambda project, last, user, prior: project(last) * prior,
        lambda project, last, user, prior: (user + project(last)) * prior,
        lambda project, last, user, prior: last + prior,
    ],
)
def test_a_quantity_computed_from_the_last_state_is_no_next_value(tmp_path, quantity):
    """What a product by weights, or a sum with another input, gives goes back into no argument."""
    inputs = (torch.randn(3, 2, 4), torch.randn(2, 6), torch.randn(2, 6))
    contract = exported(tmp_path, Embedded(quantity), inputs)
    assert contract.states == ()
    assert contract.notes[:1] == (
        "`user` starts layer `gru` at every call: forward returns no next value of it that could "
        'be recognised. If it does, name it with states={"user": "OUTPUT"}.',
    )


def test_a_state_that_a_mask_wipes(tmp_path):
    """A mask of one number per sequence does not hide whose state a layer starts from."""
    inputs = (torch.randn(3, 4), torch.zeros(3, 16), torch.ones(3, 1))
    contract = exported(tmp_path, Masked(), inputs)
    assert [state.name for state in contract.states] == ["rnn_hxs"]
    assert contract.carry


def test_an_argument_written_in_place_is_a_state(tmp_path):
    """Its next value is what it holds after the call, also where forward does not return it."""
    contract = exported(tmp_path, Silent(), SILENT)
    assert [state.name for state in contract.states] == ["cache", "h"]
    assert contract.graphs["step"].output("cache_out").origin == "cache"
    assert contract.notes[:1] == (
        "`cache` is a state whose next value is what it holds after the call: forward writes into "
        'it. Where that is wrong, name the states: states={"INPUT": "OUTPUT"}.',
    )


def test_an_argument_written_in_place_beside_named_states(tmp_path):
    """What was not named is none, and a note says what hosts do not get; naming it helps."""
    contract = exported(tmp_path, Silent(), SILENT, states={"h": 1})
    assert [state.name for state in contract.states] == ["h"]
    assert contract.notes[-1] == (
        "forward writes into `cache`, which is none of the states that were named: hosts get its "
        "new value only where forward returns it. Where it is one, name it with "
        'states={"cache": "cache"} beside the others.'
    )
    contract = exported(tmp_path, Silent(), SILENT, states={"h": 1, "cache": "cache"}, force=True)
    assert [state.name for state in contract.states] == ["cache", "h"]


START = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 1, 4)


class Started(nn.Module):
    """A layer of 3 features and 4 units that `run` calls."""

    def __init__(self, run, kind=nn.GRU):
        super().__init__()
        self.rnn, self.second = kind(3, 4), nn.GRU(4, 4)
        self.start = nn.Parameter(torch.from_numpy(START))
        self.many = nn.Parameter(torch.randn(1, 2, 4))
        self._run = run

    def forward(self, x, h=None):
        return self._run(self, x) if h is None else self._run(self, x, h)


def states(run, kind=nn.GRU, h=False, pairs=None) -> tuple[list[str], tuple[StatePort, ...]]:
    """Return the ports of the graph and its states."""
    tensors = {"x": torch.randn(5, 2, 3)}
    shapes: dict[str, tuple[int | str, ...]] = {"x": ("sequence", "batch", 3)}
    if h:
        tensors["h"], shapes["h"] = torch.randn(1, 2, 4), (1, "batch", 4)
    module, example = Started(run, kind).eval(), ExampleCall(tensors, shapes)
    model = trace(module, example)
    name_layers(model)
    calls = run_forward(module, example).calls
    found = find_states(model.graph, call_states(model.graph), calls, pairs or StatePairs())
    ports = [str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)]
    return ports, found


def test_zeros_that_a_layer_starts_from_become_a_port():
    """The final state is an output, although forward drops it."""
    ports, (state,) = states(lambda net, x: net.rnn(x)[0])
    assert ports == ["x", "h_in", "result:", "h_out"]
    assert (state.argument, state.result, state.initial) == (None, None, None)


def test_an_lstm_has_two_in_order():
    """H, then c."""
    ports, found = states(lambda net, x: net.rnn(x)[0], nn.LSTM)
    assert [(state.name, state.index) for state in found] == [("h", 0), ("c", 1)]
    assert ports == ["x", "h_in", "c_in", "result:", "h_out", "c_out"]


def test_a_learned_start_is_the_initial_value():
    """With one sequence for all."""
    _, (state,) = states(
        lambda net, x: net.rnn(x, net.start.expand(1, x.shape[1], 4).contiguous())[0]
    )
    np.testing.assert_array_equal(state.initial, START)


def test_a_start_of_its_own_for_each_sequence_needs_a_constant_batch():
    """The refusal has the option that fixes it."""
    with pytest.raises(UnsupportedModelError) as caught:
        states(lambda net, x: net.rnn(x, net.many.repeat(1, x.shape[1], 1)[:, : x.shape[1]])[0])
    assert str(caught.value) == (
        "`h_in` starts from a learned value of its own for each of 2 sequences. Give the batch as "
        'a number: inputs=["x:float32[sequence,2,3]"].'
    )


def test_an_argument_that_comes_back_is_paired():
    """Its next value is the result that the layer leaves."""
    ports, (state,) = states(lambda net, x, h: net.rnn(x, h), h=True)
    assert ports == ["x", "h_in", "result:[0]", "h_out"]
    assert (state.name, state.argument, state.result) == ("h", "h", "[1]")


def test_a_state_made_of_the_data_stays_inside():
    """As a decoder's that starts from its encoder; the encoder's alone is a port."""
    ports, (state,) = states(lambda net, x: net.second(*net.rnn(x))[0])
    assert state.name == "rnn_h"
    assert ports == ["x", "rnn_h_in", "result:", "rnn_h_out"]


def test_layers_are_told_apart_by_their_paths():
    """With more than one, names begin with the layer's."""
    _, found = states(lambda net, x: net.second(net.rnn(x)[0])[0])
    assert [state.name for state in found] == ["rnn_h", "second_h"]


def test_a_pair_of_an_unknown_argument_is_refused():
    """The message lists the arguments that there are."""
    with pytest.raises(InputError) as caught:
        states(lambda net, x, h: net.rnn(x, h), h=True, pairs=StatePairs({"state": 1}))
    assert str(caught.value) == "`state` is not an input of the model; it has `x`, `h`."


NODE = ir.Node("", "LSTM", [])


def node_state(layer: str, index: int = 0, call: int = 0, scope: str = "") -> NodeState:
    return NodeState(NODE, call, index, 1 + index, 1 + index, layer, "hc"[index], scope=scope)


def test_a_layer_alone_needs_no_name():
    """Its states are h and c."""
    states = [node_state("rnn"), node_state("rnn", 1)]
    names = StateNames(states)
    assert [names.of_state(one) for one in states] == ["h", "c"]


def test_states_of_several_layers_begin_with_their_names():
    """What is no part of a name becomes an underscore, and no name is there twice."""
    states = [node_state("a"), node_state("b.0", call=1), node_state("b/0", call=2)]
    names = StateNames(states)
    assert [names.of_state(one) for one in states] == ["a_h", "b_0_h", "b_0_h_"]


@pytest.mark.parametrize(
    ("path", "result", "name"),
    [("cache_in", "cache_out", "cache"), ("cache_in", "[1]", "cache_in"), ("h[0]", "[1]", "h_0")],
)
def test_an_argument_is_named_after_its_ports(path, result, name):
    """`NAME_in` and `NAME_out` are NAME; else it is called as the argument is."""
    assert StateNames([]).of_argument(path, result, [], None) == name


def test_an_argument_that_is_a_layers_whole_state_has_its_name():
    """As it would have if forward made it."""
    h, other = node_state("one"), node_state("two", call=1)
    assert StateNames([h, other]).of_argument("h0", "[1]", [h], h) == "one_h"


def test_an_argument_of_a_whole_stack_is_named_after_the_stack():
    """Nodes of one scope are one layer, whose h the argument is; a part of them is not."""
    stack = [node_state(f"rnn_{layer}", call=layer, scope="rnn") for layer in (0, 1)]
    assert StateNames(stack).of_argument("hx", "[1]", stack, None) == "h"
    assert StateNames(stack).of_argument("hx", "[1]", stack[:1], None) == "hx"
    with_head = [*stack, node_state("head", call=2, scope="head")]
    assert StateNames(with_head).of_argument("hx", "[1]", stack, None) == "rnn_h"
