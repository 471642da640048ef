"""Recurrent calls, seen with torch's arguments whoever makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgernn.export.capture.recurrent_calls import RecurrentCall, RecurrentCallMode
from edgernn.export.ir.recurrent_operators import FUNCTIONS

X = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))


def seen(run: Callable[[], Any]) -> tuple[list[RecurrentCall], Any]:
    """Return the calls that `run` makes, each left to torch, and what it returns."""
    calls: list[RecurrentCall] = []

    def handler(call: RecurrentCall, proceed: Any) -> Any:
        calls.append(call)
        return proceed(call.states)

    with torch.no_grad(), RecurrentCallMode(handler):
        result = run()
    return calls, result


def packed(layer: nn.RNNBase, lengths: list[int], sorted_: bool = False) -> Any:
    rows = pack_padded_sequence(X, torch.tensor(lengths), enforce_sorted=sorted_)
    return pad_packed_sequence(layer(rows)[0])[0]


LAYERS = {
    "lstm": nn.LSTM(4, 3),
    "gru": nn.GRU(4, 3),
    "rnn_tanh": nn.RNN(4, 3),
    "rnn_relu": nn.RNN(4, 3, nonlinearity="relu"),
}
CELLS = {
    "lstm_cell": nn.LSTMCell(4, 3),
    "gru_cell": nn.GRUCell(4, 3),
    "rnn_tanh_cell": nn.RNNCell(4, 3),
    "rnn_relu_cell": nn.RNNCell(4, 3, nonlinearity="relu"),
}


def test_every_function_is_tried_here():
    """The functions that are seen are those of the layers and cells below."""
    assert set(FUNCTIONS) == {*LAYERS, *CELLS}


@pytest.mark.parametrize("function", LAYERS)
def test_a_layer_is_seen(function):
    """A layer's call is seen once, with its weights and zeros, and gives what torch gives."""
    layer = LAYERS[function]
    (call,), result = seen(lambda: layer(X))
    assert (call.function, call.is_cell, call.sizes) == (function, False, (5, 2))
    assert [tuple(state.shape) for state in call.states] == [(1, 2, 3)] * (
        2 if function == "lstm" else 1
    )
    assert all(a is b for a, b in zip(call.weights, layer.parameters(), strict=True))
    assert (call.bias, call.num_layers, call.bidirectional) == (True, 1, False)
    assert torch.equal(result[0], layer(X)[0])


@pytest.mark.parametrize("function", CELLS)
def test_a_cell_is_seen(function):
    """A cell's call is one step; a single state comes back bare, as torch returns it."""
    cell = CELLS[function]
    (call,), result = seen(lambda: cell(X[0]))
    assert (call.function, call.is_cell, call.sizes) == (function, True, (1, 2))
    assert all(a is b for a, b in zip(call.weights, cell.parameters(), strict=True))
    assert isinstance(result, tuple if function == "lstm_cell" else Tensor)


def test_a_cell_without_a_bias_has_two_weights():
    """What is not there is not listed."""
    (call,), _ = seen(lambda: nn.GRUCell(4, 3, bias=False)(X[0]))
    assert (call.bias, [tuple(w.shape) for w in call.weights]) == (False, [(9, 4), (9, 3)])


def test_what_a_layer_was_made_with_is_told():
    """Stacking, directions, the missing bias and the batch in front are the call's."""
    layer = nn.GRU(4, 3, 2, bias=False, batch_first=True, bidirectional=True)
    (call,), _ = seen(lambda: layer(X))
    assert (call.bias, call.num_layers, call.bidirectional, call.batch_first) == (
        False,
        2,
        True,
        True,
    )
    assert call.sizes == (2, 5)
    assert len(call.weights) == 8


def test_a_call_without_a_module_is_seen():
    """Torch's function itself, as archives call it, by the argument names of its schema."""
    cell = CELLS["gru_cell"]
    weights = dict(zip(("w_ih", "w_hh", "b_ih", "b_hh"), cell.parameters(), strict=True))
    (call,), _ = seen(lambda: torch.gru_cell(input=X[0], hx=torch.zeros(2, 3), **weights))
    assert torch.equal(call.x, X[0])
    layer = LAYERS["gru"]
    (call,), _ = seen(
        lambda: torch.gru(
            input=X,
            hx=torch.ones(1, 2, 3),
            params=list(layer.parameters()),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=False,
            bidirectional=False,
            batch_first=False,
        )
    )
    assert (call.function, call.sizes, call.states[0].sum().item()) == ("gru", (5, 2), 6.0)


def test_a_handler_may_feed_another_state():
    """`proceed` runs torch's function from the states it is given, not from forward's."""
    layer, start = LAYERS["lstm"], (torch.ones(1, 2, 3), torch.full((1, 2, 3), 2.0))
    with torch.no_grad(), RecurrentCallMode(lambda call, proceed: proceed(start)):
        y, (h, c) = layer(X)
    expected = layer(X, start)
    assert torch.equal(y, expected[0])
    assert torch.equal(h, expected[1][0])
    assert torch.equal(c, expected[1][1])


def test_a_handler_may_answer_itself():
    """What the handler returns is what forward gets; torch's function need not run."""
    answer = torch.full((2, 3), 7.0)
    with RecurrentCallMode(lambda call, proceed: (answer,)):
        assert CELLS["gru_cell"](X[0]) is answer


def test_packed_sequences_are_told():
    """Steps and sequences of packed rows are told, and in which order the sequences stand."""
    layer = LAYERS["gru"]
    (call,), result = seen(lambda: packed(layer, [2, 5]))
    assert call.batch_sizes is not None
    assert call.order is not None
    assert (call.batch_sizes.tolist(), call.sizes) == ([2, 2, 1, 1, 1], (5, 2))
    assert call.order.tolist() == [1, 0]
    assert torch.equal(result, packed(layer, [2, 5]))


def test_sequences_that_came_sorted_have_no_order():
    """Where forward packs sorted sequences, nothing was sorted for packing."""
    (call,), _ = seen(lambda: packed(LAYERS["lstm"], [5, 2], sorted_=True))
    assert call.order is None


def test_a_sort_of_forwards_own_is_no_order():
    """A sort that packing did not make says nothing about the order of the sequences."""

    def run() -> Any:
        torch.tensor([3.0, 4.0]).sort(descending=True)
        return packed(LAYERS["gru"], [5, 2], sorted_=True)

    (call,), _ = seen(run)
    assert call.order is None


def test_lengths_are_noted():
    """The lengths by which forward packed are kept, as it gave them."""
    capture = RecurrentCallMode(lambda call, proceed: proceed(call.states))
    with torch.no_grad(), capture:
        packed(LAYERS["gru"], [2, 5])
    assert [2, 5] in [lengths.tolist() for lengths in capture.lengths]


def test_other_functions_are_left_alone():
    """What is no recurrent call runs as it is."""
    calls, result = seen(lambda: nn.functional.linear(X, torch.eye(4)))
    assert calls == []
    assert torch.equal(result, X)


def test_data_is_a_detached_tensor():
    """No trace can hold `.data`; a detached tensor is the same, and counts its changes."""
    x = torch.ones(2)
    with RecurrentCallMode(lambda call, proceed: proceed(call.states)):
        x.data.add_(1)
    assert (x.tolist(), x._version) == ([2.0, 2.0], 1)
