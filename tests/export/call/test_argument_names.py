"""The rules for what the names of forward's arguments say."""

from __future__ import annotations

import pytest

from edgernn.export.call.argument_names import LENGTH_NAMES, is_data, is_state

STATES = [
    *("h", "hx", "h0", "h_0", "h_t", "htm1", "h_prev", "hid", "hidden", "encoder_hidden"),
    *("rnn_hxs", "state", "lstm_states", "prev", "mem", "carry"),
    *("c", "cx", "c_prev", "cell", "syn"),
]
DATA = ["x", "xs", "x_t", "input", "inp", "inputs", "obs", "features", "frame", "tokens", "word"]


@pytest.mark.parametrize("name", STATES)
def test_names_of_states(name):
    """The ways in which people write h and c, and words for them, are states and no data."""
    assert is_state(name)
    assert not is_data(name)


@pytest.mark.parametrize("name", DATA)
def test_names_of_data(name):
    """x, input and their like are data and no states."""
    assert is_data(name)
    assert not is_state(name)


@pytest.mark.parametrize("name", ["lengths", "x_len", "text_lengths", "item_seq_len", "lens"])
def test_names_of_lengths(name):
    """Lengths end in length, len or their plural."""
    assert LENGTH_NAMES.match(name)


@pytest.mark.parametrize("name", ["mask", "category", "y", "chunk"])
def test_names_that_say_nothing(name):
    """Other names are neither."""
    assert not is_state(name)
    assert not is_data(name)


@pytest.mark.parametrize("name", ["lengths", "len", "x_lens", "Length", "seq_length"])
def test_names_of_lengths_are_known(name):
    """What people call the lengths of sequences."""
    assert LENGTH_NAMES.match(name)


@pytest.mark.parametrize("name", ["x", "lent", "lengthy", "silence"])
def test_other_names_are_no_lengths(name):
    """A name that only resembles one is not one."""
    assert not LENGTH_NAMES.match(name)
